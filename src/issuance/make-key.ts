import { createPrivateKey, createPublicKey } from 'node:crypto';
import pLimit from 'p-limit';
import { RateLimitedError } from '../issuer/errors.ts';
import { generateKeyPair, type KeyPair } from '../x509/key-pair.ts';
import type { KeyType } from '../x509/subject-public-key.ts';

/** RSA keys cost 0.15 s of a core each on Node 20: a few at a time, and not without end. */
const AT_ONCE = 2;
const MOST_WAITING = 200;

/** Makes keys for data planes that send no CSR. EC keys at once, RSA keys by a short queue in the thread pool. */
export function createKeyMaker(
  generate: (type: KeyType) => Promise<KeyPair> = generateKeyPair,
): (type: KeyType) => Promise<KeyPair> {
  const limit = pLimit(AT_ONCE);
  return (type) => {
    if (!type.startsWith('RSA')) return generate(type);
    if (limit.pendingCount >= MOST_WAITING) {
      throw new RateLimitedError(`${MOST_WAITING} ${type} keys already wait to be made`, {
        retryAfterMs: 10_000,
        fix: 'send a csr made where the key is used, or use EC keys (MESH_CA_DP_KEY_TYPE=EC-P256)',
      });
    }
    return limit(() => generate(type));
  };
}

/** SubjectPublicKeyInfo (DER) of a PKCS#8 private key (DER). */
export function spkiOfPrivateKey(privateKeyDer: Buffer): Buffer {
  const key = createPublicKey(createPrivateKey({ key: privateKeyDer, format: 'der', type: 'pkcs8' }));
  return key.export({ type: 'spki', format: 'der' });
}
