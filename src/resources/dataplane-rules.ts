import { withZoneTag } from '../mesh/dataplane.ts';
import type { Store } from '../store/store.ts';
import type { KindRules } from './kind-rules.ts';

/** Kuma's dataplane manager: the zone is added to the tags; what we know of a removed data plane goes with it. `forget` is told, too. */
export function createDataplaneRules(
  store: Store,
  zoneName: string,
  forget: (mesh: string, dataplane: string) => void,
): KindRules {
  return {
    async beforePut(resource) {
      if (resource.type !== 'Dataplane') throw new TypeError(`dataplane rules got a ${resource.type}`);
      return { resource: withZoneTag(resource, zoneName), warnings: [] };
    },
    async afterDelete({ mesh, name }) {
      await store.forgetDataplane(mesh, name);
      forget(mesh, name);
    },
  };
}
