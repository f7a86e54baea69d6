import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';

/** So many are woken at a time, so that ten thousand answers do not keep everybody else waiting. */
const WOKEN_AT_ONCE = 500;
const PAUSE_MS = 1;

export interface BundleWait {
  /** Resolves when the bundle of the mesh has changed, the signal has fired, or all waits have ended. */
  readonly over: Promise<void>;
  /** Forgets it. Idempotent. */
  end(): void;
}

/** Who waits for the bundle of a mesh to change. A wait is one entry in a set: there are thousands. */
export class BundleWaits {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #waiting = new Map<string, Set<() => void>>();
  #hasEnded = false;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  begin(mesh: string, signal: AbortSignal): BundleWait {
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      if (this.#hasEnded || signal.aborted) return resolve();
      const wake = () => {
        end();
        resolve();
      };
      end = () => {
        signal.removeEventListener('abort', wake);
        // Of those woken together the set is another one by now, or none.
        const waiting = this.#waiting.get(mesh);
        if (waiting?.delete(wake) === true && waiting.size === 0) this.#waiting.delete(mesh);
      };
      const waiting = this.#waiting.get(mesh) ?? new Set();
      this.#waiting.set(mesh, waiting.add(wake));
      signal.addEventListener('abort', wake, { once: true });
    });
    return { over, end: () => end() };
  }

  /** Wakes those who wait now, the longest waiting first. */
  wake(mesh: string): void {
    const waiting = this.#waiting.get(mesh);
    this.#waiting.delete(mesh);
    if (waiting === undefined) return;
    this.#wakeInTurn(waiting).catch((error: unknown) => {
      this.#log.error({ mesh, err: error }, 'not everybody was told of a trust bundle');
    });
  }

  /** Ends all waits, those to come as well. */
  endAll(): void {
    this.#hasEnded = true;
    const all = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const waiting of all) for (const wake of waiting) wake();
  }

  async #wakeInTurn(waiting: ReadonlySet<() => void>): Promise<void> {
    let count = 0;
    for (const wake of waiting) {
      wake();
      count += 1;
      if (count % WOKEN_AT_ONCE === 0 && !this.#hasEnded) await this.#clock.sleep(PAUSE_MS);
    }
  }
}
