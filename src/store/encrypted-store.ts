import { isSealed, type Keyring } from './keyring.ts';
import type { PutResource, ResourceKey, Store, StoredResource } from './store.ts';

/** Kinds whose bodies may hold keys or tokens: a Mesh, and a rotation that keeps one of its backends, may carry them inline. */
export const SECRET_TYPES: ReadonlySet<string> = new Set(['Secret', 'GlobalSecret', 'Mesh', 'MeshRotation']);

/**
 * The same store, with the bodies of secret kinds encrypted. A body that was stored before encryption is read as it is and encrypted when
 * it is written next.
 */
export function encryptStore(store: Store, keyring: Keyring): Store {
  const seal = <R extends PutResource>(resource: R): R =>
    SECRET_TYPES.has(resource.type)
      ? { ...resource, body: keyring.seal(resource.body, contextOf(resource)) }
      : resource;
  const open = (resource: StoredResource): StoredResource =>
    SECRET_TYPES.has(resource.type) && isSealed(resource.body)
      ? { ...resource, body: keyring.open(resource.body, contextOf(resource)) }
      : resource;

  return {
    ...store,
    async getResource(key) {
      const resource = await store.getResource(key);
      return resource && open(resource);
    },
    async listResources(query) {
      const page = await store.listResources(query);
      return { ...page, items: page.items.map(open) };
    },
    async putResource(resource, options) {
      const stored = await store.putResource(seal(resource), options);
      return { ...stored, body: resource.body };
    },
    createResources: async (resources, options) => store.createResources(resources.map(seal), options),
  };
}

/** What a sealed body is bound to. JSON, because names may hold any sign that could stand between them. */
function contextOf({ type, mesh, name }: ResourceKey): string {
  return `${type} ${JSON.stringify([mesh, name])}`;
}
