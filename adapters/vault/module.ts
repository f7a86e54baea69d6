import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { parseConf, type VaultConf } from './config.ts';
import { followedSecrets, laterSecrets, usedSecrets } from './data-sources.ts';
import { createVaultIssuer } from './issuer.ts';

/** HashiCorp Vault's and OpenBao's PKI secrets engine. See README.md. */
export const module: IssuerModule<VaultConf> = {
  type: 'vault',
  local: false,
  parseConf,
  usedSecrets,
  followedSecrets,
  laterSecrets,
  create: createVaultIssuer,
};
