/** Time, handed in. Nothing outside `runtime` reads the real clock or sets a real timer; tests pass a clock they turn themselves. */
export interface Clock {
  now(): Date;
  /** Milliseconds that only grow, for measuring durations. */
  monotonicMs(): number;
  /** Resolves after `ms`, or rejects with the signal's reason. The timer never keeps the process alive by itself. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** An AbortSignal that fires `ms` from now with a `TimeoutError`, or earlier when `parent` fires. */
  deadline(ms: number, parent?: AbortSignal): Deadline;
}

/** `clear()` must be called when the guarded work has ended, so that no timer is left. */
export interface Deadline {
  readonly signal: AbortSignal;
  clear(): void;
}

/** setTimeout takes a signed 32-bit number of milliseconds; more fires at once. */
const LONGEST_TIMER_MS = 2_147_483_647;

export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  async sleep(ms, signal) {
    let left = ms;
    while (left > 0) {
      const step = Math.min(left, LONGEST_TIMER_MS);
      await sleepOnce(step, signal);
      left -= step;
    }
    signal?.throwIfAborted();
  },
  deadline(ms, parent) {
    const controller = new AbortController();
    const timer = setTimeout(
      () => controller.abort(new DOMException(`no answer within ${ms} ms`, 'TimeoutError')),
      Math.min(ms, LONGEST_TIMER_MS),
    );
    const onParent = () => controller.abort(parent?.reason);
    if (parent?.aborted) onParent();
    else parent?.addEventListener('abort', onParent, { once: true });
    return {
      signal: controller.signal,
      clear() {
        clearTimeout(timer);
        parent?.removeEventListener('abort', onParent);
      },
    };
  },
};

function sleepOnce(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    timer.unref();
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
