import { derNull, oid, sequence } from './der-writer.ts';

/** Same texts as `KEY_TYPES` of the issuer contract. */
export type KeyType = 'EC-P256' | 'EC-P384' | 'RSA-2048' | 'RSA-3072' | 'RSA-4096';

/** An elliptic curve that a leaf key may lie on. */
export interface Curve {
  readonly type: 'EC-P256' | 'EC-P384';
  /** Name in JSON Web Keys, and in WebCrypto. */
  readonly jwkName: 'P-256' | 'P-384';
  /** Name in OpenSSL. */
  readonly opensslName: 'prime256v1' | 'secp384r1';
  /** Octets of a coordinate and of a private scalar. */
  readonly coordinateBytes: number;
  /** DER of the AlgorithmIdentifier in a SubjectPublicKeyInfo. */
  readonly algorithm: Buffer;
}

/** THE table of key types: every key that we make, or let into a leaf, is one of these. */
export const CURVES: readonly Curve[] = [
  {
    type: 'EC-P256',
    jwkName: 'P-256',
    opensslName: 'prime256v1',
    coordinateBytes: 32,
    algorithm: sequence(oid('ecPublicKey'), oid('prime256v1')),
  },
  {
    type: 'EC-P384',
    jwkName: 'P-384',
    opensslName: 'secp384r1',
    coordinateBytes: 48,
    algorithm: sequence(oid('ecPublicKey'), oid('secp384r1')),
  },
];

/** The RSA half of the table: the only sizes, in bits of the modulus. */
export const RSA_SIZES: ReadonlyMap<number, 'RSA-2048' | 'RSA-3072' | 'RSA-4096'> = new Map([
  [2048, 'RSA-2048'],
  [3072, 'RSA-3072'],
  [4096, 'RSA-4096'],
]);

export const RSA_ALGORITHM: Buffer = sequence(oid('rsaEncryption'), derNull());

export function findCurve(type: KeyType): Curve | undefined {
  return CURVES.find((curve) => curve.type === type);
}
