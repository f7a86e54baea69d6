import type { Backend } from '../backends/backend.ts';
import type { Backends, MeshBackends } from '../backends/backends.ts';
import { ConflictError, IssuerUnavailableError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Store, StoredTrustBundle } from '../store/store.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';
import type { BackendRoots } from './backend-roots.ts';
import { collectRoots } from './collect-roots.ts';
import { bundleBody, readBundle, rootsOf, type TrustBundle } from './trust-bundle.ts';

export interface MakeBundleOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly clock: Clock;
  readonly log: Log;
  readonly roots: BackendRoots;
  askBehind(backend: Backend): void;
}

export interface MadeBundle {
  readonly bundle: TrustBundle;
  /** The backends it was made from. */
  readonly from: MeshBackends;
  /** What stood in the store before; the bundle itself when nothing changed. */
  readonly before: TrustBundle | undefined;
  /** `changes` of the mesh when it was begun: with another number now it may be old already. */
  readonly changes: number;
}

/** Writers that may be faster than we before we give up. */
const TRIES = 5;

/**
 * Makes the bundle of a mesh from what its backends say, and stores it when it is another one than stands there.
 * @param mesh what is known of it; `changes` grows when what was read may be old
 * @throws NotFoundError: no such mesh. RootsNeverSeen. IssuerUnavailableError when others write all the time
 */
export async function makeBundle(
  name: string,
  mesh: { readonly bundle: TrustBundle | undefined; readonly changes: number },
  { store, backends, clock, log, roots, askBehind }: MakeBundleOptions,
): Promise<MadeBundle> {
  const read = ({ version, body }: StoredTrustBundle) =>
    mesh.bundle?.version === version ? mesh.bundle : readBundle(name, version, body);
  /** Roots that the backend no longer names stay until the last certificate under them has expired: connections must not break. */
  const stillInUse = async (gone: readonly Buffer[]) => {
    const now = clock.now();
    const holders = await store.listHolders(name);
    const inUse = new Set(holders.filter(({ notAfter }) => notAfter > now).flatMap(({ rootHashes }) => rootHashes));
    return gone.filter((root) => inUse.has(fingerprintSha256(root)));
  };

  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    const { changes } = mesh;
    const from = await backends.get(name);
    // Read before anybody is asked: what another writer appends meanwhile makes ours a conflict, and is not lost.
    const stored = await store.getTrustBundle(name);
    const before = stored && { bundle: read(stored), createdAt: stored.createdAt };
    const body = bundleBody(await collectRoots(from, before, { roots, clock, askBehind, stillInUse }));
    if (before !== undefined && stored?.body === body)
      return { bundle: before.bundle, from, before: before.bundle, changes };
    // What we know may be old by now; a bundle without the newest backend must not replace one that has it.
    if (backends.peek(name) !== from) continue;
    try {
      const { version } = await store.appendTrustBundle(name, body, stored?.version ?? 0);
      const bundle = readBundle(name, version, body);
      const counts = [...from.backends.keys()].map((backend) => `${backend}:${rootsOf(bundle, backend).length}`);
      log.info({ mesh: name, version, roots: counts }, 'trust bundle changed');
      return { bundle, from, before: before?.bundle, changes };
    } catch (error) {
      if (!(error instanceof ConflictError)) throw error;
    }
  }
  throw new IssuerUnavailableError(`the trust bundle of mesh "${name}" changes too often`, { retryAfterMs: 1000 });
}
