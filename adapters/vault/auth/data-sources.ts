import type { DataSource, IssuerContext } from '../../../src/issuer/issuer.ts';
import type { AuthConf } from './auth-conf.ts';
import { ec2NonceSecret } from './ec2-nonce.ts';

/** Names of the secrets that a login reads, each time anew; the nonce that EC2 logins own among them. */
export function authSecrets(auth: AuthConf, context: IssuerContext): readonly string[] {
  switch (auth.method) {
    case 'tls':
      return secretNames([auth.clientCert, auth.clientKey]);
    case 'aws':
      return auth.type === 'EC2' ? [ec2NonceSecret(context)] : [];
    case 'approle':
      return secretNames([auth.secretId]);
    case 'token':
    case 'kubernetes':
    case 'jwt':
      return secretNames([auth.token]);
  }
}

export function secretNames(sources: readonly (DataSource | undefined)[]): string[] {
  return sources.flatMap((source) => (source?.kind === 'secret' ? [source.secret] : []));
}
