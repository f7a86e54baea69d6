import { expect } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';

/** The mistakes that `work` reports, as `field: message`. It has to report some. */
export function violationsOf(work: () => unknown): string[] {
  const error = errorOf(work);
  expect(error).toBeInstanceOf(ConfigError);
  const violations = error instanceof ConfigError ? error.violations : [];
  expect(violations).not.toEqual([]);
  return violations.map(({ field, message }) => `${field}: ${message}`);
}

/** What `work` throws; undefined when it returns. */
export function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}
