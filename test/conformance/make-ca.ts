import 'reflect-metadata';
import { KeyObject, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { TEST_START } from './issuer-deps.ts';

x509.cryptoProvider.set(webcrypto);

const DAY_MS = 24 * 3600 * 1000;
const { keyCertSign, cRLSign } = x509.KeyUsageFlags;

/** How webcrypto is asked for each kind of CA key. */
const KEYS = {
  'EC-P256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'EC-P384': { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  'RSA-2048': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', publicExponent: Buffer.of(1, 0, 1), modulusLength: 2048 },
  Ed25519: { name: 'Ed25519' },
} as const;

export interface CaSpec {
  readonly name: string;
  readonly keyType?: keyof typeof KEYS;
  /** Absent: self-signed. */
  readonly issuer?: TestCa;
  readonly ca?: boolean;
  readonly pathLength?: number;
  /** `undefined` as value: no such extension. Default keyCertSign + cRLSign. */
  readonly keyUsage?: number | undefined;
  /** Days from TEST_START. Default -1 and 3650. */
  readonly fromDay?: number;
  readonly toDay?: number;
  readonly extensions?: readonly x509.Extension[];
}

export interface TestCa {
  readonly name: string;
  readonly certPem: string;
  /** PKCS#8. */
  readonly keyPem: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

/** A CA as an operator might bring it, good or bad, made by an X.509 library that is not ours. */
export async function makeCa(spec: CaSpec): Promise<TestCa> {
  const algorithm = KEYS[spec.keyType ?? 'EC-P256'];
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
  const at = (day: number) => new Date(Math.floor(TEST_START.getTime() / 1000) * 1000 + day * DAY_MS);
  const usage = 'keyUsage' in spec ? spec.keyUsage : keyCertSign | cRLSign;
  const signer = spec.issuer?.keys ?? keys;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex'),
    subject: `CN=${spec.name}`,
    issuer: `CN=${spec.issuer?.name ?? spec.name}`,
    notBefore: at(spec.fromDay ?? -1),
    notAfter: at(spec.toDay ?? 3650),
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: { ...signer.privateKey.algorithm, hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(spec.ca ?? true, spec.pathLength, true),
      ...(usage === undefined ? [] : [new x509.KeyUsagesExtension(usage, true)]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
      ...(spec.extensions ?? []),
    ],
  });
  return {
    name: spec.name,
    certPem: `${certificate.toString('pem')}\n`,
    keyPem: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString(),
    keys,
  };
}
