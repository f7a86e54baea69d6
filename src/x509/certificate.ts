import { createPublicKey, hash, type KeyObject } from 'node:crypto';
import { context, DerReader, TAG } from './der-reader.ts';
import {
  type BasicConstraints,
  type Extension,
  type KeyUsage,
  MAX_SANS_IN_CERTIFICATE,
  NO_SANS,
  parseAuthorityKeyId,
  parseBasicConstraints,
  parseExtendedKeyUsage,
  parseKeyUsage,
  parseSubjectAltName,
  parseSubjectKeyId,
  readExtensions,
  type SubjectAltNames,
} from './extensions.ts';
import { commonNamesOf, formatName, readName } from './name.ts';
import { type NameConstraints, parseNameConstraints } from './name-constraints.ts';
import { type OidName, oidLabel, oidName } from './oids.ts';
import { findSignatureAlgorithm, verifySignature } from './signature-algorithm.ts';
import { parseSubjectPublicKey, type SubjectPublicKey } from './subject-public-key.ts';
import { X509Error } from './x509-error.ts';

export type { BasicConstraints, KeyUsage } from './extensions.ts';

/** A certificate (RFC 5280), read but not verified. Buffers are views into `der`. */
export interface Certificate {
  readonly der: Buffer;
  /** Lower-case hex, whole octets, without a leading zero octet: `00` for Kuma's own roots. */
  readonly serialNumber: string;
  readonly subjectDer: Buffer;
  readonly issuerDer: Buffer;
  /** The last common name of the subject; empty when there is none. */
  readonly commonName: string;
  /** All of them: more than one is odd in a leaf. */
  readonly commonNames: readonly string[];
  /** RFC 4514: `CN=web,O=Kuma`. */
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: Date;
  /** The last instant at which it is valid. */
  readonly notAfter: Date;
  /** Undefined for a key type that no leaf may have (Ed25519, P-521, RSA of an odd size). */
  readonly publicKey: SubjectPublicKey | undefined;
  readonly spkiDer: Buffer;
  /** The public key of any type that OpenSSL knows, imported once. @throws X509Error `public-key` */
  keyObject(): KeyObject;
  readonly uriSans: readonly string[];
  readonly dnsNames: readonly string[];
  readonly otherSanCount: number;
  readonly sanCritical: boolean;
  readonly basicConstraints: BasicConstraints | undefined;
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined;
  /** Names (`serverAuth`), or dotted OIDs where we have no name. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly nameConstraints: NameConstraints | undefined;
  readonly subjectKeyId: Buffer | undefined;
  readonly authorityKeyId: Buffer | undefined;
  /** Subject and issuer are the same name. */
  readonly isSelfIssued: boolean;
  /** Critical extensions that this code does not act on: names or dotted OIDs. A path with one is not valid (RFC 5280, 6.1.4 o). */
  readonly unhandledCriticalExtensions: readonly string[];
  /** What the signature covers, and the signature. */
  readonly signedPart: Buffer;
  readonly signatureAlgorithmDer: Buffer;
  readonly signature: Buffer;
}

const MAX_BYTES = 64 * 1024;
const MAX_SERIAL_BYTES = 64;

/** The serial number of a certificate that needs no further reading. Lower-case hex as in `Certificate`. */
export function readSerialNumber(der: Buffer): string {
  const tbs = new DerReader(der, 'the certificate').expect(TAG.sequence).inside().expect(TAG.sequence).inside();
  readVersion(tbs);
  return formatSerialNumber(tbs.integer());
}

function formatSerialNumber(serial: Buffer): string {
  return serial.subarray(serial.length > 1 && serial[0] === 0 ? 1 : 0).toString('hex');
}

/**
 * Reads a certificate: strict DER, but open to what others put in (unknown extensions, foreign key types, version 1, serial 0).
 * Caps: 64 KiB, 64 extensions, 1024 names.
 * @throws X509Error with the rule that was broken
 */
