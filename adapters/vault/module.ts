import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { CHECK_RULES } from './check-rules.ts';
import { parseConf, type VaultConf } from './config.ts';
import { followedSecrets, laterSecrets, usedSecrets } from './data-sources.ts';
import { endpointOf } from './endpoint.ts';
import { createVaultIssuer } from './issuer.ts';

/** HashiCorp Vault's and OpenBao's PKI secrets engine. See README.md. */
export const module: IssuerModule<VaultConf> = {
  type: 'vault',
  local: false,
  checks: CHECK_RULES,
  endpoint: endpointOf,
  concurrency: { start: 16, max: 256, targetDelayMs: 50 },
  parseConf,
  usedSecrets,
  followedSecrets,
  laterSecrets,
  create: createVaultIssuer,
};
