import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';

/** A value that costs remote calls to get, kept until it is old or forgotten. */
export interface Remembered<T> {
  /** Callers at the same time share one load. A failure is not kept. Rejects with the reason of `signal` once that fires. */
  get(signal: AbortSignal): Promise<T>;
  /** What is there now, without loading. */
  peek(): T | undefined;
  set(value: T): void;
  forget(): void;
}

export interface RememberOptions {
  readonly clock: IssuerDeps['clock'];
  /** Ends a load under way; `get` rejects with its reason from then on. */
  readonly closing: AbortSignal;
  readonly loadTimeoutMs: number;
  /** Older values are loaded again. */
  readonly maxAgeMs: number;
}

/** The load has a deadline of its own instead of a caller's signal, so that one caller who gives up does not fail the others. */
export function remember<T extends object>(
  load: (signal: AbortSignal) => Promise<T>,
  { clock, closing, loadTimeoutMs, maxAgeMs }: RememberOptions,
): Remembered<T> {
  let kept: { readonly value: T; readonly atMs: number } | undefined;
  let loading: Promise<T> | undefined;

  async function start(): Promise<T> {
    const deadline = clock.deadline(loadTimeoutMs, closing);
    try {
      return await orAborted(load(deadline.signal), deadline.signal);
    } finally {
      deadline.clear();
    }
  }

  function startOnce(): Promise<T> {
    if (loading !== undefined) return loading;
    const started = start();
    loading = started;
    const isCurrent = () => loading === started;
    started.then(
      (value) => {
        if (isCurrent()) keep(value);
      },
      () => {
        if (isCurrent()) loading = undefined;
      },
    );
    return started;
  }

  function keep(value: T): void {
    kept = { value, atMs: clock.monotonicMs() };
    loading = undefined;
  }
  const peek = () => (kept !== undefined && clock.monotonicMs() - kept.atMs < maxAgeMs ? kept.value : undefined);

  return {
    async get(signal) {
      signal.throwIfAborted();
      closing.throwIfAborted();
      return peek() ?? orAborted(startOnce(), signal);
    },
    peek,
    set: keep,
    forget() {
      kept = undefined;
      loading = undefined;
    },
  };
}
