import { ConflictError } from '../issuer/errors.ts';
import { isSealed, type Keyring, keyIdOf } from './keyring.ts';
import type { PutResource, ResourceKey, Store, StoredResource } from './store.ts';

/** Kinds whose bodies may hold keys or tokens: a Mesh may carry them inline in its backends. */
const SECRET_TYPES = ['Secret', 'GlobalSecret', 'Mesh'] as const;
const secretTypes: ReadonlySet<string> = new Set(SECRET_TYPES);

/**
 * The same store, with the bodies of secret kinds encrypted. A body that was stored before encryption is read as it is and encrypted when
 * it is written next.
 */
export function encryptStore(store: Store, keyring: Keyring): Store {
  const seal = <R extends PutResource>(resource: R): R =>
    secretTypes.has(resource.type) ? { ...resource, body: keyring.seal(resource.body, contextOf(resource)) } : resource;
  const open = (resource: StoredResource): StoredResource =>
    secretTypes.has(resource.type) && isSealed(resource.body)
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
    createResources: async (resources) => store.createResources(resources.map(seal)),
  };
}

/**
 * Writes every secret body again that is not encrypted with the current key, so that older keys can go from the key file.
 * `store` is the inner one. Answers how many were written. What another process changes meanwhile is left to it.
 */
export async function reencryptAll(store: Store, keyring: Keyring): Promise<number> {
  const outer = encryptStore(store, keyring);
  let written = 0;
  for (const type of SECRET_TYPES) {
    const { items } = await store.listResources({ type });
    for (const item of items) {
      if (isSealed(item.body) && keyIdOf(item.body) === keyring.currentKeyId) continue;
      const resource = await outer.getResource(item);
      if (resource !== undefined && (await putUnlessChanged(outer, resource))) written++;
    }
  }
  return written;
}

async function putUnlessChanged(store: Store, resource: StoredResource): Promise<boolean> {
  try {
    await store.putResource(resource, { expectedVersion: resource.version });
    return true;
  } catch (error) {
    if (error instanceof ConflictError) return false;
    throw error;
  }
}

/** What a sealed body is bound to. JSON, because names may hold any sign that could stand between them. */
function contextOf({ type, mesh, name }: ResourceKey): string {
  return `${type} ${JSON.stringify([mesh, name])}`;
}
