/** What a number of requests in flight has shown. */
export interface Window {
  /** Mean time that they took because others were under way, as a multiple of what they may: 1 is what is aimed at. */
  readonly pressure: number;
  readonly max: number;
  /** The limit at which the backend was found to throttle: from there on it is felt for one by one. */
  readonly throttledAt: number;
}

/** More is a queue that grows. Between it and 1 all is well. */
export const HIGH_PRESSURE = 1.5;

/**
 * How many may be in flight next, when the limit was what held requests back. Down by Little's law: with `limit` in flight that stand in the backend's
 * queue for `pressure` times as long as they may, `limit / pressure` stand there as long as they may. Up by as much as is free, to at most twice the limit.
 */
export function nextLimit(limit: number, { pressure, max, throttledAt }: Window): number {
  if (pressure > HIGH_PRESSURE) return Math.max(1, Math.floor(limit / pressure));
  if (pressure > 1) return limit;
  const wished = Math.floor(limit * Math.min(2, 2 - pressure));
  return Math.min(max, Math.max(limit + 1, Math.min(wished, throttledAt)));
}
