/** Waits for one of a number of places. Resolves with what gives it back, to be called once; rejects with the signal's reason. */
export type TakePlace = (signal: AbortSignal) => Promise<() => void>;

/** Who waits is served in the order of coming; who gives up leaves nothing behind. */
export function createPlaces(count: number): TakePlace {
  let free = count;
  const waiting = new Set<() => void>();

  function giveBack(): void {
    const [next] = waiting;
    if (next === undefined) free += 1;
    else next();
  }

  return (signal) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      if (free > 0) {
        free -= 1;
        resolve(giveBack);
        return;
      }
      const leave = () => {
        waiting.delete(take);
        signal.removeEventListener('abort', onAbort);
      };
      const take = () => {
        leave();
        resolve(giveBack);
      };
      const onAbort = () => {
        leave();
        reject(signal.reason);
      };
      waiting.add(take);
      signal.addEventListener('abort', onAbort, { once: true });
    });
}
