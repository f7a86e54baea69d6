import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { CHECK_RULES } from './check-rules.ts';
import { type AcmPcaConf, parseConf } from './config.ts';
import { createAcmPcaIssuer } from './issuer.ts';

/** AWS Private CA, which the product calls ACM Private CA. See README.md. */
export const module: IssuerModule<AcmPcaConf> = {
  type: 'acmpca',
  local: false,
  // The queue is the limiter's, which knows the quota, shares it among meshes, and sends away who would wait too long. It must see them all.
  checks: CHECK_RULES,
  parseConf,
  usedSecrets(conf) {
    const sources = [conf.caCert, conf.awsCredentials?.accessKey, conf.awsCredentials?.accessKeySecret];
    return [...new Set(sources.flatMap((source) => (source?.kind === 'secret' ? [source.secret] : [])))];
  },
  create: createAcmPcaIssuer,
};
