import { ConfigError, type Violation } from '../../src/issuer/errors.ts';
import type { IssuerContext } from '../../src/issuer/issuer.ts';

/** All mistakes of one conf as one error: the message names each field, `violations` holds them for machines. */
export function confError(type: string, context: IssuerContext, violations: readonly Violation[]): ConfigError {
  const list = violations.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ');
  return new ConfigError(
    `conf of ${type} backend "${context.backend}" in mesh "${context.mesh}" is not valid: ${list}`,
    {
      violations,
      fix: `correct the named fields; adapters/${type}/README.md lists every field`,
    },
  );
}
