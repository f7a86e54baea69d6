/**
 * Places that are kept free of meshes that hold one already, while other meshes come, too: so that theirs need not wait until a slow backend of another
 * mesh is done.
 */
export interface SparePlaces {
  /** A place went to this mesh. */
  note(mesh: string): void;
  /** Of so many places. */
  of(limit: number): number;
}

const PART = 1 / 4;
/** How long other meshes are reckoned with. */
const SHARED_FOR_MS = 60_000;

export function createSparePlaces(monotonicMs: () => number): SparePlaces {
  let lastMesh: string | undefined;
  /** When a place last went to another mesh than the one before. */
  let sharedMs = Number.NEGATIVE_INFINITY;
  return {
    note(mesh) {
      if (lastMesh !== undefined && lastMesh !== mesh) sharedMs = monotonicMs();
      lastMesh = mesh;
    },
    of: (limit) => (monotonicMs() - sharedMs < SHARED_FOR_MS ? Math.floor(limit * PART) : 0),
  };
}
