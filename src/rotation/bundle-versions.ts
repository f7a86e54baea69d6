import { setNewest } from '../runtime/set-newest.ts';
import type { Store } from '../store/store.ts';
import { readBundle } from '../trust/trust-bundle.ts';
import type { BundleVersion } from './fleet.ts';

/** Of all meshes together; the one not asked for longest goes first. */
const MOST = 2_000;
/** How far back the history of a mesh is told. */
const HISTORY = 16;

/** Versions of trust bundles, each read once: they never change, and versions of a mesh only grow, also over its deletion. */
export class BundleVersions {
  readonly #store: Pick<Store, 'getTrustBundleVersion'>;
  readonly #most: number;
  readonly #known = new Map<string, BundleVersion>();

  constructor(store: Pick<Store, 'getTrustBundleVersion'>, most = MOST) {
    this.#store = store;
    this.#most = most;
  }

  /** Undefined: there never was such a version. */
  async get(mesh: string, version: number): Promise<BundleVersion | undefined> {
    const key = `${mesh}/${version}`;
    const known = this.#known.get(key) ?? (await this.#read(mesh, version));
    if (known === undefined) return undefined;
    setNewest(this.#known, key, known, this.#most);
    return known;
  }

  /** This version and those before it, newest first, at most 16. */
  async upTo(mesh: string, version: number): Promise<readonly BundleVersion[]> {
    const found: BundleVersion[] = [];
    for (let back = 0; back < HISTORY && version - back > 0; back += 1) {
      const known = await this.get(mesh, version - back);
      if (known === undefined) break;
      found.push(known);
    }
    return found;
  }

  async #read(mesh: string, version: number): Promise<BundleVersion | undefined> {
    const stored = await this.#store.getTrustBundleVersion(mesh, version);
    if (stored === undefined) return undefined;
    return { version, madeAt: stored.createdAt, roots: readBundle(mesh, version, stored.body).fingerprints };
  }
}
