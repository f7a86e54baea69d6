import type { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { isRoot, readSomeCertificates } from '../shared/ca-certificates.ts';
import { confFieldError, loadText } from '../shared/load-text.ts';
import type { AcmPcaConf } from './config.ts';

const FIELD = 'caCert';

/**
 * The certificates of `caCert`: at least one root, and what else is told of the way to it. Empty when the conf has none.
 * @throws ConfigError naming the field
 */
export async function loadPinned(
  conf: AcmPcaConf,
  deps: IssuerDeps,
  signal: AbortSignal,
): Promise<readonly Certificate[]> {
  if (conf.caCert === undefined) return [];
  const certificates = parse(await loadText(deps, conf.caCert, FIELD, signal));
  const leaf = certificates.find(({ basicConstraints }) => basicConstraints?.ca !== true);
  if (leaf !== undefined) throw refuse(`holds a certificate that is not of a CA: ${JSON.stringify(leaf.subject)}`);
  if (!certificates.some(isRoot)) throw refuse('holds no root certificate (one that is signed by its own key)');
  return certificates;
}

function parse(text: string): readonly Certificate[] {
  if (text.trim() === '') throw refuse('is empty');
  try {
    return readSomeCertificates(text);
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw refuse(`holds no usable CA certificate: ${cause.message}`, cause);
  }
}

function refuse(message: string, cause?: unknown): ConfigError {
  return confFieldError(
    FIELD,
    message,
    "give the PEM of the CA's root certificate: aws acm-pca get-certificate-authority-certificate, the last of CertificateChain (of a root CA: Certificate)",
    cause,
  );
}
