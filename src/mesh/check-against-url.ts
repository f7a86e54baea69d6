import type { Violation } from '../issuer/errors.ts';
import { checkLabels } from './labels.ts';
import { isJsonObject } from './violations.ts';

/** Type, mesh ('' outside a mesh) and name that the URL of a PUT names. */
export interface UrlKey {
  readonly type: string;
  readonly mesh: string;
  readonly name: string;
}

/**
 * What Kuma asks of a PUT body once the resource itself is valid, in Kuma's order: name, type and mesh as in the URL, then the labels. The
 * rules for names (`names.ts`) come after.
 */
export function checkAgainstUrl(body: unknown, key: UrlKey): Violation[] {
  const given = isJsonObject(body) ? body : {};
  const fields = key.mesh === '' ? (['name', 'type'] as const) : (['name', 'type', 'mesh'] as const);
  const violations: Violation[] = fields
    .filter((field) => given[field] !== key[field])
    .map((field) => ({ field, message: `${field} from the URL has to be the same as in body` }));
  if (isJsonObject(given.labels)) violations.push(...checkLabels(textsOf(given.labels)));
  return violations;
}

/** Labels that are no texts are the parser's to refuse. */
function textsOf(labels: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}
