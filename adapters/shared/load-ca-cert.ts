import type { ConfigError } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { readSomeCertificates } from './ca-certificates.ts';
import { confFieldError, loadText } from './load-text.ts';

const FIELD = 'caCert';

export interface CaCertRules {
  /** `CA certificate` or `root certificate`: what there has to be. */
  readonly what: string;
  /** What else is wrong, beginning with a verb; undefined when nothing is. */
  check(certificates: readonly Certificate[]): string | undefined;
  readonly fix: string;
}

/**
 * The certificates of `conf.caCert`, one at least.
 * @throws ConfigError naming the field
 */
export async function loadCaCert(
  deps: Pick<IssuerDeps, 'load'>,
  source: DataSource,
  { what, check, fix }: CaCertRules,
  signal: AbortSignal,
): Promise<readonly Certificate[]> {
  const refuse = (message: string, cause?: unknown): ConfigError => confFieldError(FIELD, message, fix, cause);
  const text = await loadText(deps, source, FIELD, signal);
  if (text.trim() === '') throw refuse('is empty');
  try {
    const certificates = readSomeCertificates(text);
    const problem = check(certificates);
    if (problem !== undefined) throw refuse(problem);
    return certificates;
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw refuse(`holds no usable ${what}: ${error.message}`, error);
  }
}
