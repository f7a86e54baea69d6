import type { Clock } from './clock.ts';

/**
 * One limit for many waits that nearly all end in time. A timer and a signal of its own for each would cost more than the wait is worth; here
 * one timer looks at all of them, so a limit is noticed up to a tenth of it late. No timer runs while nothing is watched.
 */
export interface Watchdog {
  readonly timeoutMs: number;
  /** Calls `onLate`, at most once, when the limit has passed. Returns what ends the watch. */
  watch(onLate: () => void): () => void;
}

export function createWatchdog(clock: Clock, timeoutMs: number): Watchdog {
  /** In the order of their limits, since the limit is the same for all. */
  const watched = new Map<() => void, number>();
  let looks = false;
  const look = async () => {
    while (watched.size > 0) {
      await clock.sleep(Math.max(1, timeoutMs / 10));
      const nowMs = clock.monotonicMs();
      for (const [onLate, lateMs] of watched) {
        if (lateMs > nowMs) break;
        watched.delete(onLate);
        onLate();
      }
    }
    looks = false;
  };
  return {
    timeoutMs,
    watch(onLate) {
      // A function of its own: the same `onLate` may be watched twice.
      const entry = () => onLate();
      watched.set(entry, clock.monotonicMs() + timeoutMs);
      if (!looks) {
        looks = true;
        void look();
      }
      return () => void watched.delete(entry);
    },
  };
}
