import type { Clock } from '../runtime/clock.ts';
import { setNewest } from '../runtime/set-newest.ts';

/** Data planes that are remembered; the one not seen for longest goes first. */
const MOST = 200_000;

/** When a data plane last asked this instance for something. In memory only: after a restart certificates and statements tell. */
export interface LastSeen {
  /** It asks now, whether or not it will get an answer. */
  note(mesh: string, dataplane: string): void;
  /** It counts as seen at every moment until the returned function is called: a long poll that is held. */
  hold(mesh: string, dataplane: string): () => void;
  get(mesh: string, dataplane: string): Date | undefined;
  /** All of a mesh that were seen by this instance. */
  ofMesh(mesh: string): ReadonlyMap<string, Date>;
  /** It is gone: one of the same name starts unseen. */
  forget(mesh: string, dataplane: string): void;
}

export function createLastSeen(clock: Clock, most = MOST): LastSeen {
  const seen = new Map<string, Date>();
  /** How many polls are held. */
  const held = new Map<string, number>();
  const note = (key: string) => setNewest(seen, key, clock.now(), most);
  return {
    note: (mesh, dataplane) => note(keyOf(mesh, dataplane)),
    hold(mesh, dataplane) {
      const key = keyOf(mesh, dataplane);
      held.set(key, (held.get(key) ?? 0) + 1);
      let released = false;
      return () => {
        if (released) return;
        released = true;
        const left = (held.get(key) ?? 1) - 1;
        if (left === 0) held.delete(key);
        else held.set(key, left);
        note(key);
      };
    },
    get(mesh, dataplane) {
      const key = keyOf(mesh, dataplane);
      return held.has(key) ? clock.now() : seen.get(key);
    },
    ofMesh(mesh) {
      const found = new Map<string, Date>();
      const begin = keyOf(mesh, '');
      for (const [key, at] of seen) if (key.startsWith(begin)) found.set(key.slice(begin.length), at);
      const now = clock.now();
      for (const key of held.keys()) if (key.startsWith(begin)) found.set(key.slice(begin.length), now);
      return found;
    },
    forget: (mesh, dataplane) => void seen.delete(keyOf(mesh, dataplane)),
  };
}

function keyOf(mesh: string, dataplane: string): string {
  return `${mesh}/${dataplane}`;
}
