import { ConfigError } from '../../src/issuer/errors.ts';

/** What a ConfigError that `work` throws says of each field; nothing when it returns. */
export function violationsByField(work: () => unknown): Record<string, string> {
  try {
    work();
    return {};
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return Object.fromEntries(error.violations.map(({ field, message }) => [field, message]));
  }
}
