import { sign } from 'node:crypto';
import { TAG } from '../../src/x509/der-reader.ts';
import {
  bitString,
  boolean,
  der,
  derHeader,
  derNull,
  explicit,
  octetString,
  oid,
  sequence,
  setOf,
  smallInteger,
} from '../../src/x509/der-writer.ts';
import { extension, subjectAltName } from '../../src/x509/extensions.ts';
import { createName, EMPTY_NAME } from '../../src/x509/name.ts';
import { encodeOid } from '../../src/x509/oids.ts';
import { type TestKeyType, testKey } from './test-keys.ts';

/** A request that must be refused although its key signed every byte of it (unless the signature is what is wrong). */
export interface MalformedCsr {
  readonly name: string;
  build(): Buffer;
  /** `X509Error.rule`, or `signature` when it can be read and its signature does not hold. */
  readonly rule: string;
}

/** The parts of a request; everything can be replaced by nonsense. */
export interface CsrParts {
  key?: TestKeyType;
  version?: Buffer;
  subject?: Buffer;
  spki?: Buffer;
  /** Content of `attributes [0]`; undefined parts are left out. */
  attributes?: readonly Buffer[] | 'absent';
  afterAttributes?: Buffer;
  algorithm?: Buffer;
  hash?: string | null;
  signature?: (signature: Buffer) => Buffer;
  signatureBits?: (signature: Buffer) => Buffer;
  wrap?: (content: Buffer) => Buffer;
}

/** Builds a request from its parts and signs it. Without any part given it is a good one. */
export function buildCsr(parts: CsrParts = {}): Buffer {
  const key = testKey(parts.key ?? 'EC-P256');
  const isRsa = key.privateKey.asymmetricKeyType === 'rsa';
  const attributes = parts.attributes ?? [extensionRequest(sanExtension())];
  const info = sequence(
    parts.version ?? smallInteger(0),
    parts.subject ?? EMPTY_NAME,
    parts.spki ?? key.spkiDer,
    ...(attributes === 'absent' ? [] : [explicit(0, ...attributes)]),
    parts.afterAttributes ?? Buffer.alloc(0),
  );
  const algorithm =
    parts.algorithm ?? (isRsa ? sequence(oid('sha256WithRsa'), derNull()) : sequence(oid('ecdsaWithSha256')));
  const made = sign(parts.hash === undefined ? 'sha256' : parts.hash, info, key.privateKey);
  const signature = parts.signature?.(made) ?? made;
  const bits = parts.signatureBits?.(signature) ?? bitString(signature);
  return (parts.wrap ?? sequence)(Buffer.concat([info, algorithm, bits]));
}

function extensionRequest(...extensions: readonly Buffer[]): Buffer {
  return attribute(oid('extensionRequest'), sequence(...extensions));
}

function attribute(type: Buffer, ...values: readonly Buffer[]): Buffer {
  return sequence(type, setOf(...values));
}

function sanExtension(...uris: readonly string[]): Buffer {
  return extension(
    'subjectAltName',
    true,
    subjectAltName({ uriSans: uris.length > 0 ? uris : ['spiffe://default/web'], dnsNames: [] }),
  );
}

const sanOf = (...names: readonly Buffer[]): Buffer => extension('subjectAltName', true, sequence(...names));
const uri = (bytes: string | Buffer): Buffer => der(0x86, Buffer.from(bytes));
const commonName = (tag: number, value: string | Buffer): Buffer =>
  der(TAG.set, sequence(oid('commonName'), der(tag, Buffer.from(value))));
const dottedOid = (dotted: string): Buffer => der(TAG.oid, encodeOid(dotted));
const UNKNOWN_TYPE = dottedOid('1.3.6.1.4.1.99999.1');

function nested(levels: number): Buffer {
  let value = derNull();
  for (let i = 0; i < levels; i++) value = sequence(value);
  return value;
}

/** 20,000 levels at once, without copying the inner ones 20,000 times. */
function deeplyNested(levels: number): Buffer {
  const headers: Buffer[] = [];
  let length = 0;
  for (let i = 0; i < levels; i++) {
    const header = derHeader(TAG.sequence, length);
    headers.unshift(header);
    length += header.length;
  }
  return Buffer.concat(headers);
}

function offCurve(spki: Buffer): Buffer {
  const bent = Buffer.from(spki);
  bent.writeUInt8(bent.readUInt8(bent.length - 1) ^ 1, bent.length - 1);
  return bent;
}

