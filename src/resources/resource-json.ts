import { findKind } from '../mesh/kinds.ts';
import type { JsonObject } from '../mesh/violations.ts';
import type { StoredResource } from '../store/store.ts';

/** What the control plane adds to resources of its zone. */
export interface ZoneLabels {
  readonly zoneName: string;
}

/** A resource as Kuma answers it: type, mesh, name, times and labels beside the spec; `kri` where Kuma has one. */
export function resourceJson(stored: StoredResource, zone: ZoneLabels): JsonObject {
  const { labels, ...spec } = JSON.parse(stored.body) as JsonObject;
  const computed = computedLabels(stored, zone);
  const all = { ...(labels as JsonObject | undefined), ...computed };
  return { ...resourceMeta(stored, zone), ...(Object.keys(all).length === 0 ? {} : { labels: all }), ...spec };
}

/** The part of a resource that every kind has. */
export function resourceMeta(stored: StoredResource, { zoneName }: ZoneLabels, type = stored.type): JsonObject {
  const kind = findKind(stored.type);
  const inMesh = stored.mesh !== '';
  return {
    type,
    ...(inMesh ? { mesh: stored.mesh } : {}),
    name: stored.name,
    creationTime: stored.createdAt.toISOString(),
    modificationTime: stored.modifiedAt.toISOString(),
    ...(kind?.hasKri === true
      ? { kri: `kri_${kind.shortName}_${stored.mesh}_${inMesh ? zoneName : ''}__${stored.name}_` }
      : {}),
  };
}

/** Kuma's computed labels of kinds that a zone provides. */
function computedLabels(stored: StoredResource, { zoneName }: ZoneLabels): JsonObject {
  if (stored.mesh === '') return {};
  return {
    'kuma.io/env': 'universal',
    'kuma.io/mesh': stored.mesh,
    'kuma.io/origin': 'zone',
    'kuma.io/zone': zoneName,
    ...(stored.type === 'Dataplane' ? { 'kuma.io/proxy-type': 'sidecar' } : {}),
  };
}
