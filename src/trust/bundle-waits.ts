import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';

/** So many are woken at a time, so that ten thousand answers do not keep everybody else waiting. */
const WOKEN_AT_ONCE = 500;
const PAUSE_MS = 1;
/** How late a wait may end for which nothing changed. One timer for all of them: ten thousand own ones would cost more than the waits. */
const LATE_MS = 100;

export interface BundleWait {
  /** True when the bundle of the mesh has changed, or the mesh is gone; false when the time is over, the signal has fired, or all waits have ended. */
  readonly over: Promise<boolean>;
  /** Forgets it. Idempotent. */
  end(): void;
}

interface Waiting {
  readonly endsAtMs: number;
  end(hasChanged: boolean): void;
}

/** Who waits for the bundle of a mesh to change. A wait is one entry in a set: there are thousands. */
export class BundleWaits {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #waiting = new Map<string, Set<Waiting>>();
  readonly #ending = new AbortController();
  #isTicking = false;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  /** @param endsAtMs on the monotonic clock */
  begin(mesh: string, endsAtMs: number, signal: AbortSignal): BundleWait {
    let end = (_hasChanged: boolean) => {};
    const over = new Promise<boolean>((resolve) => {
      if (this.#ending.signal.aborted || signal.aborted || endsAtMs <= this.#clock.monotonicMs()) return resolve(false);
      const waiting = this.#waiting.get(mesh) ?? new Set();
      const onAbort = () => end(false);
      end = (hasChanged) => {
        signal.removeEventListener('abort', onAbort);
        waiting.delete(entry);
        if (waiting.size === 0 && this.#waiting.get(mesh) === waiting) this.#waiting.delete(mesh);
        resolve(hasChanged);
      };
      const entry: Waiting = { endsAtMs, end };
      this.#waiting.set(mesh, waiting.add(entry));
      signal.addEventListener('abort', onAbort, { once: true });
      if (!this.#isTicking) void this.#tick();
    });
    return { over, end: () => end(false) };
  }

  /** Wakes those who wait now, the longest waiting first. */
  wake(mesh: string): void {
    const waiting = this.#waiting.get(mesh);
    if (waiting === undefined) return;
    // Who waits from now on has seen the change.
    this.#waiting.delete(mesh);
    this.#wakeInTurn(waiting).catch((error: unknown) => {
      this.#log.error({ mesh, err: error }, 'not everybody was told of a trust bundle');
    });
  }

  /** Ends all waits, those to come as well. */
  endAll(): void {
    this.#ending.abort();
    for (const waiting of [...this.#waiting.values()]) for (const { end } of waiting) end(false);
  }

  async #wakeInTurn(waiting: ReadonlySet<Waiting>): Promise<void> {
    let count = 0;
    for (const { end } of waiting) {
      end(true);
      count += 1;
      if (count % WOKEN_AT_ONCE === 0) await this.#pause(PAUSE_MS);
    }
  }

  /** Ends those whose time is over, as long as anybody waits. */
  async #tick(): Promise<void> {
    this.#isTicking = true;
    while (this.#waiting.size > 0) {
      await this.#pause(LATE_MS);
      const nowMs = this.#clock.monotonicMs();
      for (const waiting of [...this.#waiting.values()]) {
        for (const { endsAtMs, end } of waiting) if (endsAtMs <= nowMs) end(false);
      }
    }
    this.#isTicking = false;
  }

  /** Over at once when all waits end. */
  async #pause(ms: number): Promise<void> {
    const { signal } = this.#ending;
    if (!signal.aborted) await this.#clock.sleep(ms, signal).catch(() => {});
  }
}
