import type { Backend } from '../backends/backend.ts';
import type { MeshBackends } from '../backends/backends.ts';
import type { Clock } from '../runtime/clock.ts';
import type { BackendRoots } from './backend-roots.ts';
import { type RootsByBackend, rootsOf, type TrustBundle } from './trust-bundle.ts';

/** How long a bundle waits for a backend that does not issue and whose roots were never seen. */
const WAIT_FOR_NEW_MS = 1_000;

/** The enabled backend failed to tell its roots, and never did before: there is no bundle that its certificates could be checked with. */
export class RootsNeverSeen extends Error {
  override readonly cause: unknown;

  constructor(cause: unknown) {
    super('roots never seen');
    this.cause = cause;
  }
}

/** What a caller is told instead of RootsNeverSeen. */
export function tellCause(error: unknown): never {
  throw error instanceof RootsNeverSeen ? error.cause : error;
}

/** The newest bundle of the mesh that is stored. */
export interface LastBundle {
  readonly bundle: TrustBundle;
  readonly createdAt: Date;
}

export interface CollectOptions {
  readonly roots: BackendRoots;
  readonly clock: Clock;
  /** Asks without anybody waiting. */
  askBehind(backend: Backend): void;
  /** Those of the roots that certificates in use end in. */
  stillInUse(roots: readonly Buffer[]): Promise<readonly Buffer[]>;
}

/**
 * The roots of every backend, by name: as it says now, together with those in the last bundle that must not go yet.
 *
 * A root that a backend no longer names goes when the backend has said so after the bundle with that root was made (it may be another process that
 * learned of the root, and we that know less), and no certificate in use ends in it. Who never told any, told nothing about that root: it stays.
 * @throws RootsNeverSeen
 */
export async function collectRoots(
  from: MeshBackends,
  last: LastBundle | undefined,
  options: CollectOptions,
): Promise<RootsByBackend> {
  const { roots, askBehind, stillInUse } = options;
  const collected = await Promise.all(
    [...from.backends.values()].map(async (backend): Promise<[string, readonly Buffer[]]> => {
      const held = last === undefined ? [] : rootsOf(last.bundle, backend.name);
      if (!roots.isFresh(backend)) {
        if (backend.local || (held.length === 0 && backend === from.enabled)) await roots.ask(backend);
        else if (held.length === 0) await askForAWhile(backend, options);
        else askBehind(backend);
      }
      const { roots: told = [], toldAt, error } = roots.known(backend);
      const gone = held.filter((root) => !told.some((other) => other.equals(root)));
      if (told.length + gone.length === 0 && error !== undefined && backend === from.enabled)
        throw new RootsNeverSeen(error);
      if (last === undefined || gone.length === 0 || toldAt === undefined) return [backend.name, [...told, ...gone]];
      // What a CA in this process says is never old.
      const isSaid = backend.local || toldAt > last.createdAt;
      const kept = isSaid ? await stillInUse(gone) : gone;
      return [backend.name, [...told, ...kept]];
    }),
  );
  return new Map(collected);
}

/** A new backend that does not answer must not hold up the certificates of the enabled one. */
async function askForAWhile(backend: Backend, { roots, clock, askBehind }: CollectOptions): Promise<void> {
  const answered = new AbortController();
  const asked = roots.ask(backend).then(() => true);
  const late = clock.sleep(WAIT_FOR_NEW_MS, answered.signal).then(
    () => false,
    () => true,
  );
  const inTime = await Promise.race([asked, late]);
  answered.abort();
  if (!inTime) askBehind(backend);
}
