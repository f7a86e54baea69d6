import pLimit from 'p-limit';

/** Waits for one of a number of places. Resolves with what gives it back, to be called once; rejects with the signal's reason. */
export type TakePlace = (signal: AbortSignal) => Promise<() => void>;

export function createPlaces(count: number): TakePlace {
  const limit = pLimit(count);
  return (signal) =>
    new Promise((resolve, reject) => {
      const onAbort = () => reject(signal.reason);
      if (signal.aborted) return onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      void limit(() => {
        signal.removeEventListener('abort', onAbort);
        // Who has given up lets the next one have its turn.
        return signal.aborted ? undefined : new Promise<void>((free) => resolve(free));
      });
    });
}
