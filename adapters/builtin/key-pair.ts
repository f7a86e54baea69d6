import { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerContext } from '../../src/issuer/issuer.ts';
import { loadCaKeyPair } from '../../src/x509/ca-key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import type { CaKeyPair } from '../shared/in-process-ca.ts';
import type { CaPems } from './ca-secrets.ts';

/** What an operator does about a CA that ends, or that is not what the conf says. */
export function renew({ mesh, backend }: IssuerContext): string {
  return `mesh-ca rotate ${mesh} --to ${backend} makes the next generation of this CA and moves all data planes to it; with MESH_CA_BUILTIN_ROOT_RENEWAL=true that happens by itself in the last 20 % of its life`;
}

/**
 * @param where they stand, for the message: `secrets "a" and "b"`
 * @throws ConfigError when the two are no pair
 */
export function readKeyPair(pems: CaPems, where: string): CaKeyPair {
  try {
    const { chain, privateKey } = loadCaKeyPair(pems.cert, pems.key);
    const [root] = chain;
    if (root === undefined) throw new TypeError('a CA key pair without a certificate');
    return { path: [root], privateKey };
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new ConfigError(`${where} are no CA key pair: ${error.message}`, {
      cause: error,
      fix: 'restore all secrets of this CA from the same backup, or add a backend of another name and rotate to it',
    });
  }
}

const KEY_FORMS: Readonly<Record<string, 'pkcs1' | 'sec1'>> = { rsa: 'pkcs1', ec: 'sec1' };

/** The forms that Kuma and kumactl read: `RSA PRIVATE KEY` and `EC PRIVATE KEY`. */
export function writeKeyPair({ path: [root], privateKey }: CaKeyPair): CaPems {
  const type = KEY_FORMS[privateKey.asymmetricKeyType ?? ''] ?? 'pkcs8';
  return {
    cert: encodePem('CERTIFICATE', root.der),
    key: privateKey.export({ type, format: 'pem' }).toString(),
  };
}
