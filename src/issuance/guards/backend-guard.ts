import type { Moment } from './back-off.ts';
import {
  type Breaker,
  type BreakerEvent,
  type BreakerRules,
  breakerPhase,
  LONGEST_REQUEST_MS,
  NEW_BREAKER,
  nextBreaker,
  type OpenBreaker,
} from './breaker.ts';
import type { Cause, Failure } from './failure.ts';
import { createHeldDataplanes, type HeldDataplane, type HeldDataplanes } from './held-dataplanes.ts';
import { createRecoveryPlan, MOST_REMEMBERED, type RecoveryPlan } from './recovery-plan.ts';

export interface GuardRules extends BreakerRules {
  /** Renewals are spread over at least this time after the breaker was open; 0: not at all. */
  readonly recoverySpreadMs: number;
}

export interface GuardedRequest {
  readonly dataplane: string;
  /** Of all that decides about the answer: another request of the same data plane is not held because this one was refused. */
  readonly fingerprint: string;
  /** The certificate that would be served instead; absent: there is none. */
  readonly instead?: {
    readonly notAfter: Date;
    /** It ends so soon that its renewal is not put off after a recovery. */
    readonly urgent: boolean;
  };
}

/** Why a request is not let through, and until when. */
export type Holding = { readonly untilMs: number; readonly cause: Cause } & (
  | { readonly why: 'open'; readonly breaker: OpenBreaker }
  | { readonly why: 'trial' }
  | { readonly why: 'dataplane'; readonly entry: HeldDataplane }
  | { readonly why: 'spread' }
);

export interface Recovery {
  readonly plan: RecoveryPlan;
  /** The failure that the backend has recovered from. */
  readonly cause: Cause;
}

/** After so long without any event, what is known is no more than a rumour. */
const FORGET_AFTER_MS = 24 * 60 * 60 * 1000;

/** All that is known about one backend that is not well, or was not a moment ago. Time and chance are handed in. */
export class BackendGuard {
  /** Of the backend that it is about. */
  readonly hash: string;
  readonly held: HeldDataplanes;
  readonly #rules: GuardRules;
  #breaker: Breaker;
  #recovery: Recovery | undefined;
  /** Refused while the breaker was open: data plane -> end of the certificate that it goes on with. */
  #refused = new Map<string, number>();
  #lastEventMs: number;

  constructor(
    hash: string,
    rules: GuardRules,
    nowMs: number,
    known?: { breaker: Breaker; recovery: Recovery | undefined },
  ) {
    this.hash = hash;
    this.held = createHeldDataplanes(rules);
    this.#rules = rules;
    this.#breaker = known?.breaker ?? NEW_BREAKER;
    this.#recovery = known?.recovery;
    this.#lastEventMs = nowMs;
  }

  get breaker(): Breaker {
    return this.#breaker;
  }

  get recovery(): Recovery | undefined {
    return this.#recovery;
  }

  /** What stands against this request now, whichever lasts longest. One that is refused by the breaker is remembered. */
  hold(request: GuardedRequest, nowMs: number): Holding | undefined {
    const byBreaker = this.#holdOfBreaker(nowMs);
    if (byBreaker !== undefined) this.#remember(request);
    const entry = this.held.find(request.dataplane, request.fingerprint, nowMs);
    const byDataplane: Holding | undefined = entry && {
      why: 'dataplane',
      untilMs: entry.wait.untilMs,
      cause: entry.cause,
      entry,
    };
    return [byBreaker, byDataplane, this.#holdOfRecovery(request, nowMs)].reduce(later);
  }

  #holdOfBreaker(nowMs: number): Holding | undefined {
    const breaker = this.#breaker;
    if (breaker.state === 'closed') return undefined;
    const { cause, wait } = breaker;
    const phase = breakerPhase(breaker, nowMs);
    if (phase === 'open') return { why: 'open', untilMs: wait.untilMs, cause, breaker };
    const { backoffBaseMs, backoffMaxMs } = this.#rules;
    return phase === 'trial'
      ? { why: 'trial', untilMs: nowMs + Math.min(backoffBaseMs, backoffMaxMs), cause }
      : undefined;
  }

