import type { Clock } from '../runtime/clock.ts';

/** Data planes that are remembered; the one not seen for longest goes first. */
const MOST = 200_000;

/** When a data plane last asked this instance for something. In memory only: after a restart certificates and statements tell. */
export interface LastSeen {
  note(mesh: string, dataplane: string): void;
  get(mesh: string, dataplane: string): Date | undefined;
}

export function createLastSeen(clock: Clock, most = MOST): LastSeen {
  const seen = new Map<string, Date>();
  return {
    note(mesh, dataplane) {
      const key = `${mesh}/${dataplane}`;
      // Deleted first, so that the map's order is that of the last sight.
      seen.delete(key);
      seen.set(key, clock.now());
      if (seen.size > most) {
        const [oldest] = seen.keys();
        if (oldest !== undefined) seen.delete(oldest);
      }
    },
    get: (mesh, dataplane) => seen.get(`${mesh}/${dataplane}`),
  };
}
