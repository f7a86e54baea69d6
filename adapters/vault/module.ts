import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { parseConf, type VaultConf } from './config.ts';
import { createVaultIssuer } from './issuer.ts';

/** HashiCorp Vault's and OpenBao's PKI secrets engine. See README.md. */
export const module: IssuerModule<VaultConf> = {
  type: 'vault',
  local: false,
  parseConf,
  usedSecrets(conf) {
    const sources = [conf.auth.token, conf.tls.caCert];
    return sources.flatMap((source) => (source?.kind === 'secret' ? [source.secret] : []));
  },
  create: createVaultIssuer,
};
