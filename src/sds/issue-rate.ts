import type { Clock } from '../runtime/clock.ts';
import type { ProxyName } from './proxy-name.ts';

/** New certificates that one data plane may have one after the other, and then one in each such time. */
const BURST = 10;
const EVERY_MS = 10_000;
/** Data planes that are remembered; the one that got a certificate longest ago goes first. */
const MOST = 100_000;

/**
 * How often a data plane gets a certificate that follows on none. A proxy that comes without any gets one, so that one that starts and dies in a loop,
 * or that wants to, would have a backend make them without end.
 */
export class IssueRate {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #most: number;
  /** When all that it has had would have come one in each EVERY_MS. In the order of the last one. */
  readonly #paidUntilMs = new Map<string, number>();

  constructor(clock: Pick<Clock, 'monotonicMs'>, most = MOST) {
    this.#clock = clock;
    this.#most = most;
  }

  /** Milliseconds until the next one; 0: now. */
  waitMs(who: ProxyName): number {
    const paidUntilMs = this.#paidUntilMs.get(keyOf(who)) ?? 0;
    return Math.max(0, paidUntilMs - this.#clock.monotonicMs() - (BURST - 1) * EVERY_MS);
  }

  /** It has got one. */
  note(who: ProxyName): void {
    const nowMs = this.#clock.monotonicMs();
    const key = keyOf(who);
    const paidUntilMs = Math.max(this.#paidUntilMs.get(key) ?? 0, nowMs) + EVERY_MS;
    this.#paidUntilMs.delete(key);
    this.#paidUntilMs.set(key, paidUntilMs);
    for (const [oldest, untilMs] of this.#paidUntilMs) {
      if (untilMs > nowMs && this.#paidUntilMs.size <= this.#most) break;
      this.#paidUntilMs.delete(oldest);
    }
  }

  /** Data planes that are remembered. */
  get size(): number {
    return this.#paidUntilMs.size;
  }
}

/** Neither name holds a slash. */
function keyOf({ mesh, dataplane }: ProxyName): string {
  return `${mesh}/${dataplane}`;
}
