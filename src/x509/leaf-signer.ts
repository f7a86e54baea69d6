import { createPublicKey, type KeyObject } from 'node:crypto';
import type { Certificate } from './certificate.ts';
import { TAG } from './der-reader.ts';
import { DerBackwardWriter, explicit, formatTime, octetString, oid, sequence, smallInteger } from './der-writer.ts';
import { authorityKeyId, basicConstraints, checkSanText, extension, keyUsage, SAN_TAG } from './extensions.ts';
import { KEY_ID_BYTES, keyIdOf } from './key-id.ts';
import { createName, EMPTY_NAME } from './name.ts';
import { signatureAlgorithmFor, signInThreadPool, signSync, signsSlowly } from './signature-algorithm.ts';
import { X509Error } from './x509-error.ts';

/** What a leaf certificate says. Checked before by who makes it; the signer only refuses what cannot be written. */
export interface LeafTemplate {
  /** SubjectPublicKeyInfo, DER, as `parseSubjectPublicKey` let it pass. */
  readonly spkiDer: Buffer;
  readonly uriSans: readonly string[];
  readonly dnsNames: readonly string[];
  /** Empty: no subject at all, and the SAN extension is critical (RFC 5280, 4.2.1.6). */
  readonly commonName: string;
  /** Whole seconds count; fractions are cut off. */
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Unsigned, big-endian, 1 to 20 octets with the sign octet, not zero. */
  readonly serialNumber: Buffer;
}

export interface LeafSigner {
  /**
   * The signed certificate, DER: version 3; KU digitalSignature + keyEncipherment + keyAgreement (critical); EKU serverAuth +
   * clientAuth; CA:FALSE (critical); SKI; AKI; SAN with URIs first. On this thread for EC P-256, RSA-2048 and Edwards keys, in the
   * thread pool for larger ones, and then as a promise.
   * @throws X509Error `san-*`, `name-*`, `serial-number`, `time`, `validity`
   */
  sign(template: LeafTemplate): Buffer | Promise<Buffer>;
}

const VERSION_3 = explicit(0, smallInteger(2));
const FIXED_EXTENSIONS = Buffer.concat([
  extension('keyUsage', true, keyUsage('digitalSignature', 'keyEncipherment', 'keyAgreement')),
  extension('extKeyUsage', false, sequence(oid('serverAuth'), oid('clientAuth'))),
  extension('basicConstraints', true, basicConstraints({ ca: false, pathLength: undefined })),
]);
const SKI_PREFIX = extension('subjectKeyIdentifier', false, octetString(Buffer.alloc(KEY_ID_BYTES))).subarray(
  0,
  -KEY_ID_BYTES,
);
const SAN_OID = oid('subjectAltName');
const SAN_OID_CRITICAL = Buffer.concat([SAN_OID, Buffer.of(TAG.boolean, 1, 0xff)]);
const MAX_SERIAL_OCTETS = 20;

/** Room for everything but names and keys: headers, times, serial number. */
const SPARE_BYTES = 256;
/** Tag and length of a SAN take at most this. */
const SAN_HEADER_BYTES = 4;

/**
 * A signer for one CA. Everything that is the same in every certificate is encoded here once; a certificate is then written from its end
 * to its beginning into one buffer, so that no length must be known in advance.
 * @throws X509Error `ca-key` when the key does not belong to the certificate, `signing-key` for a key type that cannot sign
 */
