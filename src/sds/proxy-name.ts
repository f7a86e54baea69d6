import type { Backends } from '../backends/backends.ts';
import { NotFoundError, RequestInvalidError } from '../issuer/errors.ts';
import { checkExistingName } from '../mesh/names.ts';
import type { Store } from '../store/store.ts';
import { plainText } from '../text/plain-text.ts';

/** Mesh names have at most 63 characters. */
const MAX_MESH_NAME = 63;

export interface ProxyName {
  readonly mesh: string;
  readonly dataplane: string;
}

/**
 * Mesh and data plane of `node.id`, which is `<mesh>.<dataplane>` as with Kuma. Both may hold dots: the mesh is one that exists; of several the one
 * that has a Dataplane resource of the rest's name, else the one with the shortest name.
 * @throws RequestInvalidError when it is no such text; NotFoundError when there is no such mesh
 */
export async function readProxyName(
  nodeId: string,
  { backends, store }: { readonly backends: Pick<Backends, 'get'>; readonly store: Pick<Store, 'getResource'> },
): Promise<ProxyName> {
  const candidates = splits(nodeId);
  const [first] = candidates;
  if (first === undefined) {
    throw new RequestInvalidError(
      `node.id ${JSON.stringify(plainText(nodeId, 100))} is not the name of a mesh, a dot, and the name of a data plane`,
      { fix: 'start Envoy with --service-node MESH.DATAPLANE, such as default.web-1' },
    );
  }
  const existing: ProxyName[] = [];
  for (const candidate of candidates) if (await isMesh(candidate.mesh, backends)) existing.push(candidate);
  const [shortest, ...more] = existing;
  if (shortest === undefined) {
    throw new NotFoundError(`there is no mesh "${first.mesh}", which node.id "${plainText(nodeId, 100)}" names`, {
      fix: 'put the Mesh first: mesh-ca apply -f MESH.yaml; or start Envoy with --service-node MESH.DATAPLANE',
    });
  }
  if (more.length === 0) return shortest;
  for (const candidate of existing) {
    const key = { type: 'Dataplane', mesh: candidate.mesh, name: candidate.dataplane };
    if ((await store.getResource(key)) !== undefined) return candidate;
  }
  return shortest;
}

/** Every way to cut it at a dot that gives two proper names; the shortest mesh first. */
export function splits(nodeId: string): readonly ProxyName[] {
  const found: ProxyName[] = [];
  for (let dot = nodeId.indexOf('.'); dot >= 0 && dot <= MAX_MESH_NAME; dot = nodeId.indexOf('.', dot + 1)) {
    const [mesh, dataplane] = [nodeId.slice(0, dot), nodeId.slice(dot + 1)];
    if ([...checkExistingName(mesh), ...checkExistingName(dataplane)].length === 0) found.push({ mesh, dataplane });
  }
  return found;
}

async function isMesh(mesh: string, backends: Pick<Backends, 'get'>): Promise<boolean> {
  try {
    await backends.get(mesh);
    return true;
  } catch (error) {
    if (error instanceof NotFoundError) return false;
    throw error;
  }
}
