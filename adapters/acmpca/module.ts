import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { CHECK_RULES } from './check-rules.ts';
import { type AcmPcaConf, parseConf } from './config.ts';
import { createAcmPcaIssuer } from './issuer.ts';

/** AWS Private CA, which the product calls ACM Private CA. See README.md. */
export const module: IssuerModule<AcmPcaConf> = {
  type: 'acmpca',
  local: false,
  checks: CHECK_RULES,
  billed: true,
  endpoint: ({ arn, endpoint }) => `${arn.account}:${arn.region}${endpoint === undefined ? '' : `:${endpoint}`}`,
  // The limiter knows the quota and shares it among meshes: it must see enough of them at once to fill it.
  concurrency: { start: 100, max: 2000, targetDelayMs: 3000 },
  parseConf,
  usedSecrets(conf) {
    const sources = [conf.caCert, conf.awsCredentials?.accessKey, conf.awsCredentials?.accessKeySecret];
    return [...new Set(sources.flatMap((source) => (source?.kind === 'secret' ? [source.secret] : [])))];
  },
  create: createAcmPcaIssuer,
};
