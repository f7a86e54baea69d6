import type { IssuerContext, IssuerDeps } from '../../../src/issuer/issuer.ts';
import type { VaultConf } from '../config.ts';
import { createAppRoleLogin } from './approle.ts';
import type { AuthConf } from './auth-conf.ts';
import { createAwsEc2Login } from './aws-ec2.ts';
import { createAwsIamLogin } from './aws-iam.ts';
import { createJwtLogin } from './jwt.ts';
import { createLoginSource } from './login-source.ts';
import { createTlsLogin } from './tls.ts';
import { createTokenReader } from './token.ts';
import type { TokenSource } from './token-source.ts';

export type TokenSourceDeps = Pick<IssuerDeps, 'load' | 'clock' | 'random' | 'secrets'>;
type Vault = Pick<VaultConf, 'endpoint' | 'namespace'>;

type Factories = {
  readonly [M in AuthConf['method']]: (
    auth: Extract<AuthConf, { method: M }>,
    vault: Vault,
    deps: TokenSourceDeps,
    context: IssuerContext,
  ) => TokenSource;
};

const FACTORIES: Factories = {
  token: (auth, _vault, deps) => createTokenReader(auth, deps),
  tls: (auth, vault, deps) => createLoginSource(vault, createTlsLogin(auth, deps)),
  aws: (auth, vault, deps, context) =>
    auth.type === 'EC2'
      ? createLoginSource(vault, createAwsEc2Login(auth, deps, context))
      : createLoginSource(vault, createAwsIamLogin(auth, deps)),
  approle: (auth, vault, deps) => createLoginSource(vault, createAppRoleLogin(auth, deps)),
  kubernetes: (auth, vault, deps) => createLoginSource(vault, createJwtLogin(auth, deps)),
  jwt: (auth, vault, deps) => createLoginSource(vault, createJwtLogin(auth, deps)),
};

/** The source that `conf.auth` asks for. No call, nothing is loaded. */
export function createTokenSource(
  context: IssuerContext,
  conf: Pick<VaultConf, 'endpoint' | 'namespace' | 'auth'>,
  deps: TokenSourceDeps,
): TokenSource {
  return create(conf.auth, conf, deps, context);
}

function create<M extends AuthConf['method']>(
  auth: Extract<AuthConf, { method: M }>,
  vault: Vault,
  deps: TokenSourceDeps,
  context: IssuerContext,
): TokenSource {
  return FACTORIES[auth.method](auth, vault, deps, context);
}
