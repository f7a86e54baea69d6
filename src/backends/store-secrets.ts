import { ConflictError } from '../issuer/errors.ts';
import type { SecretAccess } from '../issuer/issuer.ts';
import { parseSecret, type Secret, secretToJson } from '../mesh/secret.ts';
import type { PutResource, ResourceKey, Store, StoredResource } from '../store/store.ts';
import { isSameData } from './is-same-data.ts';

/** The secrets of one mesh as adapters see them. */
export function createSecretAccess(store: Store, mesh: string): SecretAccess {
  const keyOf = (name: string): ResourceKey => ({ type: 'Secret', mesh, name });
  const parse = ({ name, body }: StoredResource) => parseSecret(JSON.parse(body), { mesh, name });
  return {
    async read(name) {
      const stored = await store.getResource(keyOf(name));
      return stored && parse(stored).data;
    },
    onChange(listener) {
      return store.onChange((change) => {
        if (change.kind === 'unknown' || (change.key.type === 'Secret' && change.key.mesh === mesh)) listener();
      });
    },
    createTogether(secrets) {
      return store.createResources([...secrets].map(([name, data]) => ownedBy({ type: 'Secret', mesh, name, data })));
    },
    async replace(name, before, after) {
      const stored = await store.getResource(keyOf(name));
      const found = stored && parse(stored);
      if (!isSameData(found?.data, before)) return false;
      try {
        await store.putResource(ownedBy({ ...found, type: 'Secret', mesh, name, data: after }), {
          expectedVersion: stored?.version ?? 0,
          requires: [{ type: 'Mesh', mesh: '', name: mesh }],
        });
        return true;
      } catch (error) {
        if (error instanceof ConflictError) return false;
        throw error;
      }
    },
  };
}

function ownedBy(secret: Secret): PutResource {
  const { type, mesh, name } = secret;
  return { type, mesh, name, body: JSON.stringify(secretToJson(secret)), owned: true };
}
