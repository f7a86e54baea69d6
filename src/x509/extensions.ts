import { context, DerReader, TAG } from './der-reader.ts';
import { boolean, der, explicit, namedBits, octetString, oid, sequence, smallInteger } from './der-writer.ts';
import { type OidKey, type OidName, oidLabel, oidName } from './oids.ts';
import { X509Error } from './x509-error.ts';

/** THE table of key usages: the bits of RFC 5280, 4.2.1.3, in order from bit 0. */
const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

export interface Extension {
  readonly type: OidKey;
  readonly critical: boolean;
  readonly value: Buffer;
}

const MAX_EXTENSIONS = 64;

/**
 * Reads Extensions (RFC 5280, 4.1.2.9). `reader` stands before the SEQUENCE.
 * @throws X509Error `extensions-empty`, `extensions-count`, `duplicate-extension`, `default-encoded`
 */
export function readExtensions(reader: DerReader, what: string): Extension[] {
  const list = reader.expect(TAG.sequence).inside(what);
  const extensions: Extension[] = [];
  if (list.atEnd) throw new X509Error('extensions-empty', `${what} is an empty list`);
  while (!list.atEnd) {
    if (extensions.length === MAX_EXTENSIONS) {
      throw new X509Error('extensions-count', `${what} has more than ${MAX_EXTENSIONS} entries`);
    }
    const entry = list.expect(TAG.sequence).inside();
    const type = entry.oid();
    if (extensions.some((other) => other.type === type)) {
      throw new X509Error('duplicate-extension', `${what} holds the extension ${oidName(type) ?? 'of one type'} twice`);
    }
    const hasFlag = entry.nextTag === TAG.boolean;
    const critical = hasFlag && entry.boolean();
    if (hasFlag && !critical) {
      throw new X509Error('default-encoded', `${what} spells out a default value (critical FALSE)`);
    }
    extensions.push({ type, critical, value: entry.expect(TAG.octetString).content() });
    entry.finish();
  }
  return extensions;
}

export interface SubjectAltNames {
  readonly uriSans: readonly string[];
  readonly dnsNames: readonly string[];
  /** Names of all other kinds (addresses, e-mail, directory names...). */
  readonly otherSanCount: number;
}

export const NO_SANS: SubjectAltNames = { uriSans: [], dnsNames: [], otherSanCount: 0 };

/** Tags of the GeneralNames that we write. */
export const SAN_TAG = { dns: context(2), uri: context(6) } as const;
const MAX_SAN_LENGTH = 2048;
export const MAX_SANS_IN_CSR = 256;
/** CAs of others may put more names into a certificate than we let anybody ask for. */
export const MAX_SANS_IN_CERTIFICATE = 1024;

/**
 * Reads the value of a SubjectAltName (RFC 5280, 4.2.1.6).
 * @throws X509Error `san-empty`, `san-count`, `san-length`, `san-characters`, and the reader's rules
 */
export function parseSubjectAltName(value: Buffer, maxCount: number): SubjectAltNames {
  const outer = new DerReader(value, 'the subject alternative name');
  const names = outer.expect(TAG.sequence).inside();
  outer.finish();
  const uriSans: string[] = [];
  const dnsNames: string[] = [];
  let otherSanCount = 0;
  if (names.atEnd) throw new X509Error('san-empty', 'the subject alternative name is an empty list');
  while (!names.atEnd) {
    if (uriSans.length + dnsNames.length + otherSanCount === maxCount) {
      throw new X509Error('san-count', `the subject alternative name has more than ${maxCount} names`);
    }
    names.next();
    if (names.tag === SAN_TAG.uri) uriSans.push(sanText(names));
    else if (names.tag === SAN_TAG.dns) dnsNames.push(sanText(names));
    else if ((names.tag & 0xc0) === 0x80 && (names.tag & 0x1f) <= 8) otherSanCount++;
    else throw new X509Error('unexpected-tag', 'the subject alternative name holds something that is no name');
  }
  return { uriSans, dnsNames, otherSanCount };
}