export function parseCertificate(der: Buffer): Certificate {
  if (der.length > MAX_BYTES)
    throw new X509Error('certificate-size', `the certificate is longer than ${MAX_BYTES} bytes`);
  const outer = new DerReader(der, 'the certificate');
  const certificate = outer.expect(TAG.sequence).inside();
  outer.finish();
  const tbs = certificate.expect(TAG.sequence).inside();
  const signedPart = certificate.element();
  const signatureAlgorithmDer = certificate.expect(TAG.sequence).element();
  const signature = certificate.wholeBitString();
  certificate.finish();

  const version = readVersion(tbs);
  const serial = tbs.integer();
  if (serial.length > MAX_SERIAL_BYTES) throw new X509Error('serial-number', 'the serial number is too long');
  if (!tbs.expect(TAG.sequence).element().equals(signatureAlgorithmDer)) {
    throw new X509Error('signature-algorithm', 'the certificate names two different signature algorithms');
  }
  const issuerNames = readName(tbs, 'the issuer');
  const issuerDer = tbs.element();
  const validity = tbs.expect(TAG.sequence).inside('the validity');
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  validity.finish();
  const subjectNames = readName(tbs, 'the subject');
  const subjectDer = tbs.element();
  const spkiDer = tbs.expect(TAG.sequence).element();
  const publicKey = tryPublicKey(spkiDer);
  for (const uniqueId of [context(1), context(2)]) if (tbs.nextTag === uniqueId) tbs.next();
  const extensions = readCertificateExtensions(tbs, version);
  tbs.finish();

  const commonNames = commonNamesOf(subjectNames);
  const sans = parseOne(extensions, 'subjectAltName', parseSans) ?? NO_SANS;
  let importedKey: KeyObject | undefined;
  return {
    der,
    serialNumber: formatSerialNumber(serial),
    subjectDer,
    issuerDer,
    commonName: commonNames.at(-1) ?? '',
    commonNames,
    get subject() {
      return formatName(subjectNames);
    },
    get issuer() {
      return formatName(issuerNames);
    },
    notBefore,
    notAfter,
    publicKey,
    spkiDer,
    keyObject() {
      importedKey ??= publicKey?.keyObject() ?? importSpki(spkiDer);
      return importedKey;
    },
    uriSans: sans.uriSans,
    dnsNames: sans.dnsNames,
    otherSanCount: sans.otherSanCount,
    sanCritical: extensions.some(({ type, critical }) => critical && oidName(type) === 'subjectAltName'),
    basicConstraints: parseOne(extensions, 'basicConstraints', parseBasicConstraints),
    keyUsage: parseOne(extensions, 'keyUsage', parseKeyUsage),
    extendedKeyUsage: parseOne(extensions, 'extKeyUsage', parseExtendedKeyUsage),
    nameConstraints: parseOne(extensions, 'nameConstraints', parseNameConstraints),
    subjectKeyId: parseOne(extensions, 'subjectKeyIdentifier', parseSubjectKeyId),
    authorityKeyId: parseOne(extensions, 'authorityKeyIdentifier', parseAuthorityKeyId),
    isSelfIssued: subjectDer.equals(issuerDer),
    unhandledCriticalExtensions: extensions.filter(isUnhandled).map(({ type }) => oidLabel(type)),
    signedPart,
    signatureAlgorithmDer,
    signature,
  };
}

/**
 * Was the certificate signed by the issuer's key? Only that: names, times and usages are `verifyChain`'s. ECDSA, RSA PKCS#1 and
 * RSA-PSS with SHA-2, Ed25519 and Ed448; anything else (SHA-1) is false.
 */
