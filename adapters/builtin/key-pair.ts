import { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerContext } from '../../src/issuer/issuer.ts';
import { loadCaKeyPair } from '../../src/x509/ca-key-pair.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import type { CaKeyPair } from '../shared/in-process-ca.ts';
import { type CaPems, caSecretNames } from './ca-secrets.ts';

/** What an operator does about a CA that ends. */
export const RENEW =
  'add a backend of another name to the mesh and rotate to it: a builtin root is never replaced in place';

/** @throws ConfigError when the two are no pair */
export function readKeyPair(pems: CaPems, context: IssuerContext): CaKeyPair {
  const names = caSecretNames(context);
  try {
    const { chain, privateKey } = loadCaKeyPair(pems.cert, pems.key);
    const [root] = chain;
    if (root === undefined) throw new TypeError('a CA key pair without a certificate');
    return { path: [root], privateKey };
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new ConfigError(`secrets "${names.cert}" and "${names.key}" are no CA key pair: ${error.message}`, {
      cause: error,
      fix: 'restore both secrets from the same backup, or add a backend of another name and rotate to it',
    });
  }
}
