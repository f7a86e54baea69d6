import { type Hold, StoreUnavailableError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { type BackOffRules, backOffMs } from './guards/back-off.ts';

/**
 * Keeps certificates from being made that cannot be stored: each would be thrown away, and asked of a backend, and perhaps paid for, again with
 * the next try. While the store fails, one request at a time goes through to try it.
 */
export interface StoreTrouble {
  /**
   * Runs `issue`, which asks a backend for a certificate and stores it, and learns from how that goes.
   * @param breaker that of the backend, to be told
   * @throws StoreUnavailableError with `retryAfterMs` and `hold` when `issue` was not run; whatever `issue` throws
   */
  guard<T>(breaker: () => Hold['breaker'], issue: () => Promise<T>): Promise<T>;
}

const RULES: BackOffRules = { backoffBaseMs: 1_000, backoffMaxMs: 30_000 };

interface Failing {
  readonly error: StoreUnavailableError;
  /** In a row. */
  readonly times: number;
  /** When the next one may try. */
  readonly untilMs: number;
}

export function createStoreTrouble(clock: Pick<Clock, 'monotonicMs'>): StoreTrouble {
  let failing: Failing | undefined;
  let isTried = false;
  // By one request at a time: there is no herd for chance to spread.
  const waitMs = (times: number) => backOffMs(times, RULES, 0);

  function fail(error: StoreUnavailableError, isTrial: boolean): void {
    const nowMs = clock.monotonicMs();
    // Those that were under way together fail together: that is once.
    if (failing !== undefined && !isTrial) return;
    const times = (failing?.times ?? 0) + 1;
    failing = { error, times, untilMs: nowMs + waitMs(times) };
  }

  return {
    async guard(breaker, issue) {
      const isTrial = failing !== undefined;
      if (failing !== undefined) {
        const { error, times, untilMs } = failing;
        const leftMs = Math.ceil(isTried ? waitMs(times) : untilMs - clock.monotonicMs());
        if (leftMs > 0) throw holdError(error, leftMs, breaker());
        isTried = true;
      }
      try {
        const result = await issue();
        failing = undefined;
        return result;
      } catch (error) {
        if (error instanceof StoreUnavailableError) fail(error, isTrial);
        throw error;
      } finally {
        if (isTrial) isTried = false;
      }
    },
  };
}

function holdError(
  { code, message, fix }: StoreUnavailableError,
  retryAfterMs: number,
  breaker: Hold['breaker'],
): StoreUnavailableError {
  return new StoreUnavailableError(`no certificate is asked for that could not be stored: ${message}`, {
    ...(fix !== undefined && { fix }),
    retryAfterMs,
    hold: { breaker, cause: { code, message } },
  });
}
