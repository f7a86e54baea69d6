import { RateLimitedError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { TokenBucket, type TokenBucketOptions } from './token-bucket.ts';

export interface LimiterOptions extends TokenBucketOptions {
  readonly clock: IssuerDeps['clock'];
  /** What is limited, for messages: `IssueCertificate`. */
  readonly operation: string;
}

/** So many may wait that the last has its turn after this long. */
const MAX_WAIT_MS = 10_000;
/** Whoever is sent away gets a place of his own in time, up to this. */
const LONGEST_RETRY_MS = 60_000;

export interface Turn {
  /** Who asks, as far as fairness goes: parties are served in turn, whoever of them asks most. */
  readonly party: string;
  /** For a call whose certificate is paid for already: waits however long it takes. */
  readonly patient?: boolean;
}

interface Waiter {
  readonly turn: Turn;
  serve(): void;
  refuse(reason: unknown): void;
}

/**
 * Queues before a token bucket, one for each party: the parties take turns, and within a party the first to come is the first to be served. Who gives up
 * takes no token. When too many wait, the last of the longest queue is sent away, so that a flood of one party does not shut out the others.
 */
export class Limiter {
  readonly #clock: IssuerDeps['clock'];
  readonly #operation: string;
  readonly #bucket: TokenBucket;
  /** In the order of their next turn; none is empty. */
  readonly #queues = new Map<string, Set<Waiter>>();
  readonly #closing = new AbortController();
  #size = 0;
  #promisedAtMs = Number.NEGATIVE_INFINITY;
  #isServing = false;

  constructor(options: LimiterOptions) {
    this.#clock = options.clock;
    this.#operation = options.operation;
    this.#bucket = new TokenBucket(options, options.clock.monotonicMs());
  }

  /**
   * Waits for a turn. Rejects with the reason of `signal` once that fires.
   * @throws RateLimitedError with the time to come again when too many wait
   */
  async take(signal: AbortSignal, turn: Turn): Promise<void> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    if (this.#size === 0 && this.#bucket.take(this.#clock.monotonicMs()) === 0) return;
    await this.#wait(signal, turn);
  }

  /** AWS throttled a call: the next ones go slower. */
  slowDown(): void {
    this.#bucket.slowDown(this.#clock.monotonicMs());
  }

  /** Idempotent. Whoever waits is rejected. */
  close(): void {
    const reason = new RateLimitedError('is closed', { retryAfterMs: 1000 });
    this.#closing.abort(reason);
    for (const waiter of [...this.#queues.values()].flatMap((queue) => [...queue])) waiter.refuse(reason);
  }

  #wait(signal: AbortSignal, turn: Turn): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#remove(waiter);
        signal.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        turn,
        serve() {
          leave();
          resolve();
        },
        refuse(reason) {
          leave();
          reject(reason);
        },
      };
      const onAbort = () => waiter.refuse(signal.reason);
      signal.addEventListener('abort', onAbort, { once: true });
      this.#add(waiter);
      if (turn.patient !== true && this.#size * 1000 > this.#bucket.ratePerSecond * MAX_WAIT_MS) this.#sendOneAway();
      void this.#serve();
    });
  }

  #add(waiter: Waiter): void {
    const { party } = waiter.turn;
    const queue = this.#queues.get(party) ?? new Set();
    this.#queues.set(party, queue.add(waiter));
    this.#size += 1;
  }

  #remove(waiter: Waiter): void {
    const { party } = waiter.turn;
    const queue = this.#queues.get(party);
    if (queue?.delete(waiter) !== true) return;
    this.#size -= 1;
    if (queue.size === 0) this.#queues.delete(party);
  }

  /** The last of the longest queue: he would wait longest. Each who is sent away is told a time of his own, so that they do not come back together. */
  #sendOneAway(): void {
    let longest: Set<Waiter> | undefined;
    for (const queue of this.#queues.values()) if (queue.size > (longest?.size ?? 0)) longest = queue;
    const last = [...(longest ?? [])].at(-1);
    const nowMs = this.#clock.monotonicMs();
    const rate = this.#bucket.ratePerSecond;
    this.#promisedAtMs = Math.max(this.#promisedAtMs, nowMs + (this.#size * 1000) / rate);
    const retryAfterMs = Math.min(LONGEST_RETRY_MS, Math.ceil(this.#promisedAtMs - nowMs));
    if (retryAfterMs < LONGEST_RETRY_MS) this.#promisedAtMs += 1000 / rate;
    last?.refuse(
      new RateLimitedError(
        `${this.#size - 1} calls of ${this.#operation} already wait for their turn under the quota of the AWS account`,
        {
          retryAfterMs,
          fix: 'wait; or have AWS raise the quota (Service Quotas, AWS Private CA) and set MESH_CA_ACMPCA_ISSUES_PER_SECOND to it',
        },
      ),
    );
  }

  /** One at a time: sleeps until there is a token, and gives it to whose turn it is then. */
  async #serve(): Promise<void> {
    if (this.#isServing) return;
    this.#isServing = true;
    try {
      while (this.#size > 0) {
        const waitMs = this.#bucket.take(this.#clock.monotonicMs());
        if (waitMs > 0) {
          await this.#clock.sleep(Math.ceil(waitMs), this.#closing.signal);
          continue;
        }
        this.#serveNext();
      }
    } catch {
      // Closed: those who wait have been told.
    } finally {
      this.#isServing = false;
    }
  }

  #serveNext(): void {
    const [turn] = this.#queues;
    if (turn === undefined) return;
    const [party, queue] = turn;
    const [next] = queue;
    next?.serve();
    if (queue.size === 0) return;
    this.#queues.delete(party);
    this.#queues.set(party, queue);
  }
}
