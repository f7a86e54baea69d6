import { ConfigError, RequestInvalidError } from '../issuer/errors.ts';
import type { Tags } from '../issuer/issuer.ts';
import { checkExistingName } from '../mesh/names.ts';
import { parseTags } from '../mesh/tags.ts';

/**
 * Checks a name in a path.
 * @throws RequestInvalidError
 */
export function requireName(field: string, name: string): void {
  const violations = checkExistingName(name, field);
  if (violations.length > 0)
    throw new RequestInvalidError(`${field} name ${JSON.stringify(name.slice(0, 80))} is not valid`, { violations });
}

/**
 * Reads the tags of a request: Kuma's rules, but the caller's mistake and not one of the configuration.
 * @throws RequestInvalidError with all violations, fields `tags["x"]`
 */
export function readTags(input: unknown): Tags {
  try {
    return parseTags(input);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new RequestInvalidError('the tags of the request are not valid', {
      violations: error.violations,
      cause: error,
    });
  }
}
