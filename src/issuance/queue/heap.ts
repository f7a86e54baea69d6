/** A binary heap whose items may be moved and taken out. Every change costs O(log n). */
export interface Heap<T extends object> {
  readonly size: number;
  /** The first one, left in it. */
  peek(): T | undefined;
  /** Adds it, or moves it to where it belongs now. To be called after every change of what it is ordered by, before any other change of the heap. */
  put(item: T): void;
  /** False when it was not in it. */
  delete(item: T): boolean;
}

export function createHeap<T extends object>(isBefore: (one: T, other: T) => boolean): Heap<T> {
  const items: T[] = [];
  const places = new Map<T, number>();

  function set(item: T, at: number): void {
    items[at] = item;
    places.set(item, at);
  }

  /** Where `item` comes to stand on the way up from `at`, after making room. */
  function rise(item: T, from: number): number {
    let at = from;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = items[above];
      if (parent === undefined || !isBefore(item, parent)) break;
      set(parent, at);
      at = above;
    }
    return at;
  }

  function sink(item: T, from: number): number {
    let at = from;
    for (;;) {
      const left = 2 * at + 1;
      const [first, second] = [items[left], items[left + 1]];
      if (first === undefined) return at;
      const isSecond = second !== undefined && isBefore(second, first);
      const child = isSecond ? second : first;
      if (!isBefore(child, item)) return at;
      set(child, at);
      at = isSecond ? left + 1 : left;
    }
  }

  return {
    get size() {
      return items.length;
    },
    peek: () => items[0],
    put(item) {
      const risen = rise(item, places.get(item) ?? items.length);
      set(item, risen);
      set(item, sink(item, risen));
    },
    delete(item) {
      const at = places.get(item);
      if (at === undefined) return false;
      places.delete(item);
      const last = items.pop();
      if (last === undefined || last === item) return true;
      set(last, at);
      const risen = rise(last, at);
      set(last, risen);
      set(last, sink(last, risen));
      return true;
    },
  };
}
