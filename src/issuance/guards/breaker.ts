import { type BackOffRules, type Moment, type Wait, waitAfter } from './back-off.ts';
import type { Cause, Failure } from './failure.ts';

export interface BreakerRules extends BackOffRules {
  /** So many different data planes that fail, with no success in between, open it. */
  readonly breakerDataplanes: number;
}

/** Everybody may ask. */
export interface ClosedBreaker {
  readonly state: 'closed';
  /** Data planes that failed since the last success. */
  readonly failed: ReadonlySet<string>;
  /** When it was closed after having been open: what was asked before tells of the outage, not of now. */
  readonly sinceMs: number;
}

/** Nobody may ask until the wait is over; then one at a time. */
export interface OpenBreaker {
  readonly state: 'open';
  /** How often in a row it was opened: by the data planes, then by each trial that failed. */
  readonly opened: number;
  /** How many data planes failed. */
  readonly dataplanes: number;
  readonly wait: Wait;
  readonly cause: Cause;
  /** The request that tries whether the backend is well again. */
  readonly trial: { readonly permit: number; readonly sinceMs: number } | undefined;
}

export type Breaker = ClosedBreaker | OpenBreaker;

/** `permit` is a number that no other request has. */
export type BreakerEvent =
  | { readonly kind: 'admitted'; readonly permit: number }
  | { readonly kind: 'succeeded' }
  | {
      readonly kind: 'failed';
      readonly permit: number;
      /** When it was admitted. */
      readonly sinceMs: number;
      readonly dataplane: string;
      readonly failure: Failure;
    }
  /** It ended in a way that says nothing. */
  | { readonly kind: 'given'; readonly permit: number };

/** No request takes longer: a trial that was lost does not keep the place for ever, and later failures are of no outage before. */
export const LONGEST_REQUEST_MS = 10 * 60 * 1000;

export const NEW_BREAKER: ClosedBreaker = { state: 'closed', failed: new Set(), sinceMs: Number.NEGATIVE_INFINITY };

/** The breaker after an event; the same object when nothing changes. An `admitted` must be one that `breakerPhase` allows. */
export function nextBreaker(breaker: Breaker, event: BreakerEvent, rules: BreakerRules, at: Moment): Breaker {
  return breaker.state === 'closed' ? nextOfClosed(breaker, event, rules, at) : nextOfOpen(breaker, event, rules, at);
}

function nextOfClosed(breaker: ClosedBreaker, event: BreakerEvent, rules: BreakerRules, at: Moment): Breaker {
  if (event.kind === 'succeeded') return breaker.failed.size === 0 ? breaker : { ...breaker, failed: new Set() };
  if (event.kind !== 'failed' || event.failure.effect !== 'backend' || event.sinceMs < breaker.sinceMs) return breaker;
  if (breaker.failed.has(event.dataplane)) return breaker;
  const failed = new Set(breaker.failed).add(event.dataplane);
  if (failed.size < rules.breakerDataplanes) return { ...breaker, failed };
  const { failure } = event;
  const wait = waitAfter(1, failure, rules, at);
  return { state: 'open', opened: 1, dataplanes: failed.size, wait, cause: failure.cause, trial: undefined };
}

function nextOfOpen(breaker: OpenBreaker, event: BreakerEvent, rules: BreakerRules, at: Moment): Breaker {
  if (event.kind === 'succeeded') return closed(at);
  if (event.kind === 'admitted') return { ...breaker, trial: { permit: event.permit, sinceMs: at.nowMs } };
  // Others were under way when it opened: that they fail, too, is no news.
  if (event.permit !== breaker.trial?.permit) return breaker;
  if (event.kind === 'given') return { ...breaker, trial: undefined };
  const { failure } = event;
  switch (failure.effect) {
    case 'backend':
    case 'throttled': {
      // Throttled, it lives, but more requests are the last thing that it needs; the wait does not grow by that.
      const opened = failure.effect === 'backend' ? breaker.opened + 1 : breaker.opened;
      return {
        ...breaker,
        opened,
        wait: waitAfter(opened, failure, rules, at),
        cause: failure.cause,
        trial: undefined,
      };
    }
    case 'pending':
      // It took the request and works on it.
      return closed(at);
    case 'refused':
      return { ...breaker, trial: undefined };
  }
}

function closed({ nowMs }: Moment): ClosedBreaker {
  return { state: 'closed', failed: new Set(), sinceMs: nowMs };
}

export type BreakerPhase =
  | 'closed'
  /** Nobody may ask. */
  | 'open'
  /** One may ask. */
  | 'due'
  /** One is asking. */
  | 'trial';

export function breakerPhase(breaker: Breaker, nowMs: number): BreakerPhase {
  if (breaker.state === 'closed') return 'closed';
  if (breaker.trial !== undefined && nowMs < breaker.trial.sinceMs + LONGEST_REQUEST_MS) return 'trial';
  return nowMs < breaker.wait.untilMs ? 'open' : 'due';
}