export function verifyCertificateSignature(certificate: Certificate, issuer: Certificate): boolean {
  if (verifiedWith.get(certificate) === issuer) return true;
  try {
    const algorithm = findSignatureAlgorithm(certificate.signatureAlgorithmDer);
    if (algorithm === undefined) return false;
    const isGood = verifySignature(algorithm, issuer.keyObject(), certificate.signedPart, certificate.signature);
    if (isGood) verifiedWith.set(certificate, issuer);
    return isGood;
  } catch (error) {
    if (error instanceof X509Error) return false;
    throw error;
  }
}

/** The issuer that a certificate was last verified with: the same CA certificates stand above every leaf. */
const verifiedWith = new WeakMap<Certificate, Certificate>();

/** SHA-256 over the DER, lower-case hex: what `openssl x509 -fingerprint -sha256` prints with colons. */
export function fingerprintSha256(der: Buffer): string {
  return hash('sha256', der, 'hex');
}

function readVersion(tbs: DerReader): 1 | 2 | 3 {
  if (tbs.nextTag !== context(0, 'constructed')) return 1;
  const wrapper = tbs.next().inside();
  const version = wrapper.smallInteger();
  wrapper.finish();
  if (version !== 1 && version !== 2)
    throw new X509Error('certificate-version', 'the certificate has an unknown version');
  return version === 1 ? 2 : 3;
}

const TIME_PATTERN = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** UTCTime and GeneralizedTime in the one form that RFC 5280 4.1.2.5 allows: seconds, `Z`, no fraction. */
function readTime(reader: DerReader): Date {
  reader.next();
  const text = reader.content().toString('latin1');
  if (reader.tag === TAG.utcTime) return toDate(`${text < '50' ? '20' : '19'}${text}`);
  if (reader.tag === TAG.generalizedTime) return toDate(text);
  throw new X509Error('time', 'a validity time is neither UTCTime nor GeneralizedTime');
}

function toDate(text: string): Date {
  const [, ...digits] = TIME_PATTERN.exec(text) ?? [];
  const [year = 0, month = 0, day = 0, hour = 99, minute = 0, second = 0] = digits.map(Number);
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  const exists = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  if (!exists || hour > 23 || minute > 59 || second > 59) {
    throw new X509Error('time', 'a validity time is not a proper date');
  }
  return date;
}

function tryPublicKey(spkiDer: Buffer): SubjectPublicKey | undefined {
  try {
    return parseSubjectPublicKey(spkiDer);
  } catch (error) {
    if (error instanceof X509Error) return undefined;
    throw error;
  }
}

function importSpki(spkiDer: Buffer): KeyObject {
  try {
    return createPublicKey({ key: spkiDer, format: 'der', type: 'spki' });
  } catch (cause) {
    throw new X509Error('public-key', 'the public key of the certificate cannot be used', { cause });
  }
}

/** What this room acts on when it reads or verifies; certificatePolicies only narrows a policy set that nobody here asks about. */
const HANDLED: ReadonlySet<OidName> = new Set<OidName>([
  'subjectAltName',
  'basicConstraints',
  'keyUsage',
  'extKeyUsage',
  'nameConstraints',
  'subjectKeyIdentifier',
  'authorityKeyIdentifier',
  'certificatePolicies',
]);

function readCertificateExtensions(tbs: DerReader, version: number): Extension[] {
  if (version !== 3 || tbs.nextTag !== context(3, 'constructed')) return [];
  const wrapper = tbs.next().inside();
  const extensions = readExtensions(wrapper, 'the extensions');
  wrapper.finish();
  return extensions;
}

/** The value of one extension, parsed; undefined when the certificate has none. */
function parseOne<T>(extensions: readonly Extension[], name: OidName, parse: (value: Buffer) => T): T | undefined {
  const found = extensions.find((extension) => oidName(extension.type) === name);
  return found === undefined ? undefined : parse(found.value);
}

function isUnhandled({ critical, type }: Extension): boolean {
  const name = oidName(type);
  return critical && (name === undefined || !HANDLED.has(name));
}

const parseSans = (value: Buffer): SubjectAltNames => parseSubjectAltName(value, MAX_SANS_IN_CERTIFICATE);
