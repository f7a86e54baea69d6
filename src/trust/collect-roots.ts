import type { Backend } from '../backends/backend.ts';
import type { MeshBackends } from '../backends/backends.ts';
import type { Clock } from '../runtime/clock.ts';
import type { BackendRoots } from './backend-roots.ts';
import { rootsOf, type TrustBundle } from './trust-bundle.ts';

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

export interface CollectOptions {
  readonly roots: BackendRoots;
  readonly clock: Clock;
  /** Asks without anybody waiting. */
  askBehind(backend: Backend): void;
}

/**
 * The roots of every backend, by name: as known, as it says now, or as they stood in the last bundle.
 * @throws RootsNeverSeen
 */
export async function collectRoots(
  from: MeshBackends,
  last: TrustBundle | undefined,
  { roots, clock, askBehind }: CollectOptions,
): Promise<ReadonlyMap<string, readonly Buffer[]>> {
  /** A new backend that does not answer must not hold up the certificates of the enabled one. */
  async function askForAWhile(backend: Backend): Promise<void> {
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

  const collected = await Promise.all(
    [...from.backends.values()].map(async (backend): Promise<[string, readonly Buffer[]]> => {
      const held = last === undefined ? [] : rootsOf(last, backend.name);
      if (!roots.known(backend).isFresh) {
        if (backend.local || (held.length === 0 && backend === from.enabled)) await roots.ask(backend);
        else if (held.length === 0) await askForAWhile(backend);
        else askBehind(backend);
      }
      const { roots: known, error } = roots.known(backend);
      const told = known ?? held;
      if (told.length === 0 && error !== undefined && backend === from.enabled) throw new RootsNeverSeen(error);
      return [backend.name, told];
    }),
  );
  return new Map(collected);
}
