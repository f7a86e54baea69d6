import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { CHECK_RULES } from './check-rules.ts';
import { type CertManagerConf, parseConf } from './config.ts';
import { createCertManagerIssuer } from './issuer.ts';

/** cert-manager, by CertificateRequests in the system namespace. See README.md. */
export const module: IssuerModule<CertManagerConf> = {
  type: 'certmanager',
  local: false,
  // How many are in flight is for the adaptive limit of the cluster to say, over all meshes together.
  checks: CHECK_RULES,
  parseConf,
  usedSecrets: ({ caCert }) => (caCert?.kind === 'secret' ? [caCert.secret] : []),
  create: createCertManagerIssuer,
};
