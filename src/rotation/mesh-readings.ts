import type { MeshReadings } from '../runtime/metrics.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import type { Rotations } from './rotations.ts';

export interface MeshReadingsOf {
  readonly bundles: Pick<TrustBundles, 'versions'>;
  readonly rotations: Pick<Rotations, 'readings'>;
}

/** What metrics tell of meshes: trust bundle and rotation, as both were seen last. Those that are rotated come first. */
export function createMeshReadings({ bundles, rotations }: MeshReadingsOf): () => Iterable<MeshReadings> {
  return () => {
    const rotating = rotations.readings();
    const found = new Map<string, MeshReadings>();
    for (const [mesh, rotation] of rotating) found.set(mesh, { mesh, rotation });
    for (const { mesh, version } of bundles.versions()) {
      found.set(mesh, { ...found.get(mesh), mesh, bundleVersion: version });
    }
    return found.values();
  };
}
