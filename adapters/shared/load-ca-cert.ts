import type { ConfigError } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { readSomeCertificates } from './ca-certificates.ts';
import { confFieldError, loadText } from './load-text.ts';

const FIELD = 'caCert';

/**
 * The certificates of `conf.caCert`, one at least.
 * @param check says what else is wrong with them, beginning with a verb; undefined when nothing is
 * @throws ConfigError naming the field, with `fix`
 */
export async function loadCaCert(
  deps: Pick<IssuerDeps, 'load'>,
  source: DataSource,
  { check, fix }: { check(certificates: readonly Certificate[]): string | undefined; readonly fix: string },
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
    throw refuse(`holds no usable CA certificate: ${error.message}`, error);
  }
}
