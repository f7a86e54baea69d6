import { percentile } from '../../bench/percentile.ts';

export interface FailureReason {
  /** Which lane, and what it was told. */
  readonly reason: string;
  readonly count: number;
}

export interface LoadSummary {
  readonly requests: number;
  readonly failures: number;
  /** Most frequent first. */
  readonly reasons: readonly FailureReason[];
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What came of requests. */
export class LoadCounts {
  readonly #latenciesMs: number[] = [];
  readonly #reasons = new Map<string, number>();
  #failures = 0;

  succeeded(latencyMs: number): void {
    this.#latenciesMs.push(latencyMs);
  }

  failed(reason: string): void {
    this.#failures += 1;
    this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1);
  }

  get requests(): number {
    return this.#latenciesMs.length + this.#failures;
  }

  get failures(): number {
    return this.#failures;
  }

  summary(): LoadSummary {
    const sorted = this.#latenciesMs.toSorted((a, b) => a - b);
    return {
      requests: this.requests,
      failures: this.#failures,
      reasons: [...this.#reasons]
        .map(([reason, count]) => ({ reason, count }))
        .toSorted((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1)),
      p50Ms: percentile(sorted, 0.5),
      p99Ms: percentile(sorted, 0.99),
    };
  }
}
