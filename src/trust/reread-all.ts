/** Bundles that are made anew at once. */
const AT_ONCE = 8;

export interface RereadAllOptions {
  /** Names of all there are; may grow and shrink meanwhile. */
  names(): Iterable<string>;
  /** Never rejects; passes over what is up to date. */
  reread(name: string): Promise<void>;
  readonly signal: AbortSignal;
}

/**
 * Reads all again, a few at a time: after another process has written something, and nobody knows what. Called while that is under way, it goes round
 * once more after it, however often it is called.
 */
export function createRereadAll({ names, reread, signal }: RereadAllOptions): () => void {
  let isWanted = false;
  let isUnderWay = false;

  async function goRound(): Promise<void> {
    while (isWanted && !signal.aborted) {
      isWanted = false;
      const left = names()[Symbol.iterator]();
      const work = async () => {
        for (let next = left.next(); next.done !== true; next = left.next()) await reread(next.value);
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
    }
  }

  return () => {
    isWanted = true;
    if (isUnderWay) return;
    isUnderWay = true;
    void goRound().finally(() => {
      isUnderWay = false;
    });
  };
}
