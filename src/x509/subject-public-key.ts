import { createPublicKey, KeyObject, webcrypto } from 'node:crypto';
import { DerReader, TAG } from './der-reader.ts';
import { CURVES, type Curve, type KeyType, RSA_ALGORITHM, RSA_SIZES } from './key-types.ts';
import { X509Error } from './x509-error.ts';

export type { KeyType } from './key-types.ts';

/** A public key of an allowed type. */
export interface SubjectPublicKey {
  readonly type: KeyType;
  /** SubjectPublicKeyInfo, DER. */
  readonly spkiDer: Buffer;
  /**
   * The key for node:crypto, imported at the first call and kept.
   * @throws X509Error `public-key` when the numbers are no key (a point that is not on the curve)
   */
  keyObject(): KeyObject;
  /**
   * The same key, by the quickest way there is, which for EC keys is asynchronous. See the numbers at `importEcPoint`.
   * @throws X509Error `public-key`
   */
  importKey(): Promise<KeyObject>;
}

/** Octets of an RSA public exponent. 65537 has three. */
const MAX_EXPONENT_BYTES = 8;

/**
 * Reads a SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) and lets only our key types pass: P-256 and P-384 with a named curve and an
 * uncompressed point (RFC 5480), RSA of exactly 2048, 3072 or 4096 bits with an odd exponent above 2^16 (RFC 3279; CA/B baseline).
 *
 * @throws X509Error `key-algorithm`, `key-size`, `key-exponent`, `key-point`, and the reader's rules
 */
export function parseSubjectPublicKey(spkiDer: Buffer): SubjectPublicKey {
  const outer = new DerReader(spkiDer, 'the public key');
  const spki = outer.expect(TAG.sequence).inside();
  outer.finish();
  spki.expect(TAG.sequence);
  const algorithm = spki.element();
  const keyBits = spki.wholeBitString();
  spki.finish();
  for (const curve of CURVES) {
    if (algorithm.equals(curve.algorithm)) return ecKey(spkiDer, curve, keyBits);
  }
  if (algorithm.equals(RSA_ALGORITHM)) return rsaKey(spkiDer, keyBits);
  throw new X509Error('key-algorithm', `the public key is none of ${KEY_NAMES}`);
}

const KEY_NAMES = [...CURVES.map((curve) => curve.type), ...RSA_SIZES.values()].join(', ');

function ecKey(spkiDer: Buffer, curve: Curve, point: Buffer): SubjectPublicKey {
  if (point.length !== 1 + 2 * curve.coordinateBytes || point[0] !== 4) {
    throw new X509Error('key-point', `the public key is not an uncompressed point of ${curve.jwkName}`);
  }
  return new LazySubjectPublicKey(
    curve.type,
    spkiDer,
    () => importEcPointSync(curve, point),
    () => importEcPoint(curve, point),
  );
}

function rsaKey(spkiDer: Buffer, keyBits: Buffer): SubjectPublicKey {
  const outer = new DerReader(keyBits, 'the RSA public key');
  const numbers = outer.expect(TAG.sequence).inside();
  outer.finish();
  const modulus = numbers.integer();
  const exponent = numbers.integer();
  numbers.finish();
  if (isNegative(modulus) || isNegative(exponent)) {
    throw new X509Error('key-size', 'the RSA public key has a negative number');
  }
  const bits = bitLength(modulus);
  const type = RSA_SIZES.get(bits);
  if (type === undefined) {
    throw new X509Error(
      'key-size',
      `the RSA public key has ${bits} bits, not one of ${[...RSA_SIZES.keys()].join(', ')}`,
    );
  }
  if (bitLength(exponent) < 17 || exponent.length > MAX_EXPONENT_BYTES || isEven(exponent) || isEven(modulus)) {
    throw new X509Error('key-exponent', 'the RSA public key must have an odd modulus and an odd exponent above 65536');
  }
  // PKCS#1 instead of SPKI: 296,000 imports a second against 9,500 on Node 20 (OpenSSL 3.0's decoders are that slow).
  const load = () => createPublicKey({ key: keyBits, format: 'der', type: 'pkcs1' });
  return new LazySubjectPublicKey(type, spkiDer, load, async () => load());
}

class LazySubjectPublicKey implements SubjectPublicKey {
  readonly type: KeyType;
  readonly spkiDer: Buffer;
  private readonly load: () => KeyObject;
  private readonly loadAsync: () => Promise<KeyObject>;
  private key: KeyObject | undefined;

  constructor(type: KeyType, spkiDer: Buffer, load: () => KeyObject, loadAsync: () => Promise<KeyObject>) {
    this.type = type;
    this.spkiDer = spkiDer;
    this.load = load;
    this.loadAsync = loadAsync;
  }

  keyObject(): KeyObject {
    if (this.key === undefined) {
      try {
        this.key = this.load();
      } catch (cause) {
        throw notAKey(this.type, cause);
      }
    }
    return this.key;
  }

  async importKey(): Promise<KeyObject> {
    if (this.key === undefined) {
      try {
        this.key = await this.loadAsync();
      } catch (cause) {
        throw notAKey(this.type, cause);
      }
    }
    return this.key;
  }
}

function notAKey(type: KeyType, cause: unknown): X509Error {
  return new X509Error('public-key', `the numbers of the public key are no ${type} key`, { cause });
}

/**
 * P-256, Node 20.20, one core, imports a second: SPKI 4,800, JWK 8,500, raw point by WebCrypto 15,000. Import and verify of one
 * signature: SPKI 4,300, JWK 5,000 (the same with the JWK given to crypto.verify directly), raw point 6,500. The raw way skips the
 * multiplication by the group order; the check that the point is on the curve stays, and is enough where the cofactor is 1.
 */
async function importEcPoint(curve: Curve, point: Buffer): Promise<KeyObject> {
  const algorithm = { name: 'ECDSA', namedCurve: curve.jwkName };
  return KeyObject.from(await webcrypto.subtle.importKey('raw', point, algorithm, true, ['verify']));
}

function importEcPointSync(curve: Curve, point: Buffer): KeyObject {
  const middle = 1 + curve.coordinateBytes;
  const x = point.toString('base64url', 1, middle);
  const y = point.toString('base64url', middle);
  return createPublicKey({ key: { kty: 'EC', crv: curve.jwkName, x, y }, format: 'jwk' });
}

function isNegative(integer: Buffer): boolean {
  return (integer[0] ?? 0) >= 0x80;
}

function isEven(integer: Buffer): boolean {
  return ((integer[integer.length - 1] ?? 0) & 1) === 0;
}

/** Bits of a minimal, non-negative INTEGER. */
function bitLength(integer: Buffer): number {
  const leading = integer[0] === 0 ? 1 : 0;
  return (integer.length - leading) * 8 - (Math.clz32(integer[leading] ?? 0) - 24);
}
