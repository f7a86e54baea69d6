import { StoreUnavailableError } from '../../issuer/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import { isBusy } from './driver.ts';
import { pause } from './pause.ts';
import { LOCK_HELD_FIX, RETRY_AFTER_MS } from './store-error.ts';

/** How long another process may keep us from writing before a call fails. */
const PATIENCE_MS = 10_000;
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 25;

/**
 * Repeats `attempt` while another process holds the file's lock. Waiting blocks no thread: not ours, and none of the driver's few, one of
 * which the holder of the lock may need for its COMMIT when it is a store of this same process.
 *
 * @throws StoreUnavailableError when its patience ends
 */
export async function retryWhileBusy<T>(clock: Clock, attempt: () => T | Promise<T>): Promise<T> {
  const end = clock.monotonicMs() + PATIENCE_MS;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (!isBusy(error)) throw error;
      if (clock.monotonicMs() >= end) {
        throw new StoreUnavailableError(`another process has held the lock of the store for ${PATIENCE_MS} ms`, {
          cause: error,
          fix: LOCK_HELD_FIX,
          retryAfterMs: RETRY_AFTER_MS,
        });
      }
    }
    await pause(clock, pauseMs);
  }
}
