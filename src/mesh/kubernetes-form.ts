import { findKind, KINDS } from './kinds.ts';
import { isJsonObject, type JsonObject } from './violations.ts';

const KUMA_API = 'kuma.io/v1alpha1';
const MESH_LABEL = 'kuma.io/mesh';
const SECRET_TYPE = 'system.kuma.io/secret';

/**
 * A document in the Kubernetes form as the Universal form; a Universal one is given back as it is. `metadata.namespace` is dropped: names
 * are unique in a mesh here. Undefined, after `report`, when it cannot be read.
 */
export function toUniversal(
  document: JsonObject,
  defaultMesh: string,
  report: (message: string) => void,
): JsonObject | undefined {
  if (document.apiVersion === undefined && document.kind === undefined) return document;
  const { apiVersion, kind: type, metadata, spec } = document;
  const known = KINDS.map((one) => one.type).join(', ');
  if (typeof type !== 'string') return void report(`"kind" has to be set to one of ${known}`);
  const kind = findKind(type);
  if (kind === undefined) return void report(`unknown kind ${JSON.stringify(type.slice(0, 100))}; known are ${known}`);
  const wanted = type === 'Secret' ? 'v1' : KUMA_API;
  if (apiVersion !== wanted) return void report(`"apiVersion" of a ${type} has to be ${wanted}`);
  if (!isJsonObject(metadata)) return void report('"metadata" has to be an object');
  if (spec !== undefined && spec !== null && !isJsonObject(spec)) return void report('"spec" has to be an object');
  const { name, labels } = metadata;
  if (typeof name !== 'string' || name === '') return void report('"metadata.name" has to be set to a string');
  const mesh = kind.scope === 'Global' ? undefined : meshOf(document, metadata, defaultMesh, report);
  const content = type === 'Secret' ? secretContent(document, report) : (spec ?? {});
  if (content === undefined) return undefined;
  return {
    ...content,
    type,
    ...(mesh !== undefined && { mesh }),
    name,
    ...(labels !== undefined && labels !== null && { labels }),
  };
}

/** The mesh stands in `mesh`, or in the label or annotation `kuma.io/mesh`; where several do, they have to agree. */
function meshOf(document: JsonObject, metadata: JsonObject, defaultMesh: string, report: (message: string) => void) {
  const { labels, annotations } = metadata;
  const places = {
    mesh: document.mesh,
    [`metadata.labels["${MESH_LABEL}"]`]: isJsonObject(labels) ? labels[MESH_LABEL] : undefined,
    [`metadata.annotations["${MESH_LABEL}"]`]: isJsonObject(annotations) ? annotations[MESH_LABEL] : undefined,
  };
  const given = Object.entries(places).filter(([, mesh]) => mesh !== undefined && mesh !== null);
  for (const [place, mesh] of given) {
    if (typeof mesh !== 'string') return void report(`${place} has to be a string`);
  }
  const [first, ...others] = given;
  if (first === undefined) return defaultMesh;
  const other = others.find(([, mesh]) => mesh !== first[1]);
  if (other)
    return void report(`${first[0]} is ${JSON.stringify(first[1])}, but ${other[0]} is ${JSON.stringify(other[1])}`);
  return first[1];
}

function secretContent(document: JsonObject, report: (message: string) => void): JsonObject | undefined {
  if (document.type !== SECRET_TYPE) return void report(`"type" of a Secret has to be ${SECRET_TYPE}`);
  const { data, stringData } = document;
  if (isJsonObject(stringData) && typeof stringData.value === 'string') {
    return { data: Buffer.from(stringData.value, 'utf8').toString('base64') };
  }
  const value = isJsonObject(data) ? data.value : undefined;
  if (value === undefined || value === null || value === '') return void report('data.value cannot be empty.');
  return { data: value };
}
