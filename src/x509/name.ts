import { type DerReader, TAG } from './der-reader.ts';
import { der, oid, sequence } from './der-writer.ts';
import { formatOid, type OidKey, type OidName, oidName } from './oids.ts';
import { X509Error } from './x509-error.ts';

/** One attribute of a distinguished name. */
export interface NameAttribute {
  readonly type: OidKey;
  readonly tag: number;
  readonly value: Buffer;
}

/** Relative names and attributes of one name. Real names have fewer than ten. */
const MAX_ATTRIBUTES = 64;
/** RFC 5280, ub-common-name, in characters. */
export const MAX_COMMON_NAME_LENGTH = 64;

/** DER of a name without any part. */
export const EMPTY_NAME: Buffer = sequence();

/** Reads a Name (RFC 5280, 4.1.2.4): its relative names in order, each with its attributes. `reader` stands before the SEQUENCE. */
export function readName(reader: DerReader, what: string): NameAttribute[][] {
  const names: NameAttribute[][] = [];
  const sequenceOfNames = reader.expect(TAG.sequence).inside(what);
  let count = 0;
  while (!sequenceOfNames.atEnd) {
    const set = sequenceOfNames.expect(TAG.set).inside();
    const attributes: NameAttribute[] = [];
    do {
      if (++count > MAX_ATTRIBUTES)
        throw new X509Error('name-size', `${what} has more than ${MAX_ATTRIBUTES} attributes`);
      const pair = set.expect(TAG.sequence).inside();
      const type = pair.oid();
      pair.next();
      attributes.push({ type, tag: pair.tag, value: pair.content() });
      pair.finish();
    } while (!set.atEnd);
    names.push(attributes);
  }
  return names;
}

/** The values of all common names, in order. */
export function commonNamesOf(names: readonly (readonly NameAttribute[])[]): string[] {
  return names
    .flat()
    .filter((attribute) => oidName(attribute.type) === 'commonName')
    .map(attributeText);
}

/**
 * The common name of a request: at most one, of 1 to 64 characters, in UTF8String or PrintableString, without control characters.
 * Empty when there is none.
 * @throws X509Error `common-name`
 */
export function commonNameOfRequest(names: readonly (readonly NameAttribute[])[]): string {
  let commonName = '';
  for (const attribute of names.flat()) {
    if (oidName(attribute.type) !== 'commonName') continue;
    if (commonName !== '') throw new X509Error('common-name', 'the subject has more than one common name');
    const text = strictText(attribute);
    if (text === undefined || text === '' || /\p{Cc}/u.test(text)) {
      throw new X509Error('common-name', 'the common name is not a proper UTF8String or PrintableString');
    }
    if ([...text].length > MAX_COMMON_NAME_LENGTH) {
      throw new X509Error('common-name', `the common name has more than ${MAX_COMMON_NAME_LENGTH} characters`);
    }
    commonName = text;
  }
  return commonName;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const utf16 = new TextDecoder('utf-16be');
const PRINTABLE = /^[A-Za-z0-9 '()+,\-./:=?]*$/;

/** Text of an UTF8String or PrintableString, as RFC 5280 4.1.2.4 wants names to be written; undefined for everything else. */
function strictText(attribute: NameAttribute): string | undefined {
  if (attribute.tag === TAG.printableString) {
    const text = attribute.value.toString('latin1');
    return PRINTABLE.test(text) ? text : undefined;
  }
  if (attribute.tag !== TAG.utf8String) return undefined;
  try {
    return strictUtf8.decode(attribute.value);
  } catch {
    return undefined;
  }
}

/** Text of any string type, as well as it can be read. For certificates made elsewhere. */
function attributeText(attribute: NameAttribute): string {
  if (attribute.tag === TAG.bmpString) return utf16.decode(attribute.value);
  return strictText(attribute) ?? attribute.value.toString(attribute.tag === TAG.utf8String ? 'utf8' : 'latin1');
}

/** Short names of RFC 4514 section 3. */
const SHORT_NAMES: Partial<Record<OidName, string>> = {
  commonName: 'CN',
  surname: 'SN',
  serialNumber: 'SERIALNUMBER',
  country: 'C',
  locality: 'L',
  stateOrProvince: 'ST',
  street: 'STREET',
  organization: 'O',
  organizationalUnit: 'OU',
  userId: 'UID',
  domainComponent: 'DC',
};

/** The text of a name after RFC 4514: last part first, special and control characters escaped. */
export function formatName(names: readonly (readonly NameAttribute[])[]): string {
  return [...names]
    .reverse()
    .map((attributes) => attributes.map(formatAttribute).join('+'))
    .join(',');
}

function formatAttribute(attribute: NameAttribute): string {
  const name = oidName(attribute.type);
  const short = name === undefined ? undefined : SHORT_NAMES[name];
  if (short === undefined) {
    return `${formatOid(attribute.type)}=#${der(attribute.tag, attribute.value).toString('hex')}`;
  }
  return `${short}=${escapeText(attributeText(attribute))}`;
}

function escapeText(text: string): string {
  return text
    .replace(/["+,;<>\\]/g, '\\$&')
    .replace(/^[ #]/, '\\$&')
    .replace(/ $/, '\\ ')
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
      Buffer.from(character).toString('hex').replace(/../g, '\\$&'),
    );
}

/** Builds a Name of UTF8Strings, one attribute to each relative name, in the order given. */
export function createName(attributes: readonly (readonly [OidName, string])[]): Buffer {
  return sequence(
    ...attributes.map(([type, text]) =>
      der(TAG.set, sequence(oid(type), der(TAG.utf8String, checkedNameText(type, text)))),
    ),
  );
}

function checkedNameText(type: OidName, text: string): Buffer {
  if (text === '' || [...text].length > MAX_COMMON_NAME_LENGTH) {
    throw new X509Error('name-length', `${type} must have 1 to ${MAX_COMMON_NAME_LENGTH} characters: "${text}"`);
  }
  if (/\p{Cc}/u.test(text) || /\p{Cs}/u.test(text)) {
    throw new X509Error('name-characters', `${type} must not hold control characters`);
  }
  return Buffer.from(text, 'utf8');
}
