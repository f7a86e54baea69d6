import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';

/** A value that costs remote calls to get, kept until it is forgotten. */
export interface Remembered<T> {
  /** Callers at the same time share one load. A failure is not kept. Rejects with the reason of `signal` once that fires. */
  get(signal: AbortSignal): Promise<T>;
  /** What is there now, without loading. */
  peek(): T | undefined;
  set(value: T): void;
  forget(): void;
}

export interface RememberOptions<T = unknown> {
  readonly clock: IssuerDeps['clock'];
  /** Ends a load under way; `get` rejects with its reason from then on. */
  readonly closing: AbortSignal;
  readonly loadTimeoutMs: number;
  /** Older values are loaded again. Absent: kept until forgotten. */
  readonly maxAgeMs?: number | ((value: T) => number);
  /** Failures of a load after which the old value is good for another `graceMs`. Absent: none. */
  readonly grace?: { readonly ms: number; after(error: unknown): boolean };
}

/**
 * The load has a deadline of its own instead of a caller's signal, so that one caller who gives up does not fail the others.
 */
export function remember<T extends object>(
  load: (signal: AbortSignal) => Promise<T>,
  { clock, closing, loadTimeoutMs, maxAgeMs = Number.POSITIVE_INFINITY, grace }: RememberOptions<T>,
): Remembered<T> {
  let value: T | undefined;
  let freshUntilMs = 0;
  let loading: Promise<T> | undefined;

  async function start(): Promise<T> {
    const old = value;
    const deadline = clock.deadline(loadTimeoutMs, closing);
    try {
      return await orAborted(load(deadline.signal), deadline.signal);
    } catch (error) {
      if (old === undefined || old !== value || closing.aborted || grace?.after(error) !== true) throw error;
      return old;
    } finally {
      deadline.clear();
    }
  }

  function startOnce(): Promise<T> {
    if (loading !== undefined) return loading;
    const old = value;
    const started = start();
    loading = started;
    const isCurrent = () => loading === started;
    started.then(
      (loaded) => {
        if (!isCurrent()) return;
        if (loaded === old) {
          loading = undefined;
          freshUntilMs = clock.monotonicMs() + (grace?.ms ?? 0);
        } else keep(loaded);
      },
      () => {
        if (isCurrent()) loading = undefined;
      },
    );
    return started;
  }

  function keep(next: T): void {
    value = next;
    freshUntilMs = clock.monotonicMs() + (typeof maxAgeMs === 'function' ? maxAgeMs(next) : maxAgeMs);
    loading = undefined;
  }
  const peek = () => (clock.monotonicMs() < freshUntilMs ? value : undefined);

  return {
    async get(signal) {
      signal.throwIfAborted();
      closing.throwIfAborted();
      return peek() ?? orAborted(startOnce(), signal);
    },
    peek,
    set: keep,
    forget() {
      value = undefined;
      loading = undefined;
    },
  };
}
