import type { SecretAccess } from '../issuer/issuer.ts';
import { parseSecret, secretToJson } from '../mesh/secret.ts';
import type { Store } from '../store/store.ts';

/** The secrets of one mesh as adapters see them. */
export function createSecretAccess(store: Store, mesh: string): SecretAccess {
  return {
    async read(name) {
      const stored = await store.getResource({ type: 'Secret', mesh, name });
      return stored === undefined ? undefined : parseSecret(JSON.parse(stored.body), { mesh, name }).data;
    },
    onChange(listener) {
      return store.onChange((change) => {
        if (change.kind === 'unknown' || (change.key.type === 'Secret' && change.key.mesh === mesh)) listener();
      });
    },
    createTogether(secrets) {
      return store.createResources(
        [...secrets].map(([name, data]) => {
          const body = JSON.stringify(secretToJson({ type: 'Secret', mesh, name, data }));
          return { type: 'Secret', mesh, name, body, owned: true };
        }),
      );
    },
  };
}
