import type { CallOptions } from '../issuer/issuer.ts';
import { readBackendScene } from './backend-scene.ts';
import { readGenerationScene } from './generation-scene.ts';
import type { RotationRecord } from './rotation-record.ts';
import type { Scene, SceneOptions } from './scene.ts';

/** @throws NotFoundError when the mesh is gone */
export function readScene(
  mesh: string,
  record: RotationRecord,
  from: SceneOptions,
  options: CallOptions,
): Promise<Scene> {
  return record.kind === 'backend'
    ? readBackendScene(mesh, record, from)
    : readGenerationScene(mesh, record, from, options);
}
