import { ConfigError } from '../../src/issuer/errors.ts';
import type { DataSource, IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';

/**
 * Loads a data source as text, anew each time.
 * @param field of the conf, for messages: `fromCp.auth.token`
 * @throws ConfigError naming the field; the reason of `signal`
 */
export async function loadText(
  deps: Pick<IssuerDeps, 'load'>,
  source: DataSource,
  field: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    return (await orAborted(deps.load(source, { signal }), signal)).toString('utf8');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw confFieldError(field, error.message, error.fix ?? 'store the secret, or correct the name', error);
  }
}

/**
 * Loads a credential that is one word of printable ASCII: white space around it is taken off.
 * @param what it should be, with its article: `a token`
 * @throws ConfigError naming the field, never the content
 */
export async function loadWord(
  deps: Pick<IssuerDeps, 'load'>,
  source: DataSource,
  { field, what, fix }: { readonly field: string; readonly what: string; readonly fix: string },
  signal: AbortSignal,
): Promise<string> {
  const text = (await loadText(deps, source, field, signal)).trim();
  if (!WORD.test(text)) {
    throw confFieldError(field, `holds ${what.replace(/^an? /, 'no ')}: it has to be one word of printable ASCII`, fix);
  }
  return text;
}

/** Batch tokens carry their own content, projected tokens their claims: both are long. */
const WORD = /^[\x21-\x7e]{1,8192}$/;

/** A mistake that shows when a data source is loaded or used. `message` begins with a verb and holds nothing of the content. */
export function confFieldError(field: string, message: string, fix: string, cause?: unknown): ConfigError {
  return new ConfigError(`${field}: ${message}`, {
    fix,
    violations: [{ field, message }],
    ...(cause === undefined ? {} : { cause }),
  });
}
