import { parseDataplane, tagsOf } from '../mesh/dataplane.ts';
import type { StoredResource } from '../store/store.ts';

/** Kuma's `tag=key:value` filter: all have to match, a part of the value is enough. */
export function matchesTags(stored: StoredResource, wanted: readonly string[]): boolean {
  const tags = tagsOf(parseDataplane(JSON.parse(stored.body), stored));
  return wanted.every((filter) => {
    const colon = filter.indexOf(':');
    const [name, part] = colon < 0 ? [filter, ''] : [filter.slice(0, colon), filter.slice(colon + 1)];
    return tags.get(name)?.some((value) => value.includes(part)) === true;
  });
}
