import { ConflictError, NotFoundError } from '../issuer/errors.ts';
import { type Mesh, meshToJson, parseMesh } from '../mesh/mesh.ts';
import { isJsonObject, type JsonObject } from '../mesh/violations.ts';
import type { Store } from '../store/store.ts';
import { rotationKey } from './rotation-record.ts';

/** A Mesh as it was read, and what it takes to write it as nobody else has changed it since. */
export interface ReadMesh {
  readonly mesh: Mesh;
  readonly version: number;
  /** The backends as the store has them. */
  readonly backends: readonly JsonObject[];
  readonly body: JsonObject;
}

/** @throws NotFoundError when there is none */
export async function readMesh(store: Pick<Store, 'getResource'>, name: string): Promise<ReadMesh> {
  const stored = await store.getResource({ type: 'Mesh', mesh: '', name });
  if (stored === undefined) {
    throw new NotFoundError(`mesh "${name}" not found`, { fix: 'mesh-ca get meshes lists those there are' });
  }
  const mesh = parseMesh(JSON.parse(stored.body), { name });
  const body = meshToJson(mesh);
  const mtls = isJsonObject(body.mtls) ? body.mtls : {};
  const backends = Array.isArray(mtls.backends) ? mtls.backends.filter(isJsonObject) : [];
  return { mesh, version: stored.version, backends, body };
}

export interface MeshEdit {
  readonly enabledBackend?: string;
  readonly backends?: readonly JsonObject[];
}

/**
 * Writes the Mesh with other backends, or another one enabled; the rest of it stays.
 * @throws ConflictError when it was changed since it was read, or the rotation is gone
 */
export async function editMesh(
  store: Pick<Store, 'putResource'>,
  { mesh: { name }, version, body }: ReadMesh,
  edit: MeshEdit,
): Promise<void> {
  const mtls = { ...(isJsonObject(body.mtls) ? body.mtls : {}), ...edit };
  const changed = meshToJson(parseMesh({ ...body, mtls }, { name }));
  try {
    await store.putResource(
      { type: 'Mesh', mesh: '', name, body: JSON.stringify(changed) },
      // The record goes with its mesh: one of the same name that was made again is not the one that was read.
      { expectedVersion: version, requires: [rotationKey(name)] },
    );
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    throw new ConflictError(`the rotation of mesh "${name}" is gone`, { cause: error, fix: 'look at the mesh again' });
  }
}
