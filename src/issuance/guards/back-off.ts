import type { Failure } from './failure.ts';

export interface BackOffRules {
  /** Wait after the first failure; doubled by each further one. */
  readonly backoffBaseMs: number;
  readonly backoffMaxMs: number;
}

/** When something happens: milliseconds that only grow, and a number in [0, 1) for jitter. */
export interface Moment {
  readonly nowMs: number;
  readonly chance: number;
}

export interface Wait {
  /** Of the same clock as `Moment.nowMs`. */
  readonly untilMs: number;
  /** Set when the backend itself said how long: the only wait that may be longer than `backoffMaxMs`. */
  readonly toldMs: number | undefined;
}

/** Share of a wait that chance may take off, so that those who failed together do not come back together. */
const JITTER = 0.25;
/** More doublings than from 100 ms to any `backoffMaxMs`; keeps the power a number. */
const MOST_DOUBLINGS = 40;

/**
 * The wait after so many failures in a row. What the backend said is obeyed when it is longer; exactly, when it throttles.
 * @param failures from 1
 */
export function waitAfter(failures: number, { effect, toldMs }: Failure, rules: BackOffRules, at: Moment): Wait {
  const ownMs = backOffMs(failures, rules, at.chance);
  if (toldMs === undefined || (effect !== 'throttled' && toldMs < ownMs))
    return { untilMs: at.nowMs + ownMs, toldMs: undefined };
  return { untilMs: at.nowMs + toldMs, toldMs };
}

/** From 3/4 of the full wait to the full wait, which is at most `backoffMaxMs`. Whole: fractions would not survive the wall clock. */
export function backOffMs(failures: number, { backoffBaseMs, backoffMaxMs }: BackOffRules, chance: number): number {
  const fullMs = Math.min(backoffBaseMs * 2 ** Math.min(failures - 1, MOST_DOUBLINGS), backoffMaxMs);
  return Math.ceil(fullMs * (1 - JITTER * chance));
}
