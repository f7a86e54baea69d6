import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { authSecrets, secretNames } from './auth/data-sources.ts';
import { parseConf, type VaultConf } from './config.ts';
import { createVaultIssuer } from './issuer.ts';

/** HashiCorp Vault's and OpenBao's PKI secrets engine. See README.md. */
export const module: IssuerModule<VaultConf> = {
  type: 'vault',
  local: false,
  parseConf,
  usedSecrets: (conf, context) => [...authSecrets(conf.auth, context), ...secretNames([conf.tls.caCert])],
  // A login loads them anew each time. A new CA certificate takes a new issuer.
  followedSecrets(conf, context) {
    const others = secretNames([conf.tls.caCert]);
    return authSecrets(conf.auth, context).filter((name) => !others.includes(name));
  },
  create: createVaultIssuer,
};
