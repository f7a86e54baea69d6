import { ConfigError, type Violation } from '../../src/issuer/errors.ts';
import type { CallOptions, ConfFindings, DataSource, IssuerDeps } from '../../src/issuer/issuer.ts';
import { loadPrivateKey } from '../../src/x509/key-pair.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { readCertificates } from './ca-certificates.ts';
import { confFieldError, loadText } from './load-text.ts';

/** A data source of a conf, and what its content has to be. */
export interface NamedSource {
  /** Path below `conf`, such as `fromCp.tls.caCert`. */
  readonly field: string;
  readonly source: DataSource;
  /** What is wrong with the content, without repeating any of it; undefined when nothing is. */
  readonly problem: (data: Buffer) => string | undefined;
  /** An inline value of it can be read by everybody who may read the Mesh. */
  readonly isSecret: boolean;
}

/**
 * Loads every data source of a conf before the Mesh is stored, so that a missing, empty or mistaken one is a violation of its field and not a
 * failure of the first data plane. Asks no backend.
 */
export async function checkSources(
  sources: readonly NamedSource[],
  load: IssuerDeps['load'],
  options: CallOptions,
): Promise<ConfFindings> {
  const found = await collectFindings(
    sources.map(({ field, source, problem }) => async () => {
      const data = (await loadText({ load }, source, field, options.signal)).trim();
      const message = data === '' ? 'is empty' : problem(Buffer.from(data));
      if (message !== undefined)
        throw confFieldError(field, message, 'store the value alone, as the system that made it gave it out');
    }),
    options,
  );
  return { ...found, warnings: inlineWarnings(sources.filter(({ isSecret }) => isSecret)) };
}

/** Runs checks that throw a ConfigError with the violations of their field, and tells all of them together. */
export async function collectFindings(
  checks: readonly (() => Promise<unknown>)[],
  options: CallOptions,
): Promise<ConfFindings> {
  const violations: Violation[] = [];
  let fix: string | undefined;
  for (const check of checks) {
    try {
      await check();
    } catch (error) {
      options.signal.throwIfAborted();
      if (!(error instanceof ConfigError)) throw error;
      violations.push(...error.violations);
      fix ??= error.fix;
    }
  }
  return { violations, warnings: [], ...(fix === undefined ? {} : { fix }) };
}

/** A warning for each secret that stands in the Mesh itself. */
export function inlineWarnings(secrets: readonly Pick<NamedSource, 'field' | 'source'>[]): readonly string[] {
  return secrets
    .filter(({ source }) => source.kind === 'inline')
    .map(({ field }) => `${field}: an inline value can be read by everybody who may read the Mesh; use a secret`);
}

/** One word of printable ASCII, as tokens and access keys are; white space around it is allowed. */
export function wordProblem(data: Buffer): string | undefined {
  return /^[\x21-\x7e]{1,8192}$/.test(data.toString('utf8').trim())
    ? undefined
    : 'has to be one word of printable ASCII, of at most 8192 characters';
}

export function certificatesProblem(data: Buffer): string | undefined {
  return x509Problem('holds no PEM certificate that can be read', () => {
    const isEmpty = readCertificates(data.toString('utf8')).length === 0;
    return isEmpty ? 'holds no PEM block CERTIFICATE' : undefined;
  });
}

export function privateKeyProblem(data: Buffer): string | undefined {
  return x509Problem('holds no PEM private key that can be read', () => {
    loadPrivateKey(data.toString('utf8'));
    return undefined;
  });
}

/** The parser's own words stay out: they may be about a key. */
function x509Problem(message: string, read: () => string | undefined): string | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof X509Error) return message;
    throw error;
  }
}
