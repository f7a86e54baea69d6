import { type KeyObject, randomBytes } from 'node:crypto';
import { TAG } from '../../../src/x509/der-reader.ts';
import {
  bitString,
  der,
  derNull,
  explicit,
  octetString,
  oid,
  sequence,
  smallInteger,
  time,
  unsignedInteger,
} from '../../../src/x509/der-writer.ts';
import { authorityKeyId, certificateExtensions, extension } from '../../../src/x509/extensions.ts';
import { keyIdOf } from '../../../src/x509/key-id.ts';
import type { OidName } from '../../../src/x509/oids.ts';
import { findSignatureAlgorithm, signSync } from '../../../src/x509/signature-algorithm.ts';
import type { Period } from './validity.ts';

/** The names of `SigningAlgorithm`, and what each is in a certificate. */
export const SIGNING_ALGORITHMS: Readonly<Record<string, { readonly family: 'ec' | 'rsa'; readonly oid: OidName }>> = {
  SHA256WITHECDSA: { family: 'ec', oid: 'ecdsaWithSha256' },
  SHA384WITHECDSA: { family: 'ec', oid: 'ecdsaWithSha384' },
  SHA512WITHECDSA: { family: 'ec', oid: 'ecdsaWithSha512' },
  SHA256WITHRSA: { family: 'rsa', oid: 'sha256WithRsa' },
  SHA384WITHRSA: { family: 'rsa', oid: 'sha384WithRsa' },
  SHA512WITHRSA: { family: 'rsa', oid: 'sha512WithRsa' },
};

/** Who signs: a name and a key. */
export interface Signer {
  readonly nameDer: Buffer;
  readonly spkiDer: Buffer;
  readonly privateKey: KeyObject;
}

export interface CertificateContent {
  readonly subjectDer: Buffer;
  readonly spkiDer: Buffer;
  readonly period: Period;
  /** Complete Extension elements; the key identifiers are added. */
  readonly extensions: readonly Buffer[];
}

export interface WrittenCertificate {
  readonly der: Buffer;
  /** Lower-case hex. */
  readonly serialNumber: string;
}

/** Signs a certificate of version 3 with a random serial number of 16 octets. */
export function writeCertificate(
  content: CertificateContent,
  signer: Signer,
  signingAlgorithm: string,
): WrittenCertificate {
  const { family = 'ec', oid: name = 'ecdsaWithSha256' } = SIGNING_ALGORITHMS[signingAlgorithm] ?? {};
  const identifier = sequence(oid(name), ...(family === 'rsa' ? [derNull()] : []));
  const algorithm = findSignatureAlgorithm(identifier);
  if (algorithm === undefined) throw new TypeError(`no signature algorithm ${name}`);
  const serialNumber = Buffer.concat([Buffer.of(0x5a), randomBytes(15)]);
  const tbs = sequence(
    explicit(0, smallInteger(2)),
    unsignedInteger(serialNumber),
    identifier,
    signer.nameDer,
    sequence(time(content.period.notBefore), time(content.period.notAfter)),
    content.subjectDer,
    content.spkiDer,
    certificateExtensions(
      ...content.extensions,
      extension('subjectKeyIdentifier', false, octetString(keyIdOf(content.spkiDer))),
      extension('authorityKeyIdentifier', false, authorityKeyId(keyIdOf(signer.spkiDer))),
    ),
  );
  const signature = bitString(signSync(algorithm, signer.privateKey, tbs));
  return { der: der(TAG.sequence, tbs, identifier, signature), serialNumber: serialNumber.toString('hex') };
}
