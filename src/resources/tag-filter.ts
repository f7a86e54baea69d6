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

/** Kuma's `gateway` filter. */
export const GATEWAY_MODES = ['true', 'false', 'builtin', 'delegated'] as const;
export type GatewayMode = (typeof GATEWAY_MODES)[number];

/** Whether a data plane is what `gateway=mode` asks for. */
export function matchesGateway(stored: StoredResource, mode: GatewayMode): boolean {
  const { gateway } = parseDataplane(JSON.parse(stored.body), stored).networking;
  switch (mode) {
    case 'true':
      return gateway !== undefined;
    case 'false':
      return gateway === undefined;
    case 'builtin':
      return gateway?.type === 'BUILTIN';
    case 'delegated':
      return gateway?.type === 'DELEGATED';
  }
}
