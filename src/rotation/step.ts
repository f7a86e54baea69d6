import type { Mesh } from '../mesh/mesh.ts';

/** A Mesh that is to be stored in place of another. */
export interface Step {
  readonly before: Mesh;
  readonly after: Mesh;
  /** Offline data planes with certificates of a backend that goes are not waited for. */
  readonly force: boolean;
  /** Backend -> roots (DER) of its test certificate; only of backends that have just proven themselves. */
  readonly provenRoots: ReadonlyMap<string, readonly Buffer[]>;
}