export function createLeafSigner(ca: { certificate: Certificate; privateKey: KeyObject }): LeafSigner {
  const { certificate, privateKey } = ca;
  if (!belongsTogether(certificate, privateKey)) {
    throw new X509Error('ca-key', `the private key does not belong to the CA certificate "${certificate.subject}"`);
  }
  const algorithm = signatureAlgorithmFor(privateKey);
  const slow = signsSlowly(privateKey);
  const issuer = certificate.subjectDer;
  const keyId = certificate.subjectKeyId ?? keyIdOf(certificate.spkiDer);
  const aki = extension('authorityKeyIdentifier', false, authorityKeyId(keyId));
  const fixedBytes = SPARE_BYTES + issuer.length + aki.length + FIXED_EXTENSIONS.length + algorithm.identifier.length;
  const scratch = new DerBackwardWriter(8 * 1024);

  const writeTbs = (template: LeafTemplate): Buffer => {
    const writer = scratch.start(fixedBytes + variableBytes(template));
    const end = writer.position;
    writeSans(writer, template);
    writer.bytes(aki);
    writer.bytes(keyIdOf(template.spkiDer));
    writer.bytes(SKI_PREFIX);
    writer.bytes(FIXED_EXTENSIONS);
    writer.header(TAG.sequence, end);
    writer.header(0xa3, end);
    writer.bytes(template.spkiDer);
    writer.bytes(template.commonName === '' ? EMPTY_NAME : createName([['commonName', template.commonName]]));
    writeValidity(writer, template);
    writer.bytes(issuer);
    writer.bytes(algorithm.identifier);
    writeSerialNumber(writer, template.serialNumber);
    writer.bytes(VERSION_3);
    writer.header(TAG.sequence, end);
    return writer.written(end);
  };

  const assemble = (tbs: Buffer, signature: Buffer): Buffer => {
    const writer = scratch.start(SPARE_BYTES + tbs.length + algorithm.identifier.length + signature.length);
    const end = writer.position;
    writer.bytes(signature);
    writer.byte(0);
    writer.header(TAG.bitString, end);
    writer.bytes(algorithm.identifier);
    writer.bytes(tbs);
    writer.header(TAG.sequence, end);
    return writer.written(end);
  };

  return {
    sign(template) {
      const tbs = writeTbs(template);
      if (slow) return signInThreadPool(algorithm, privateKey, tbs).then((signature) => assemble(tbs, signature));
      return assemble(tbs, signSync(algorithm, privateKey, tbs));
    },
  };
}

function belongsTogether(certificate: Certificate, privateKey: KeyObject): boolean {
  return createPublicKey(privateKey).equals(certificate.keyObject());
}

function variableBytes(template: LeafTemplate): number {
  let bytes = template.spkiDer.length + template.commonName.length * 4;
  for (const text of template.uriSans) bytes += text.length + SAN_HEADER_BYTES;
  for (const text of template.dnsNames) bytes += text.length + SAN_HEADER_BYTES;
  return bytes;
}

function writeSans(writer: DerBackwardWriter, template: LeafTemplate): void {
  const { uriSans, dnsNames } = template;
  if (uriSans.length + dnsNames.length === 0) return;
  const end = writer.position;
  writeNames(writer, SAN_TAG.dns, dnsNames);
  writeNames(writer, SAN_TAG.uri, uriSans);
  writer.header(TAG.sequence, end);
  writer.header(TAG.octetString, end);
  writer.bytes(template.commonName === '' ? SAN_OID_CRITICAL : SAN_OID);
  writer.header(TAG.sequence, end);
}

function writeNames(writer: DerBackwardWriter, tag: number, names: readonly string[]): void {
  for (let i = names.length - 1; i >= 0; i--) {
    const text = names[i] ?? '';
    checkSanText(text);
    const end = writer.position;
    writer.latin1(text);
    writer.header(tag, end);
  }
}

function writeValidity(writer: DerBackwardWriter, { notBefore, notAfter }: LeafTemplate): void {
  if (!(notBefore.getTime() < notAfter.getTime())) {
    throw new X509Error('validity', 'the certificate would end before it begins');
  }
  const end = writer.position;
  writeTime(writer, notAfter);
  writeTime(writer, notBefore);
  writer.header(TAG.sequence, end);
}

function writeTime(writer: DerBackwardWriter, instant: Date): void {
  const end = writer.position;
  const text = formatTime(instant);
  writer.latin1(text);
  writer.header(text.length === 13 ? TAG.utcTime : TAG.generalizedTime, end);
}

function writeSerialNumber(writer: DerBackwardWriter, serialNumber: Buffer): void {
  let start = 0;
  while (serialNumber[start] === 0) start++;
  const first = serialNumber[start];
  const signOctets = first !== undefined && first >= 0x80 ? 1 : 0;
  if (first === undefined || serialNumber.length - start + signOctets > MAX_SERIAL_OCTETS) {
    throw new X509Error(
      'serial-number',
      `a serial number must be positive and have at most ${MAX_SERIAL_OCTETS} octets`,
    );
  }
  const end = writer.position;
  writer.bytes(serialNumber.subarray(start));
  if (signOctets > 0) writer.byte(0);
  writer.header(TAG.integer, end);
}
