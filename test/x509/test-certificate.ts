import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import {
  bitString,
  explicit,
  octetString,
  sequence,
  smallInteger,
  time,
  unsignedInteger,
} from '../../src/x509/der-writer.ts';
import {
  authorityKeyId,
  basicConstraints,
  certificateExtensions,
  extension,
  type KeyUsage,
  keyUsage,
  subjectAltName,
} from '../../src/x509/extensions.ts';
import { keyIdOf } from '../../src/x509/key-id.ts';
import { createName, EMPTY_NAME } from '../../src/x509/name.ts';
import { signatureAlgorithmFor, signSync } from '../../src/x509/signature-algorithm.ts';
import type { TestKey } from './test-keys.ts';

export interface TestCertificate {
  readonly certificate: Certificate;
  readonly key: TestKey;
}

export interface TestCertificateOptions {
  readonly key: TestKey;
  readonly commonName: string;
  /** Undefined: signed by itself. */
  readonly issuer?: TestCertificate | undefined;
  readonly serial?: number;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Undefined: a CA without a limit; null: no basic constraints at all. */
  readonly constraints?: { ca: boolean; pathLength?: number } | null;
  readonly usages?: readonly KeyUsage[] | null;
  readonly uriSans?: readonly string[];
  /** Without SKI and AKI. */
  readonly withoutKeyIds?: boolean;
  readonly moreExtensions?: readonly Buffer[];
  /** Version 1, without any extension. */
  readonly version1?: boolean;
}

export const NOON = new Date('2026-06-01T12:00:00Z');

/** Any certificate, good or bad. As it stands: a CA, valid in 2026. */
export function buildCertificate(options: TestCertificateOptions): TestCertificate {
  const { key, issuer, constraints = { ca: true }, usages = ['keyCertSign', 'cRLSign'], uriSans = [] } = options;
  const signer = issuer?.key ?? key;
  const algorithm = signatureAlgorithmFor(signer.privateKey);
  const subject = options.commonName === '' ? EMPTY_NAME : createName([['commonName', options.commonName]]);
  const extensions = [
    ...(constraints === null
      ? []
      : [extension('basicConstraints', true, basicConstraints({ pathLength: undefined, ...constraints }))]),
    ...(usages === null ? [] : [extension('keyUsage', true, keyUsage(...usages))]),
    ...(uriSans.length === 0 ? [] : [extension('subjectAltName', false, subjectAltName({ uriSans, dnsNames: [] }))]),
    ...(options.withoutKeyIds
      ? []
      : [
          extension('subjectKeyIdentifier', false, octetString(keyIdOf(key.spkiDer))),
          extension('authorityKeyIdentifier', false, authorityKeyId(keyIdOf(signer.spkiDer))),
        ]),
    ...(options.moreExtensions ?? []),
  ];
  const tbs = sequence(
    ...(options.version1 ? [] : [explicit(0, smallInteger(2))]),
    unsignedInteger(Buffer.of(options.serial ?? 1)),
    algorithm.identifier,
    issuer?.certificate.subjectDer ?? subject,
    sequence(
      time(options.notBefore ?? new Date('2026-01-01T00:00:00Z')),
      time(options.notAfter ?? new Date('2026-12-31T23:59:59Z')),
    ),
    subject,
    key.spkiDer,
    ...(options.version1 || extensions.length === 0 ? [] : [certificateExtensions(...extensions)]),
  );
  const der = sequence(tbs, algorithm.identifier, bitString(signSync(algorithm, signer.privateKey, tbs)));
  return { certificate: parseCertificate(der), key };
}

/** A leaf: not a CA, for signatures only. */
export function buildLeaf(options: TestCertificateOptions): TestCertificate {
  return buildCertificate({ constraints: { ca: false }, usages: ['digitalSignature'], ...options });
}
