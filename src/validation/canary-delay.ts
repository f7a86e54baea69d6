/** What decides when a backend is proven next. Times are of the wall clock, since the last proof may be from before a restart. */
export interface CanaryMoment {
  readonly nowMs: number;
  /** The last proof, or the last try to make one; undefined: there was none. */
  readonly lastMs: number | undefined;
  readonly intervalMs: number;
  /** From 0 to 1, always the same for a backend, evenly spread over all of them. */
  readonly phase: number;
  /** From 0 to 1, by chance. */
  readonly jitter: number;
}

/** Within this time a backend is proven that never was. */
const FIRST_MS = 10_000;
/** The part of the interval that chance adds to it. */
const JITTER = 0.1;

/** In how many milliseconds a backend is due: never before its interval has passed since the last proof. */
export function canaryDelayMs({ nowMs, lastMs, intervalMs, phase, jitter }: CanaryMoment): number {
  if (lastMs === undefined) return phase * Math.min(FIRST_MS, intervalMs);
  // A clock that was set back makes the last proof look as if it were still to come.
  const waitMs = intervalMs - Math.max(0, nowMs - lastMs);
  // Overdue: mesh-ca did not run. All are proven within one interval, each at its own time.
  return waitMs <= 0 ? phase * intervalMs : waitMs + jitter * JITTER * intervalMs;
}
