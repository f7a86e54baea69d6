import { RequestInvalidError } from '../issuer/errors.ts';

/** What a PUT may ask for beside its body; for openapi.json, too. */
export const PUT_QUERY = {
  dryRun: 'true: everything is checked, nothing is stored. Default false',
  force:
    'true, with a Mesh: a backend may go although data planes that are offline hold unexpired certificates of it. Default false',
};

const FIXES: Readonly<Record<keyof typeof PUT_QUERY, string>> = {
  dryRun: 'write ?dryRun=true to have everything checked and nothing stored, or leave it out',
  force: 'write ?force=true to leave data planes behind that are offline, or leave it out',
};

/**
 * Reads `?dryRun` and `?force`. Whoever means one must not find something stored, or refused, because of a spelling.
 * @throws RequestInvalidError when one is neither `true` nor `false`, or both
 */
export function readPutQuery(query: URLSearchParams): Readonly<Record<keyof typeof PUT_QUERY, boolean>> {
  return { dryRun: readFlag(query, 'dryRun'), force: readFlag(query, 'force') };
}

function readFlag(query: URLSearchParams, name: keyof typeof PUT_QUERY): boolean {
  const values = new Set(query.getAll(name));
  if (values.size === 0) return false;
  const [value] = values;
  if (values.size === 1 && (value === 'true' || value === 'false')) return value === 'true';
  throw new RequestInvalidError('the query is not valid', {
    violations: [{ field: name, message: 'has to be true or false' }],
    fix: FIXES[name],
  });
}
