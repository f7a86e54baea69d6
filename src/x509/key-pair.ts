import { createECDH, createPrivateKey, generateKeyPair as generateInThreadPool, type KeyObject } from 'node:crypto';
import { bitString, explicit, octetString, sequence, smallInteger } from './der-writer.ts';
import { type Curve, findCurve, type KeyType, RSA_SIZES } from './key-types.ts';
import { decodePem } from './pem.ts';
import { X509Error } from './x509-error.ts';

/** A fresh key. `privateKey` is imported when it is first asked for: who only hands the key on does not pay for it. */
export interface KeyPair {
  readonly type: KeyType;
  readonly privateKey: KeyObject;
  /** SubjectPublicKeyInfo, DER. */
  readonly spkiDer: Buffer;
  /** PKCS#8, DER, not encrypted. */
  readonly pkcs8Der: Buffer;
}

/**
 * Makes a key. EC keys are made on the spot (P-256 in about 45 us); RSA keys in the thread pool, and take long: on Node 20 RSA-2048 about
 * 150 ms, RSA-4096 seconds. Bound how many are asked for at once.
 */
export async function generateKeyPair(type: KeyType): Promise<KeyPair> {
  const curve = findCurve(type);
  return curve === undefined ? generateRsa(type) : generateEc(curve);
}

/**
 * OpenSSL 3.0's encoders make generating and exporting a P-256 key a matter of 4,600 a second; ECDH and DER written here make it
 * over 20,000. The PKCS#8 is byte for byte what OpenSSL would write (RFC 5915 inside RFC 5958, with the public key).
 */
function generateEc(curve: Curve): KeyPair {
  const ecdh = createECDH(curve.opensslName);
  const point = ecdh.generateKeys();
  const scalar = ecdh.getPrivateKey();
  const padded = Buffer.alloc(curve.coordinateBytes);
  scalar.copy(padded, curve.coordinateBytes - scalar.length);
  const ecPrivateKey = sequence(smallInteger(1), octetString(padded), explicit(1, bitString(point)));
  const pkcs8Der = sequence(smallInteger(0), curve.algorithm, octetString(ecPrivateKey));
  const coordinate = (index: number) =>
    point.subarray(1 + index * curve.coordinateBytes, 1 + (index + 1) * curve.coordinateBytes).toString('base64url');
  const jwk = { kty: 'EC', crv: curve.jwkName, x: coordinate(0), y: coordinate(1), d: padded.toString('base64url') };
  // OpenSSL 3.0 decodes PKCS#8 six times slower than it takes a JWK's numbers.
  const importKey = () => createPrivateKey({ key: jwk, format: 'jwk' });
  return lazyKeyPair(curve.type, sequence(curve.algorithm, bitString(point)), pkcs8Der, importKey);
}

function generateRsa(type: KeyType): Promise<KeyPair> {
  const bits = [...RSA_SIZES].find(([, name]) => name === type)?.[0];
  if (bits === undefined) throw new TypeError(`unknown key type "${type}"`);
  return new Promise((resolve, reject) => {
    generateInThreadPool(
      'rsa',
      {
        modulusLength: bits,
        publicKeyEncoding: { type: 'spki', format: 'der' },
        privateKeyEncoding: { type: 'pkcs8', format: 'der' },
      },
      (error, spkiDer, pkcs8Der) => (error ? reject(error) : resolve(lazyKeyPair(type, spkiDer, pkcs8Der))),
    );
  });
}

function lazyKeyPair(
  type: KeyType,
  spkiDer: Buffer,
  pkcs8Der: Buffer,
  importKey = () => createPrivateKey({ key: pkcs8Der, format: 'der', type: 'pkcs8' }),
): KeyPair {
  let key: KeyObject | undefined;
  return {
    type,
    spkiDer,
    pkcs8Der,
    get privateKey() {
      key ??= importKey();
      return key;
    },
  };
}

/** Which PEM labels hold a private key, and how node:crypto calls the form. */
const PRIVATE_KEY_FORMS: ReadonlyMap<string, 'pkcs8' | 'pkcs1' | 'sec1'> = new Map([
  ['PRIVATE KEY', 'pkcs8'],
  ['RSA PRIVATE KEY', 'pkcs1'],
  ['EC PRIVATE KEY', 'sec1'],
]);

/**
 * Loads the first private key of a PEM text: PKCS#8, PKCS#1 or SEC1, not encrypted. Other blocks (`EC PARAMETERS`) are ignored.
 * @throws X509Error `private-key`, `private-key-encrypted`, and the rules of `decodePem`
 */
export function loadPrivateKey(pem: string): KeyObject {
  const blocks = decodePem(pem);
  for (const { label, der: keyDer } of blocks) {
    if (label === 'ENCRYPTED PRIVATE KEY') {
      throw new X509Error('private-key-encrypted', 'the private key is encrypted; decrypt it first (openssl pkey)');
    }
    const type = PRIVATE_KEY_FORMS.get(label);
    if (type !== undefined) return importPrivateKey(keyDer, type);
  }
  const found =
    blocks.length === 0 ? 'no PEM block at all' : `only ${blocks.map((block) => `"${block.label}"`).join(', ')}`;
  throw new X509Error('private-key', `no private key found, ${found}`);
}

/** @throws X509Error `private-key`; its message never holds a byte of the key */
function importPrivateKey(keyDer: Buffer, type: 'pkcs8' | 'pkcs1' | 'sec1'): KeyObject {
  try {
    return createPrivateKey({ key: keyDer, format: 'der', type });
  } catch {
    throw new X509Error(
      'private-key',
      `the private key is not a proper ${type === 'sec1' ? 'SEC 1' : type.toUpperCase()} key`,
    );
  }
}
