import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { type AcmPcaConf, parseConf } from './config.ts';
import { createAcmPcaIssuer } from './issuer.ts';

/** AWS Private CA, which the product calls ACM Private CA. See README.md. */
export const module: IssuerModule<AcmPcaConf> = {
  type: 'acmpca',
  local: false,
  // Each waits for its turn under the quota and for AWS to finish: what is under way at once has to cover a few seconds of quota.
  concurrentCalls: 128,
  parseConf,
  usedSecrets(conf) {
    const sources = [conf.caCert, conf.awsCredentials?.accessKey, conf.awsCredentials?.accessKeySecret];
    return [...new Set(sources.flatMap((source) => (source?.kind === 'secret' ? [source.secret] : [])))];
  },
  create: createAcmPcaIssuer,
};
