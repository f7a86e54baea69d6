import type { Violation } from '../issuer/errors.ts';
import { checkLabels } from './labels.ts';
import { checkExistingName, checkName } from './names.ts';
import { isJsonObject } from './violations.ts';

/** Type, mesh ('' outside a mesh) and name that the URL of a PUT names. */
export interface UrlKey {
  readonly type: string;
  readonly mesh: string;
  readonly name: string;
}

/**
 * What Kuma asks of a PUT body once the resource itself is valid, in Kuma's order: name, type and mesh as in the URL, labels, then the rules
 * for names. A resource that exists already may keep a name of the older, laxer rule.
 */
export function checkAgainstUrl(body: unknown, key: UrlKey, options: { readonly exists?: boolean } = {}): Violation[] {
  const given = isJsonObject(body) ? body : {};
  const violations: Violation[] = [];
  const compare = (field: 'name' | 'type' | 'mesh') => {
    if ((given[field] ?? '') === key[field]) return;
    violations.push({ field, message: `${field} from the URL has to be the same as in body` });
  };
  compare('name');
  compare('type');
  if (key.mesh !== '') compare('mesh');
  if (isJsonObject(given.labels)) violations.push(...checkLabels(textsOf(given.labels)));
  violations.push(...(options.exists ? checkExistingName : checkName)(key.name));
  if (key.mesh !== '') violations.push(...checkExistingName(key.mesh, 'mesh'));
  return violations;
}

/** Labels that are no texts are the parser's to refuse. */
function textsOf(labels: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}