function sanText(names: DerReader): string {
  const { bytes, contentStart, end } = names;
  const length = end - contentStart;
  if (length === 0 || length > MAX_SAN_LENGTH) {
    throw new X509Error(
      'san-length',
      `a subject alternative name has ${length} characters, not 1 to ${MAX_SAN_LENGTH}`,
    );
  }
  for (let i = contentStart; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte <= 0x20 || byte >= 0x7f) throw sanCharacters();
  }
  return bytes.toString('latin1', contentStart, end);
}

function sanCharacters(): X509Error {
  return new X509Error('san-characters', 'a subject alternative name holds other than visible ASCII characters');
}

/** Checks a SAN before it is written: 1 to 2048 visible ASCII characters. */
export function checkSanText(text: string): void {
  if (text.length === 0 || text.length > MAX_SAN_LENGTH) {
    throw new X509Error(
      'san-length',
      `a subject alternative name has ${text.length} characters, not 1 to ${MAX_SAN_LENGTH}`,
    );
  }
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f) throw sanCharacters();
  }
}

export function subjectAltName(sans: Pick<SubjectAltNames, 'uriSans' | 'dnsNames'>): Buffer {
  return sequence(
    ...sans.uriSans.map((text) => sanElement(SAN_TAG.uri, text)),
    ...sans.dnsNames.map((text) => sanElement(SAN_TAG.dns, text)),
  );
}

function sanElement(tag: number, text: string): Buffer {
  checkSanText(text);
  return der(tag, Buffer.from(text, 'latin1'));
}

/** One Extension in DER. `critical` FALSE is the default and left out. */
export function extension(type: OidName, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(type), ...(critical ? [boolean(true)] : []), octetString(value));
}

export function keyUsage(...usages: readonly KeyUsage[]): Buffer {
  return namedBits(usages.map((usage) => KEY_USAGES.indexOf(usage)));
}

export function parseKeyUsage(value: Buffer): ReadonlySet<KeyUsage> {
  const reader = new DerReader(value, 'the key usage');
  const octets = reader.flags();
  reader.finish();
  return new Set(KEY_USAGES.filter((_, bit) => ((octets[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0));
}

export interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
}

export function parseBasicConstraints(value: Buffer): BasicConstraints {
  const outer = new DerReader(value, 'the basic constraints');
  const fields = outer.expect(TAG.sequence).inside();
  outer.finish();
  const ca = fields.nextTag === TAG.boolean && fields.boolean();
  const pathLength = fields.nextTag === TAG.integer ? fields.smallInteger() : undefined;
  fields.finish();
  return { ca, pathLength };
}

export function basicConstraints(constraints: BasicConstraints): Buffer {
  const { ca, pathLength } = constraints;
  return sequence(...(ca ? [boolean(true)] : []), ...(pathLength === undefined ? [] : [smallInteger(pathLength)]));
}

/** Names of our table, or dotted OIDs. */
export function parseExtendedKeyUsage(value: Buffer): string[] {
  const outer = new DerReader(value, 'the extended key usage');
  const usages = outer.expect(TAG.sequence).inside();
  outer.finish();
  const names: string[] = [];
  while (!usages.atEnd) names.push(oidLabel(usages.oid()));
  return names;
}

export function parseSubjectKeyId(value: Buffer): Buffer {
  const reader = new DerReader(value, 'the subject key identifier');
  const id = reader.expect(TAG.octetString).content();
  reader.finish();
  return id;
}

/** The key identifier of an AuthorityKeyIdentifier (RFC 5280, 4.2.1.1); undefined when it only names issuer and serial number. */
export function parseAuthorityKeyId(value: Buffer): Buffer | undefined {
  const outer = new DerReader(value, 'the authority key identifier');
  const fields = outer.expect(TAG.sequence).inside();
  outer.finish();
  const id = fields.nextTag === context(0) ? fields.next().content() : undefined;
  fields.checkRest();
  return id;
}

export function authorityKeyId(keyId: Buffer): Buffer {
  return sequence(der(context(0), keyId));
}

/** `extensions [3]` of a certificate. */
export function certificateExtensions(...extensions: readonly Buffer[]): Buffer {
  return explicit(3, sequence(...extensions));
}
