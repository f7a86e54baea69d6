import { RequestInvalidError } from '../issuer/errors.ts';

/** For openapi.json. */
export const PUT_QUERY = { dryRun: 'true: everything is checked, nothing is stored. Default false' };

/**
 * Reads `?dryRun`. Whoever means it must not find something stored because of a spelling.
 * @throws RequestInvalidError when it is neither `true` nor `false`, or both
 */
export function readDryRun(query: URLSearchParams): boolean {
  const values = new Set(query.getAll('dryRun'));
  if (values.size === 0) return false;
  const [value] = values;
  if (values.size === 1 && (value === 'true' || value === 'false')) return value === 'true';
  throw new RequestInvalidError('the query is not valid', {
    violations: [{ field: 'dryRun', message: 'has to be true or false' }],
    fix: 'write ?dryRun=true to have everything checked and nothing stored, or leave it out',
  });
}
