import type { DataSource, IssuerContext } from '../../src/issuer/issuer.ts';
import { certificatesProblem, type NamedSource, privateKeyProblem, wordProblem } from '../shared/check-sources.ts';
import type { AuthConf } from './auth/auth-conf.ts';
import { ec2NonceSecret } from './auth/ec2-nonce.ts';
import type { VaultConf } from './config.ts';

type SourcesConf = Pick<VaultConf, 'auth' | 'tls'>;

/** Every data source of a conf, with its field and what it has to hold. */
export function dataSources(conf: SourcesConf): readonly NamedSource[] {
  const { caCert } = conf.tls;
  return [
    ...authSources(conf.auth),
    ...(caCert === undefined
      ? []
      : [{ field: 'fromCp.tls.caCert', source: caCert, problem: certificatesProblem, isSecret: false }]),
  ];
}

/** Those that a login reads, each time anew. */
function authSources(auth: AuthConf): readonly NamedSource[] {
  const word = (field: string, source: DataSource): NamedSource => ({
    ...{ field: `fromCp.auth.${field}`, source },
    ...{ problem: wordProblem, isSecret: true },
  });
  switch (auth.method) {
    case 'token':
      return [word('token', auth.token)];
    case 'tls':
      return [
        {
          ...{ field: 'fromCp.auth.tls.clientCert', source: auth.clientCert },
          ...{ problem: certificatesProblem, isSecret: false },
        },
        {
          ...{ field: 'fromCp.auth.tls.clientKey', source: auth.clientKey },
          ...{ problem: privateKeyProblem, isSecret: true },
        },
      ];
    case 'approle':
      return auth.secretId === undefined ? [] : [word('approle.secretId', auth.secretId)];
    case 'kubernetes':
    case 'jwt':
      return [word(`${auth.method}.token`, auth.token)];
    case 'aws':
      return [];
  }
}

/** Names of all secrets that the conf reads, and of the nonce that EC2 logins own. */
export function usedSecrets(conf: SourcesConf, context: IssuerContext): readonly string[] {
  return [...new Set([...secretsOf(dataSources(conf)), ...laterSecrets(conf, context)])];
}

/** Those that only logins read, and so take effect without a new issuer. */
export function followedSecrets(conf: SourcesConf, context: IssuerContext): readonly string[] {
  const { caCert } = conf.tls;
  const pinned = caCert?.kind === 'secret' ? caCert.secret : undefined;
  return usedSecrets(conf, context).filter((name) => name !== pinned);
}

function secretsOf(sources: readonly NamedSource[]): string[] {
  return sources.flatMap(({ source }) => (source.kind === 'secret' ? [source.secret] : []));
}

/** The nonce is made at the first login. */
export function laterSecrets({ auth }: SourcesConf, context: IssuerContext): readonly string[] {
  return auth.method === 'aws' && auth.type === 'EC2' ? [ec2NonceSecret(context)] : [];
}
