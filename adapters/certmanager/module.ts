import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { CHECK_RULES } from './check-rules.ts';
import { type CertManagerConf, parseConf } from './config.ts';
import { createCertManagerIssuer } from './issuer.ts';

/** cert-manager, by CertificateRequests in the system namespace. See README.md. */
export const module: IssuerModule<CertManagerConf> = {
  type: 'certmanager',
  local: false,
  checks: CHECK_RULES,
  // There is one: that of the kubeconfig, or of the Pod.
  endpoint: () => 'cluster',
  // cert-manager signs some ten at once and takes half a second for each: what waits in it is only later.
  concurrency: { start: 8, max: 256, targetDelayMs: 750 },
  parseConf,
  usedSecrets: ({ caCert }) => (caCert?.kind === 'secret' ? [caCert.secret] : []),
  create: createCertManagerIssuer,
};
