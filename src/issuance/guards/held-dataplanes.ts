import { hash } from 'node:crypto';
import { setNewest } from '../../runtime/set-newest.ts';
import { type BackOffRules, type Moment, type Wait, waitAfter } from './back-off.ts';
import { type Cause, type Effect, effectOf, type Failure } from './failure.ts';

/** The back-off of one data plane at one backend. */
export interface HeldDataplane {
  /** Digest of the fingerprint of the request that was refused: another one is not held. Empty: whatever it asks, it is. */
  readonly digest: string;
  /** Failures in a row. */
  readonly failures: number;
  readonly wait: Wait;
  readonly cause: Cause;
}

export interface HeldDataplanes {
  readonly size: number;
  /** Of the last failure. */
  readonly newest: HeldDataplane | undefined;
  /** How many may not ask now. */
  count(nowMs: number): number;
  /** The entry that stands against this request now. */
  find(dataplane: string, fingerprint: string, nowMs: number): HeldDataplane | undefined;
  failed(dataplane: string, fingerprint: string, failure: Failure, at: Moment): void;
  /** True when there was an entry. */
  succeeded(dataplane: string): boolean;
  /** The backend is well again. What it asked to wait for, and what it refused, is as it was. True when there was something. */
  lift(): boolean;
  /** Drops what is long over. True when there was something. */
  prune(nowMs: number): boolean;
  restore(dataplane: string, entry: HeldDataplane): void;
  /** The oldest first. */
  entries(): IterableIterator<[string, HeldDataplane]>;
}

/** Digest that stands for every request. */
const ANY = '';

/** Data planes that are remembered for one backend; the one that failed least recently goes first. */
export const MOST_HELD = 10_000;
const MOST_RECENT_CAUSES = 16;

const LIFTED: Readonly<Record<Effect, boolean>> = { backend: true, pending: true, throttled: false, refused: false };

export function createHeldDataplanes(rules: BackOffRules, most = MOST_HELD): HeldDataplanes {
  const held = new Map<string, HeldDataplane>();
  let newest: HeldDataplane | undefined;
  const recentCauses: Cause[] = [];

  /** Thousands fail for a few reasons: those that are alike are one object, and are stored once. */
  function shared(cause: Cause): Cause {
    const known = recentCauses.find(
      ({ code, message, fix }) => code === cause.code && message === cause.message && fix === cause.fix,
    );
    if (known !== undefined) return known;
    recentCauses.push(cause);
    if (recentCauses.length > MOST_RECENT_CAUSES) recentCauses.shift();
    return cause;
  }

  function set(dataplane: string, entry: HeldDataplane): void {
    setNewest(held, dataplane, entry, most);
    newest = entry;
  }

  function dropWhere(isOver: (entry: HeldDataplane) => boolean): boolean {
    const before = held.size;
    for (const [dataplane, entry] of held) if (isOver(entry)) held.delete(dataplane);
    return held.size < before;
  }

  /** A failure that is so long past says nothing about the next one. */
  const isForgotten = (entry: HeldDataplane, nowMs: number) => nowMs >= entry.wait.untilMs + rules.backoffMaxMs;

  return {
    get size() {
      return held.size;
    },
    get newest() {
      return held.size === 0 ? undefined : newest;
    },
    count(nowMs) {
      let count = 0;
      for (const { wait } of held.values()) if (nowMs < wait.untilMs) count += 1;
      return count;
    },
    find(dataplane, fingerprint, nowMs) {
      const entry = held.get(dataplane);
      if (entry === undefined || nowMs >= entry.wait.untilMs) return undefined;
      return entry.digest === ANY || entry.digest === digestOf(fingerprint) ? entry : undefined;
    },
    failed(dataplane, fingerprint, failure, at) {
      const known = held.get(dataplane);
      const digest = digestOf(fingerprint);
      const before = known === undefined || isForgotten(known, at.nowMs) ? undefined : known;
      const failures = (before?.failures ?? 0) + 1;
      // One that makes a new CSR for each try must not get around its wait: a corrected request is believed once.
      const mayCorrect = failure.effect === 'refused' && (before === undefined || before.digest === digest);
      const wait = waitAfter(failures, failure, rules, at);
      set(dataplane, { digest: mayCorrect ? digest : ANY, failures, wait, cause: shared(failure.cause) });
    },
    succeeded: (dataplane) => held.delete(dataplane),
    lift: () => dropWhere(({ cause }) => LIFTED[effectOf(cause.code)]),
    prune: (nowMs) => dropWhere((entry) => isForgotten(entry, nowMs)),
    restore: set,
    entries: () => held.entries(),
  };
}

/** Short, whatever the caller puts into it. */
function digestOf(fingerprint: string): string {
  return hash('sha256', fingerprint, 'base64url').slice(0, 22);
}
