export interface TokenBucketOptions {
  /** Tokens a second when all is well. */
  readonly ratePerSecond: number;
  /** Tokens that a rest can save up. At least 1. */
  readonly burst: number;
}

/** Under this part of its rate a bucket is never slowed. */
const SLOWEST = 0.1;
/** Answers to calls that left together say the same thing once. */
const ONE_SIGNAL_MS = 1000;
/** From the slowest back to the full rate. */
const RECOVERY_MS = 30_000;

/**
 * Counts calls against a quota. Pure: time is handed in, in milliseconds that only grow.
 *
 * In any span of t seconds it gives out at most `ratePerSecond * t + burst` tokens, whatever is asked of it in whatever order.
 */
export class TokenBucket {
  readonly #options: TokenBucketOptions;
  #tokens: number;
  #filledAtMs: number;
  /** Part of the full rate, from SLOWEST to 1. */
  #pace = 1;
  #slowedAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: TokenBucketOptions, nowMs: number) {
    this.#options = options;
    this.#tokens = options.burst;
    this.#filledAtMs = nowMs;
  }

  /** Takes a token: 0. When there is none: milliseconds until there will be one, and nothing is taken. */
  take(nowMs: number): number {
    this.#fill(nowMs);
    // A hair below 1, so that a wait which was worked out in floating point is not followed by one of a nanosecond.
    if (this.#tokens >= 1 - 1e-6) {
      this.#tokens -= 1;
      return 0;
    }
    return ((1 - this.#tokens) * 1000) / this.ratePerSecond;
  }

  /** The other side said that it was too fast: what was saved up is gone, and the pace halves until it has recovered. */
  slowDown(nowMs: number): void {
    this.#fill(nowMs);
    this.#tokens = Math.min(this.#tokens, 0);
    if (nowMs - this.#slowedAtMs < ONE_SIGNAL_MS) return;
    this.#slowedAtMs = nowMs;
    this.#pace = Math.max(SLOWEST, this.#pace / 2);
  }

  /** At the pace of the last call of `take` or `slowDown`. */
  get ratePerSecond(): number {
    return this.#options.ratePerSecond * this.#pace;
  }

  #fill(nowMs: number): void {
    const elapsedMs = Math.max(0, nowMs - this.#filledAtMs);
    this.#filledAtMs += elapsedMs;
    this.#tokens = Math.min(this.#options.burst, this.#tokens + (elapsedMs / 1000) * this.ratePerSecond);
    this.#pace = Math.min(1, this.#pace + ((1 - SLOWEST) * elapsedMs) / RECOVERY_MS);
  }
}
