import { generateKeyPairSync, type KeyObject } from 'node:crypto';

/** A key for tests: as node makes it, so that our own generator is not its own judge. */
export interface TestKey {
  readonly privateKey: KeyObject;
  readonly spkiDer: Buffer;
}

/** Every kind of key that tests sign with; those that no leaf may have stand below the line. */
const GENERATORS = {
  'EC-P256': () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' }),
  'EC-P384': () => generateKeyPairSync('ec', { namedCurve: 'secp384r1' }),
  'RSA-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'RSA-3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }),
  'RSA-4096': () => generateKeyPairSync('rsa', { modulusLength: 4096 }),
  // ---
  'EC-P521': () => generateKeyPairSync('ec', { namedCurve: 'secp521r1' }),
  'RSA-1024': () => generateKeyPairSync('rsa', { modulusLength: 1024 }),
  'RSA-2048-exponent-3': () => generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }),
  'RSA-PSS': () => generateKeyPairSync('rsa-pss', { modulusLength: 2048 }),
  Ed25519: () => generateKeyPairSync('ed25519'),
} as const;

export type TestKeyType = keyof typeof GENERATORS;

const made = new Map<TestKeyType, TestKey>();

/** The one key of this type in this test file: RSA keys take long to make. */
export function testKey(type: TestKeyType): TestKey {
  let key = made.get(type);
  if (key === undefined) {
    key = freshTestKey(type);
    made.set(type, key);
  }
  return key;
}

export function freshTestKey(type: TestKeyType): TestKey {
  const { privateKey, publicKey } = GENERATORS[type]();
  return { privateKey, spkiDer: publicKey.export({ type: 'spki', format: 'der' }) };
}
