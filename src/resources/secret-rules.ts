import type { Backends } from '../backends/backends.ts';
import { ConfigError, type Violation } from '../issuer/errors.ts';
import { parseMesh } from '../mesh/mesh.ts';
import type { Store } from '../store/store.ts';
import type { KindRules } from './kind-rules.ts';
import { NOT_VALID } from './resource-error.ts';

/** Kuma's secret manager: a secret that a backend uses cannot be removed. */
export function createSecretRules(store: Store, backends: Backends): KindRules {
  return {
    async beforeDelete({ mesh, name }) {
      const stored = await store.getResource({ type: 'Mesh', mesh: '', name: mesh });
      if (stored === undefined) return {};
      const { mtls } = parseMesh(JSON.parse(stored.body), { name: mesh });
      const violations: Violation[] = [];
      for (const backend of mtls?.backends ?? []) {
        if ((await backends.usedSecrets(mesh, backend)).includes(name))
          violations.push({ field: 'name', message: inUse(name, mesh, backend.name) });
      }
      if (violations.length > 0) throw new ConfigError(NOT_VALID, { violations });
      return { unchanged: [stored] };
    },
  };
}

/** Kuma's text, word for word. */
function inUse(secret: string, mesh: string, backend: string): string {
  return `The secret "${secret}" that you are trying to remove is currently in use in Mesh "${mesh}" in mTLS backend "${backend}". Please remove the reference from the "${backend}" backend before removing the secret.`;
}
