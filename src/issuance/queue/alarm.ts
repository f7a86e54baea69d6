import type { Clock } from '../../runtime/clock.ts';

/** One timer for whatever its holder waits for. */
export interface Alarm {
  /** Rings then, or earlier. */
  ringAt(atMs: number): void;
  stop(): void;
}

const STOPPED = new Error('the alarm was stopped');

/** @param ring called once, then nothing is set; times are those of `clock.monotonicMs()` */
export function createAlarm(clock: Pick<Clock, 'monotonicMs' | 'sleep'>, ring: () => void): Alarm {
  let set: { readonly atMs: number; readonly sleeping: AbortController } | undefined;

  function stop(): void {
    set?.sleeping.abort(STOPPED);
    set = undefined;
  }

  return {
    ringAt(atMs) {
      if (set !== undefined && set.atMs <= atMs) return;
      stop();
      const sleeping = new AbortController();
      const mine = { atMs, sleeping };
      set = mine;
      clock.sleep(Math.max(0, atMs - clock.monotonicMs()), sleeping.signal).then(
        () => {
          if (set !== mine) return;
          set = undefined;
          ring();
        },
        () => {},
      );
    },
    stop,
  };
}
