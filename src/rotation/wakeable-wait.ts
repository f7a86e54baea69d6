import type { Clock } from '../runtime/clock.ts';

/** A wait that somebody may end early, but not too early. A call that comes while nobody waits counts for the next wait. */
export class WakeableWait {
  readonly #clock: Pick<Clock, 'sleep'>;
  readonly #signal: AbortSignal;
  #isWoken = false;
  #wakeUp: (() => void) | undefined;

  constructor(clock: Pick<Clock, 'sleep'>, signal: AbortSignal) {
    this.#clock = clock;
    this.#signal = signal;
  }

  wake(): void {
    this.#isWoken = true;
    this.#wakeUp?.();
  }

  /** Resolves after `mostMs`; after `leastMs` when it is woken; at once when the signal fires. */
  async pass(leastMs: number, mostMs: number): Promise<void> {
    await this.#sleep(leastMs, this.#signal);
    if (!this.#isWoken && mostMs > leastMs) await this.#untilWoken(mostMs - leastMs);
    this.#isWoken = false;
  }

  async #untilWoken(ms: number): Promise<void> {
    const over = new AbortController();
    const end = () => over.abort();
    if (this.#signal.aborted) end();
    this.#signal.addEventListener('abort', end, { once: true });
    this.#wakeUp = end;
    await this.#sleep(ms, over.signal);
    this.#wakeUp = undefined;
    this.#signal.removeEventListener('abort', end);
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    return this.#clock.sleep(ms, signal).catch(() => {});
  }
}
