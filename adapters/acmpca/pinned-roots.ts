import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { isRoot } from '../shared/ca-certificates.ts';
import { type CaCertRules, loadCaCert } from '../shared/load-ca-cert.ts';
import type { AcmPcaConf } from './config.ts';

const RULES: CaCertRules = {
  what: 'CA certificate',
  check(certificates) {
    const leaf = certificates.find(({ basicConstraints }) => basicConstraints?.ca !== true);
    if (leaf !== undefined) return `holds a certificate that is not of a CA: ${JSON.stringify(leaf.subject)}`;
    return certificates.some(isRoot) ? undefined : 'holds no root certificate (one that is signed by its own key)';
  },
  fix: "give the PEM of the CA's root certificate: aws acm-pca get-certificate-authority-certificate, the last of CertificateChain (of a root CA: Certificate)",
};

/**
 * The certificates of `caCert`: at least one root, and what else is told of the way to it. Empty when the conf has none.
 * @throws ConfigError naming the field
 */
export async function loadPinned(
  { caCert }: AcmPcaConf,
  deps: IssuerDeps,
  signal: AbortSignal,
): Promise<readonly Certificate[]> {
  return caCert === undefined ? [] : loadCaCert(deps, caCert, RULES, signal);
}
