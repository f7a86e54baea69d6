import type { Networking } from '../mesh/dataplane.ts';
import { findKind } from '../mesh/kinds.ts';
import type { Labels } from '../mesh/labels.ts';
import type { JsonObject } from '../mesh/violations.ts';
import type { StoredResource } from '../store/store.ts';

/** What the control plane adds to resources of its zone. */
export interface ZoneLabels {
  readonly zoneName: string;
}

/** A resource as Kuma answers it: type, mesh, name, times and labels beside the spec; `kri` where Kuma has one. */
export function resourceJson(stored: StoredResource, zone: ZoneLabels): JsonObject {
  const { labels: _, ...spec } = JSON.parse(stored.body) as JsonObject;
  const labels = labelsOf(stored, zone);
  return { ...resourceMeta(stored, zone), ...(Object.keys(labels).length === 0 ? {} : { labels }), ...spec };
}

/** Its own labels and those that the control plane computes for kinds that a zone provides; the latter win. */
export function labelsOf(stored: StoredResource, { zoneName }: ZoneLabels): Labels {
  const { labels, networking } = JSON.parse(stored.body) as StoredBody;
  if (stored.mesh === '') return { ...labels };
  return {
    ...labels,
    'kuma.io/env': 'universal',
    'kuma.io/mesh': stored.mesh,
    'kuma.io/origin': 'zone',
    'kuma.io/zone': zoneName,
    ...(stored.type === 'Dataplane' ? { 'kuma.io/proxy-type': proxyType(networking) } : {}),
  };
}

/** What is read here of a body that a parser of ours has checked. */
interface StoredBody {
  readonly labels?: Labels;
  readonly networking?: Pick<Networking, 'gateway'>;
}

/** Kuma calls delegated gateways sidecars, too. */
function proxyType(networking: StoredBody['networking']): string {
  return networking?.gateway?.type === 'BUILTIN' ? 'gateway' : 'sidecar';
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
