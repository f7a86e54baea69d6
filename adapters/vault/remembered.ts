import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../shared/or-aborted.ts';

/** A value that costs remote calls to get, kept until it is forgotten. */
export interface Remembered<T> {
  /** Callers at the same time share one load. A failure is not kept. Rejects with the reason of `signal` once that fires. */
  get(signal: AbortSignal): Promise<T>;
  /** What is there now, without loading. */
  peek(): T | undefined;
  set(value: T): void;
  forget(): void;
}

/**
 * The load has a deadline of its own instead of a caller's signal, so that one caller who gives up does not fail the others.
 * `closing` ends it.
 */
export function remember<T extends object>(
  load: (signal: AbortSignal) => Promise<T>,
  clock: IssuerDeps['clock'],
  timeoutMs: number,
  closing: AbortSignal,
): Remembered<T> {
  let value: T | undefined;
  let loading: Promise<T> | undefined;

  async function start(): Promise<T> {
    const deadline = clock.deadline(timeoutMs, closing);
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
      (loaded) => {
        if (!isCurrent()) return;
        value = loaded;
        loading = undefined;
      },
      () => {
        if (isCurrent()) loading = undefined;
      },
    );
    return started;
  }

  return {
    async get(signal) {
      signal.throwIfAborted();
      closing.throwIfAborted();
      return value ?? orAborted(startOnce(), signal);
    },
    peek: () => value,
    set(next) {
      value = next;
      loading = undefined;
    },
    forget() {
      value = undefined;
      loading = undefined;
    },
  };
}
