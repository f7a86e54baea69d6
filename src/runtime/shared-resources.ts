/** Several holders, one value: made for the first, closed after the last. The shape is `SharedResources` of src/issuer/issuer.ts. */
export interface SharedResources {
  acquire<T extends Closeable>(key: string, create: () => T): { readonly value: T; release(): Promise<void> };
}

interface Closeable {
  close(): void | Promise<void>;
}

interface Held {
  readonly value: Closeable;
  holders: number;
}

export function createSharedResources(): SharedResources {
  const held = new Map<string, Held>();

  return {
    acquire<T extends Closeable>(key: string, create: () => T) {
      const entry = held.get(key) ?? { value: create(), holders: 0 };
      held.set(key, entry);
      entry.holders += 1;
      let released: Promise<void> | undefined;
      const release = async () => {
        entry.holders -= 1;
        if (entry.holders > 0) return;
        // At once, before anything is awaited: who comes next gets a new value, never one that is closing.
        if (held.get(key) === entry) held.delete(key);
        await entry.value.close();
      };
      return {
        value: entry.value as T,
        release() {
          released ??= release();
          return released;
        },
      };
    },
  };
}