  #holdOfRecovery({ dataplane, instead }: GuardedRequest, nowMs: number): Holding | undefined {
    const recovery = this.#recovery;
    if (recovery === undefined || instead === undefined || instead.urgent) return undefined;
    const untilMs = recovery.plan.slot(dataplane, instead.notAfter.getTime(), nowMs);
    return untilMs > nowMs ? { why: 'spread', untilMs, cause: recovery.cause } : undefined;
  }

  #remember({ dataplane, instead }: GuardedRequest): void {
    if (instead === undefined || instead.urgent) return;
    if (this.#refused.size < MOST_REMEMBERED || this.#refused.has(dataplane))
      this.#refused.set(dataplane, instead.notAfter.getTime());
  }

  /** It is asked now: the one trial, when the breaker is due for it. */
  admitted(permit: number, at: Moment): void {
    if (breakerPhase(this.#breaker, at.nowMs) === 'due') this.#step({ kind: 'admitted', permit }, at);
  }

  /** True when that changed what is known. */
  succeeded(dataplane: string, at: Moment): boolean {
    const stepped = this.#step({ kind: 'succeeded' }, at);
    return this.held.succeeded(dataplane) || stepped;
  }

  /** True: that is always news. */
  failed(
    { dataplane, fingerprint }: GuardedRequest,
    failure: Failure,
    permit: { readonly id: number; readonly sinceMs: number },
    at: Moment,
  ): boolean {
    // First the entry, then the breaker: closing lifts it again.
    this.held.failed(dataplane, fingerprint, failure, at);
    this.#step({ kind: 'failed', permit: permit.id, sinceMs: permit.sinceMs, dataplane, failure }, at);
    return true;
  }

  given(permit: number, at: Moment): void {
    this.#step({ kind: 'given', permit }, at);
  }

  /** Something about the way to it has changed, so that older failures say little: the next request may try. True when that changed what is known. */
  mayTryNow({ nowMs }: Moment): boolean {
    const lifted = this.held.lift();
    const breaker = this.#breaker;
    if (breaker.state === 'closed' || nowMs >= breaker.wait.untilMs || breaker.wait.toldMs !== undefined) return lifted;
    this.#breaker = { ...breaker, wait: { untilMs: nowMs, toldMs: undefined } };
    return true;
  }

  /** It was proven by other means. True when that changed what is known. */
  recovered(at: Moment): boolean {
    const stepped = this.#step({ kind: 'succeeded' }, at);
    return this.held.lift() || stepped;
  }

  #step(event: BreakerEvent, at: Moment): boolean {
    const before = this.#breaker;
    const after = nextBreaker(before, event, this.#rules, at);
    this.#breaker = after;
    this.#lastEventMs = at.nowMs;
    if (before.state === 'closed' && after.state === 'open') {
      // Those whose slot did not come any more are as if refused again.
      this.#refused = new Map(this.#recovery?.plan.waiting(at.nowMs));
      this.#recovery = undefined;
    }
    if (before.state === 'open' && after.state === 'closed') this.#recover(before.cause, at.nowMs);
    return after !== before;
  }

  #recover(cause: Cause, startMs: number): void {
    const { recoverySpreadMs: spreadMs } = this.#rules;
    this.held.lift();
    if (spreadMs > 0)
      this.#recovery = { plan: createRecoveryPlan({ startMs, spreadMs, refused: this.#refused }), cause };
    this.#refused = new Map();
  }

  /** Drops what is over. True when there was something. */
  prune(nowMs: number): boolean {
    const pruned = this.held.prune(nowMs);
    const isOver = this.#recovery !== undefined && nowMs >= this.#recovery.plan.endsAtMs;
    if (isOver) this.#recovery = undefined;
    const isRumour = nowMs >= this.#lastEventMs + FORGET_AFTER_MS && isAtRest(this.#breaker, nowMs);
    if (isRumour) this.#breaker = NEW_BREAKER;
    return pruned || isOver || isRumour;
  }

  /** All is well: there is nothing to store. */
  get isIdle(): boolean {
    const breaker = this.#breaker;
    return (
      breaker.state === 'closed' && breaker.failed.size === 0 && this.held.size === 0 && this.#recovery === undefined
    );
  }

  /** It need not be kept in memory either: no failure can come that would have to be told from a new one. */
  isOver(nowMs: number): boolean {
    const breaker = this.#breaker;
    return this.isIdle && breaker.state === 'closed' && nowMs >= breaker.sinceMs + LONGEST_REQUEST_MS;
  }
}

/** Nothing is under way or agreed on. */
function isAtRest(breaker: Breaker, nowMs: number): boolean {
  const phase = breakerPhase(breaker, nowMs);
  return phase === 'due' || (phase === 'closed' && breaker !== NEW_BREAKER);
}

function later(a: Holding | undefined, b: Holding | undefined): Holding | undefined {
  return a === undefined || (b !== undefined && b.untilMs > a.untilMs) ? b : a;
}
