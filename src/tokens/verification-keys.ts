import { createPublicKey, type KeyObject } from 'node:crypto';
import type { Store } from '../store/store.ts';
import { isTokenSecret, readTokenSecrets } from './signing-keys.ts';

/** What tokens of a mesh are checked against. */
export interface VerificationKeys {
  /** By `kid`. */
  readonly keys: ReadonlyMap<string, KeyObject>;
  /** By `jti`. */
  readonly revoked: ReadonlySet<string>;
}

/** Public keys of meshes, read once and again after each change of their secrets. */
export interface VerificationKeyCache {
  get(mesh: string): Promise<VerificationKeys>;
  close(): void;
}

/** Meshes that are remembered. */
const MOST_MESHES = 1000;

export function createVerificationKeyCache(store: Pick<Store, 'listResources' | 'onChange'>): VerificationKeyCache {
  const known = new Map<string, Promise<VerificationKeys>>();
  const unfollow = store.onChange((change) => {
    if (change.kind === 'unknown') known.clear();
    else if (change.key.type === 'Secret' && isTokenSecret(change.key.name)) known.delete(change.key.mesh);
    else if (change.key.type === 'Mesh') known.delete(change.key.name);
  });

  async function read(mesh: string): Promise<VerificationKeys> {
    const { keys, revoked } = await readTokenSecrets(store, mesh);
    return {
      keys: new Map(
        keys.flatMap(({ kid, privateKey }) => (privateKey === undefined ? [] : [[kid, createPublicKey(privateKey)]])),
      ),
      revoked,
    };
  }

  return {
    get(mesh) {
      const found = known.get(mesh);
      if (found !== undefined) return found;
      const reading = read(mesh);
      // The name of the mesh is the caller's word: what has no keys is not remembered.
      const forget = () => known.get(mesh) === reading && known.delete(mesh);
      reading.then(({ keys }) => keys.size === 0 && forget(), forget);
      if (known.size >= MOST_MESHES) known.delete([...known.keys()][0] ?? '');
      known.set(mesh, reading);
      return reading;
    },
    close() {
      unfollow();
      known.clear();
    },
  };
}