function compressedPoint(spki: Buffer): Buffer {
  const odd = (spki.readUInt8(spki.length - 1) & 1) === 1;
  const x = spki.subarray(spki.length - 64, spki.length - 32);
  return sequence(
    sequence(oid('ecPublicKey'), oid('prime256v1')),
    bitString(Buffer.concat([Buffer.of(odd ? 3 : 2), x])),
  );
}

/** The cases of our comparison of seven CSR readers (nobody else's refused them all), and more of our own. */
export const MALFORMED_CSRS: readonly MalformedCsr[] = [
  {
    name: 'trailing bytes after the outer SEQUENCE',
    build: () => Buffer.concat([buildCsr(), Buffer.of(0)]),
    rule: 'trailing-bytes',
  },
  {
    name: 'BER indefinite length',
    build: () => buildCsr({ wrap: (content) => Buffer.concat([Buffer.of(0x30, 0x80), content, Buffer.of(0, 0)]) }),
    rule: 'indefinite-length',
  },
  {
    name: 'non-minimal length of the outer SEQUENCE',
    build: () =>
      buildCsr({
        wrap: (content) =>
          Buffer.concat([Buffer.of(0x30, 0x83, 0, content.length >> 8, content.length & 0xff), content]),
      }),
    rule: 'non-minimal-length',
  },
  {
    name: 'non-minimal length inside the signed part',
    build: () => buildCsr({ version: Buffer.of(TAG.integer, 0x81, 1, 0) }),
    rule: 'non-minimal-length',
  },
  { name: 'version 5', build: () => buildCsr({ version: smallInteger(5) }), rule: 'csr-version' },
  {
    name: 'two extensionRequest attributes with different names',
    build: () =>
      buildCsr({
        attributes: [extensionRequest(sanExtension('spiffe://a/b')), extensionRequest(sanExtension('spiffe://c/d'))],
      }),
    rule: 'duplicate-attribute',
  },
  {
    name: 'the SAN extension twice',
    build: () =>
      buildCsr({ attributes: [extensionRequest(sanExtension('spiffe://a/b'), sanExtension('spiffe://c/d'))] }),
    rule: 'duplicate-extension',
  },
  {
    name: 'two values in the SET of the extensionRequest',
    build: () =>
      buildCsr({
        attributes: [
          attribute(
            oid('extensionRequest'),
            sequence(sanExtension('spiffe://a/b')),
            sequence(sanExtension('spiffe://c/d')),
          ),
        ],
      }),
    rule: 'attribute-values',
  },
  {
    name: 'NUL inside a URI',
    build: () => buildCsr({ attributes: [extensionRequest(sanOf(uri('spiffe://default/web\0.evil')))] }),
    rule: 'san-characters',
  },
  {
    name: 'a URI that is not ASCII',
    build: () => buildCsr({ attributes: [extensionRequest(sanOf(uri('spiffe://default/wéb')))] }),
    rule: 'san-characters',
  },
  { name: 'an empty SAN', build: () => buildCsr({ attributes: [extensionRequest(sanOf())] }), rule: 'san-empty' },
  {
    name: 'bytes after the SAN value',
    build: () =>
      buildCsr({
        attributes: [
          extensionRequest(
            extension('subjectAltName', true, Buffer.concat([sequence(uri('spiffe://default/web')), Buffer.of(5, 0)])),
          ),
        ],
      }),
    rule: 'trailing-bytes',
  },
  {
    name: 'BOOLEAN TRUE as 0x01',
    build: () =>
      buildCsr({
        attributes: [
          extensionRequest(
            sequence(
              oid('subjectAltName'),
              Buffer.of(TAG.boolean, 1, 1),
              octetString(sequence(uri('spiffe://default/web'))),
            ),
          ),
        ],
      }),
    rule: 'boolean',
  },
  {
    name: 'a trailing byte inside the ECDSA signature',
    build: () => buildCsr({ signature: (signature) => Buffer.concat([signature, Buffer.of(0)]) }),
    rule: 'trailing-bytes',
  },
  {
    name: 'a point that is not on the curve',
    build: () => buildCsr({ spki: offCurve(testKey('EC-P256').spkiDer) }),
    rule: 'signature',
  },
  { name: '20,000 nested SEQUENCEs', build: () => deeplyNested(20_000), rule: 'csr-size' },
  {
    name: '1,000 nested SEQUENCEs in an attribute',
    build: () => buildCsr({ attributes: [attribute(UNKNOWN_TYPE, nested(1000))] }),
    rule: 'depth',
  },
  {
    name: 'a length that claims 4 GiB',
    build: () => Buffer.concat([Buffer.of(0x30, 0x84, 0xff, 0xff, 0xff, 0xff), buildCsr()]),
    rule: 'length-too-large',
  },
  {
    name: '10,000 names',
    build: () =>
      buildCsr({
        attributes: [
          extensionRequest(sanExtension(...Array.from({ length: 10_000 }, (_, i) => `spiffe://default/service-${i}`))),
        ],
      }),
    rule: 'csr-size',
  },
  {
    name: '257 names',
    build: () =>
      buildCsr({
        attributes: [extensionRequest(sanExtension(...Array.from({ length: 257 }, (_, i) => `spiffe://m/${i}`)))],
      }),
    rule: 'san-count',
  },
  {
    name: 'an OID of 60 KB',
    build: () => buildCsr({ attributes: [attribute(der(TAG.oid, Buffer.alloc(60_000, 1)), derNull())] }),
    rule: 'csr-size',
  },
  {
    name: 'an OID of 65 bytes',
    build: () => buildCsr({ attributes: [attribute(der(TAG.oid, Buffer.alloc(65, 1)), derNull())] }),
    rule: 'oid-length',
  },
  { name: 'no bytes', build: () => Buffer.alloc(0), rule: 'unexpected-tag' },
  { name: 'one byte', build: () => Buffer.of(0x30), rule: 'truncated' },
  { name: 'cut off in the middle', build: () => buildCsr().subarray(0, 100), rule: 'truncated' },
  {
    name: 'a version INTEGER that is not minimal',
    build: () => buildCsr({ version: Buffer.of(2, 2, 0, 0) }),
    rule: 'integer-not-minimal',
  },
  { name: 'no attributes field', build: () => buildCsr({ attributes: 'absent' }), rule: 'unexpected-tag' },
  {
    name: 'a field after the attributes',
    build: () => buildCsr({ afterAttributes: derNull() }),
    rule: 'trailing-bytes',
  },
  {
    name: '17 attributes',
    build: () => buildCsr({ attributes: Array.from({ length: 17 }, () => attribute(UNKNOWN_TYPE, derNull())) }),
    rule: 'attribute-count',
  },
  {
    name: 'an extensionRequest without a value',
    build: () => buildCsr({ attributes: [attribute(oid('extensionRequest'))] }),
    rule: 'unexpected-tag',
  },
  {
    name: 'an empty list of extensions',
    build: () => buildCsr({ attributes: [extensionRequest()] }),
    rule: 'extensions-empty',
  },
  {
    name: 'critical FALSE spelled out',
    build: () =>
      buildCsr({
        attributes: [
          extensionRequest(
            sequence(oid('subjectAltName'), boolean(false), octetString(sequence(uri('spiffe://default/web')))),
          ),
        ],
      }),
    rule: 'default-encoded',
  },
  {
    name: 'a URI of 2,049 characters',
    build: () => buildCsr({ attributes: [extensionRequest(sanOf(uri(`spiffe://${'a'.repeat(2040)}`)))] }),
    rule: 'san-length',
  },
  {
    name: 'an empty URI',
    build: () => buildCsr({ attributes: [extensionRequest(sanOf(uri('')))] }),
    rule: 'san-length',
  },
  {
    name: 'something in the SAN that is no name',
    build: () => buildCsr({ attributes: [extensionRequest(sanOf(smallInteger(1)))] }),
    rule: 'unexpected-tag',
  },
  {
    name: 'an ignored extension whose value is not DER',
    build: () => buildCsr({ attributes: [extensionRequest(extension('keyUsage', true, Buffer.of(3, 0x80)))] }),
    rule: 'indefinite-length',
  },
  {
    name: 'an unknown attribute with a malformed NULL',
    build: () => buildCsr({ attributes: [attribute(UNKNOWN_TYPE, der(TAG.null, Buffer.of(0)))] }),
    rule: 'null',
  },
  {
    name: 'an unknown attribute with a multi-byte tag',
    build: () => buildCsr({ attributes: [attribute(UNKNOWN_TYPE, Buffer.of(0x1f, 0x81, 0x01, 0))] }),
    rule: 'high-tag-number',
  },
  {
    name: 'an OID that is not minimal',
    build: () => buildCsr({ attributes: [attribute(der(TAG.oid, Buffer.of(0x2a, 0x80, 0x01)), derNull())] }),
    rule: 'oid',
  },
  {
    name: 'NUL inside the common name',
    build: () => buildCsr({ subject: sequence(commonName(TAG.utf8String, 'web\0.evil')) }),
    rule: 'common-name',
  },
  {
    name: 'a common name that is not UTF-8',
    build: () => buildCsr({ subject: sequence(commonName(TAG.utf8String, Buffer.of(0x77, 0xff, 0xfe))) }),
    rule: 'common-name',
  },
  {
    name: 'a PrintableString with other characters',
    build: () => buildCsr({ subject: sequence(commonName(TAG.printableString, 'web_1@x')) }),
    rule: 'common-name',
  },
  {
    name: 'a common name in a BMPString',
    build: () => buildCsr({ subject: sequence(commonName(TAG.bmpString, Buffer.of(0, 0x77))) }),
    rule: 'common-name',
  },
  {
    name: 'a common name of 65 characters',
    build: () => buildCsr({ subject: sequence(commonName(TAG.utf8String, 'a'.repeat(65))) }),
    rule: 'common-name',
  },
  {
    name: 'two common names',
    build: () => buildCsr({ subject: sequence(commonName(TAG.utf8String, 'a'), commonName(TAG.utf8String, 'b')) }),
    rule: 'common-name',
  },
  {
    name: '65 attributes in the subject',
    build: () => buildCsr({ subject: createName(Array.from({ length: 65 }, () => ['organization', 'x'] as const)) }),
    rule: 'name-size',
  },
  {
    name: 'SHA-1 with ECDSA',
    build: () => buildCsr({ hash: 'sha1', algorithm: sequence(dottedOid('1.2.840.10045.4.1')) }),
    rule: 'signature-algorithm',
  },
  {
    name: 'SHA-1 with RSA',
    build: () =>
      buildCsr({ key: 'RSA-2048', hash: 'sha1', algorithm: sequence(dottedOid('1.2.840.113549.1.1.5'), derNull()) }),
    rule: 'signature-algorithm',
  },
  {
    name: 'an RSA algorithm for an EC key',
    build: () => buildCsr({ algorithm: sequence(oid('sha256WithRsa'), derNull()) }),
    rule: 'signature-algorithm',
  },
  {
    name: 'an algorithm with parameters that it must not have',
    build: () => buildCsr({ algorithm: sequence(oid('ecdsaWithSha256'), derNull()) }),
    rule: 'signature-algorithm',
  },
  { name: 'an RSA key of 1024 bits', build: () => buildCsr({ key: 'RSA-1024' }), rule: 'key-size' },
  { name: 'an RSA key with exponent 3', build: () => buildCsr({ key: 'RSA-2048-exponent-3' }), rule: 'key-exponent' },
  {
    name: 'a P-521 key',
    build: () => buildCsr({ key: 'EC-P521', hash: 'sha512', algorithm: sequence(oid('ecdsaWithSha512')) }),
    rule: 'key-algorithm',
  },
  {
    name: 'an Ed25519 key',
    build: () => buildCsr({ key: 'Ed25519', hash: null, algorithm: sequence(oid('ed25519')) }),
    rule: 'key-algorithm',
  },
  {
    name: 'a compressed point',
    build: () => buildCsr({ spki: compressedPoint(testKey('EC-P256').spkiDer) }),
    rule: 'key-point',
  },
  {
    name: 'unused bits in the signature',
    build: () => buildCsr({ signatureBits: (signature) => der(TAG.bitString, Buffer.of(1), signature) }),
    rule: 'unused-bits',
  },
  {
    name: 'a signature of zeros',
    build: () => buildCsr({ signature: () => sequence(smallInteger(0), smallInteger(0)) }),
    rule: 'signature-value',
  },
  {
    name: "another key's signature",
    build: () => buildCsr({ signature: () => sign('sha256', Buffer.from('other'), testKey('EC-P256').privateKey) }),
    rule: 'signature',
  },
  {
    name: 'an RSA signature with a flipped bit',
    build: () =>
      buildCsr({
        key: 'RSA-2048',
        signature: (signature) => {
          const bent = Buffer.from(signature);
          bent.writeUInt8(bent.readUInt8(200) ^ 1, 200);
          return bent;
        },
      }),
    rule: 'signature',
  },
];
