/** What a number of requests in flight has shown. */
export interface Delays {
  /** Mean time that requests stood in cert-manager's queue, in ms: the time to ready without the shortest one of the same issuer. */
  readonly meanMs: number;
  /** The limit was what held requests back: only then can it be too low. */
  readonly isUsedUp: boolean;
}

/** So much of its own work cert-manager has before it: enough never to be idle, little enough that nobody waits in its queue in place of ours. */
const TARGET_MS = 750;

/**
 * How many may be in flight next. Little's law: with `limit` in flight that stand in the queue for `meanMs`, `limit * TARGET_MS / meanMs` stand there
 * for TARGET_MS. A stock cert-manager (7 a second) gets about seven at a time, a quick one as many as are asked for, up to `max`; a slow
 * machine, where everything takes long, is no queue that grows.
 */
export function nextLimit(limit: number, { meanMs, isUsedUp }: Delays, max: number): number {
  if (meanMs > 1.5 * TARGET_MS) return Math.max(1, Math.floor((limit * TARGET_MS) / meanMs));
  if (!isUsedUp || meanMs > TARGET_MS) return limit;
  return Math.min(max, meanMs <= TARGET_MS / 2 ? 2 * limit : limit + 1);
}
