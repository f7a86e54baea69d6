/** Who wants to hear of something. */
export interface Listeners<T> {
  /** Returns what ends it; idempotent. One that is added twice is called twice. */
  add(listener: (news: T) => void): () => void;
  /** Calls each, in the order in which they came. One listener's mistake reaches neither the others nor the caller, who has done his work already. */
  tell(news: T): void;
  clear(): void;
}

/** @param onMistake told what a listener threw, and at which news */
export function createListeners<T>(onMistake: (error: unknown, news: T) => void): Listeners<T> {
  const listeners = new Set<{ readonly call: (news: T) => void }>();
  return {
    add(call) {
      const entry = { call };
      listeners.add(entry);
      return () => void listeners.delete(entry);
    },
    tell(news) {
      for (const { call } of [...listeners]) {
        try {
          call(news);
        } catch (error) {
          onMistake(error, news);
        }
      }
    },
    clear: () => listeners.clear(),
  };
}
