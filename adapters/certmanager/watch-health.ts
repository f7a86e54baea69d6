import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { AWAY, type Failure, isPassing, toError } from './failure.ts';

/** Whether the watch stands; who waits for it; how long to wait before the next attempt. */
export interface WatchHealth {
  /** Attempts that failed in a row. */
  readonly failures: number;
  readonly isWell: boolean;
  noteGood(): void;
  /** It stands and has told something, or has stood for a while. */
  noteUseful(): void;
  /** Undefined: it ended at once, without a word. */
  noteFailure(failure: Failure | undefined): void;
  pauseMs(failure: Failure | undefined): number;
  /**
   * Resolves when the watch stands.
   * @throws the error of the last attempt when it is not worth waiting, or the signal's reason
   */
  untilGood(signal: AbortSignal): Promise<void>;
  rejectAll(reason: unknown): void;
}

/** A server that was away for this long is told to callers at once. */
const PATIENCE_MS = 10_000;
/** kube-apiserver 1.34 answers 403 and 404 for about a second after its port is open. */
const STARTING_MS = 3_000;
const FIRST_PAUSE_MS = 100;
/** Not longer, so that the end of a fault is noticed within two seconds. */
const LONGEST_PAUSE_MS = 1_500;
const LONGEST_RETRY_AFTER_MS = 30_000;

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

export function createWatchHealth(
  { clock, random, log }: Pick<IssuerDeps, 'clock' | 'random' | 'log'>,
  instance: string,
): WatchHealth {
  const waiters = new Set<Waiter>();
  let failures = 0;
  let failingSinceMs: number | undefined;
  let awayMs = Number.NEGATIVE_INFINITY;

  function rejectAll(reason: unknown): void {
    for (const waiter of waiters) waiter.reject(reason);
    waiters.clear();
  }

  /**
   * A server that is away may be starting again; and one that has just started refuses for a moment what it allows later, since it does not know
   * roles and resources yet. One that answers otherwise, and not well, is asked twice.
   */
  function isWorthWaiting(failure: Failure, nowMs: number, failingMs: number): boolean {
    if (AWAY.has(failure.kind)) {
      awayMs = nowMs;
      return failingMs < PATIENCE_MS;
    }
    if (nowMs - awayMs < STARTING_MS) return true;
    return isPassing(failure) && failures < 2;
  }

  return {
    get failures() {
      return failures;
    },
    get isWell() {
      return failingSinceMs === undefined;
    },
    noteGood() {
      if (failingSinceMs !== undefined) log.info({ instance }, 'the watch of CertificateRequests is back');
      failingSinceMs = undefined;
      for (const waiter of waiters) waiter.resolve();
      waiters.clear();
    },
    noteUseful() {
      failures = 0;
    },
    noteFailure(failure) {
      failures += 1;
      if (failure === undefined || failure.kind === 'expired') return;
      const nowMs = clock.monotonicMs();
      if (failingSinceMs === undefined)
        log.warn({ instance, err: toError(failure) }, 'the watch of CertificateRequests broke');
      failingSinceMs ??= nowMs;
      if (!isWorthWaiting(failure, nowMs, nowMs - failingSinceMs)) rejectAll(toError(failure));
    },
    pauseMs(failure) {
      const growing = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
      const told = Math.min(failure?.retryAfterMs ?? 0, LONGEST_RETRY_AFTER_MS);
      return Math.max(growing * (0.5 + random.uniform() / 2), told);
    },
    async untilGood(signal) {
      await new Promise<void>((resolve, reject) => {
        const onAbort = () => {
          waiters.delete(waiter);
          reject(signal.reason);
        };
        const settle = (done: () => void) => {
          signal.removeEventListener('abort', onAbort);
          done();
        };
        const waiter: Waiter = {
          resolve: () => settle(resolve),
          reject: (error) => settle(() => reject(error)),
        };
        waiters.add(waiter);
        signal.addEventListener('abort', onAbort, { once: true });
      });
    },
    rejectAll,
  };
}
