import type { LastSeen } from '../issuance/last-seen.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Store } from '../store/store.ts';
import type { CountLacking } from '../trust/root-gate.ts';

export interface LackingOptions {
  readonly store: Pick<Store, 'listTrustStatements'>;
  readonly lastSeen: Pick<LastSeen, 'get'>;
  readonly clock: Pick<Clock, 'now'>;
  /** `dataplaneOnlineFor`, in milliseconds. */
  readonly onlineForMs: number;
}

/**
 * How many could take a version of the bundle now and have not: they were heard of since this call, which is the start of the process, are online, and
 * have said before which version they hold. Of those that never say it nothing can be waited for. Asked some times a second while a certificate waits, so
 * it reads only what was stated, and not the whole fleet.
 */
export function createCountLacking({ store, lastSeen, clock, onlineForMs }: LackingOptions): CountLacking {
  const startedAtMs = clock.now().getTime();
  return async (mesh, version, { signal }) => {
    const statements = await store.listTrustStatements(mesh);
    signal.throwIfAborted();
    const sinceMs = Math.max(startedAtMs, clock.now().getTime() - onlineForMs + 1);
    const isHeardOf = (dataplane: string, statedAt: Date) =>
      statedAt.getTime() >= sinceMs ||
      (lastSeen.get(mesh, dataplane)?.getTime() ?? Number.NEGATIVE_INFINITY) >= sinceMs;
    return statements.filter(
      ({ dataplane, bundleVersion, statedAt }) => bundleVersion < version && isHeardOf(dataplane, statedAt),
    ).length;
  };
}
