import { RateLimitedError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { TokenBucket, type TokenBucketOptions } from './token-bucket.ts';

export interface LimiterOptions extends TokenBucketOptions {
  readonly clock: IssuerDeps['clock'];
  /** What is limited, for messages: `IssueCertificate`. */
  readonly operation: string;
}

/** Whoever would wait longer is told so at once. */
const MAX_WAIT_MS = 10_000;

interface Waiter {
  serve(): void;
  refuse(reason: unknown): void;
}

/** A queue before a token bucket: first come, first served; who gives up takes no token. */
export class Limiter {
  readonly #clock: IssuerDeps['clock'];
  readonly #operation: string;
  readonly #bucket: TokenBucket;
  /** Insertion order is the order of service. */
  readonly #waiting = new Set<Waiter>();
  readonly #closing = new AbortController();
  #isServing = false;

  constructor(options: LimiterOptions) {
    this.#clock = options.clock;
    this.#operation = options.operation;
    this.#bucket = new TokenBucket(options, options.clock.monotonicMs());
  }

  /**
   * Waits for a turn. Rejects with the reason of `signal` once that fires.
   * @param options.patient for a call whose certificate is paid for already: waits however long it takes
   * @throws RateLimitedError with the expected wait when too many are before it
   */
  async take(signal: AbortSignal, options: { readonly patient?: boolean } = {}): Promise<void> {
    signal.throwIfAborted();
    this.#closing.signal.throwIfAborted();
    if (this.#waiting.size === 0 && this.#bucket.take(this.#clock.monotonicMs()) === 0) return;
    const expectedMs = Math.ceil(((this.#waiting.size + 1) * 1000) / this.#bucket.ratePerSecond);
    if (options.patient !== true && expectedMs > MAX_WAIT_MS) {
      throw new RateLimitedError(
        `${this.#waiting.size} calls of ${this.#operation} already wait for their turn under the quota of the AWS account`,
        {
          retryAfterMs: expectedMs,
          fix: 'wait; or have AWS raise the quota (Service Quotas, AWS Private CA) and set MESH_CA_ACMPCA_ISSUES_PER_SECOND to it',
        },
      );
    }
    await this.#wait(signal);
  }

  /** AWS throttled a call: the next ones go slower. */
  slowDown(): void {
    this.#bucket.slowDown(this.#clock.monotonicMs());
  }

  /** Idempotent. Whoever waits is rejected. */
  close(): void {
    const reason = new RateLimitedError('is closed', { retryAfterMs: 1000 });
    this.#closing.abort(reason);
    for (const waiter of [...this.#waiting]) waiter.refuse(reason);
  }

  #wait(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(waiter);
        signal.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
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
      this.#waiting.add(waiter);
      void this.#serve();
    });
  }

  /** One at a time: sleeps until there is a token, and gives it to who waits longest then. */
  async #serve(): Promise<void> {
    if (this.#isServing) return;
    this.#isServing = true;
    try {
      while (this.#waiting.size > 0) {
        const waitMs = this.#bucket.take(this.#clock.monotonicMs());
        if (waitMs > 0) {
          await this.#clock.sleep(Math.ceil(waitMs), this.#closing.signal);
          continue;
        }
        const [next] = this.#waiting;
        next?.serve();
      }
    } catch {
      // Closed: those who wait have been told.
    } finally {
      this.#isServing = false;
    }
  }
}
