import { Gauge, type Registry } from 'prom-client';

/** What is told of a mesh when metrics are asked for: nothing is read for it. What is not known has no series. */
export interface MeshReadings {
  readonly mesh: string;
  /** Of the newest trust bundle that this instance knows. */
  readonly bundleVersion?: number;
  /** The managed rotation that is under way, as its last reading saw it. */
  readonly rotation?: RotationReadings;
}

export interface RotationReadings {
  /** `trusting`, `switching`, ..., `paused`, `rolling-back`. */
  readonly state: string;
  /** Absent before the first reading after a start. */
  readonly seen?: {
    readonly dataplanes: { readonly [What in (typeof WHATS)[number][0]]: number };
    /** Data planes that the present step waits for. */
    readonly blockers: number;
  };
}

/** Counts of data planes as `GET /meshes/{mesh}/_rotation` names them, and their label. */
const WHATS = [
  ['online', 'online'],
  ['trustingNew', 'trusting_new'],
  ['usingNew', 'using_new'],
  ['usingOld', 'using_old'],
] as const;

/** Meshes over this number have no series. */
const MAX_MESHES = 2000;

/** Sets the gauges of these meshes, and forgets those of all others. */
export type SetMeshGauges = (readings: Iterable<MeshReadings>) => void;

export function createMeshGauges(registry: Registry): SetMeshGauges {
  const create = (name: string, help: string, ...labels: string[]) =>
    new Gauge({ name, help, labelNames: ['mesh', ...labels], registers: [registry] });
  const version = create('mesh_ca_trust_bundle_version', 'Version of the trust bundle of a mesh');
  const state = create('mesh_ca_rotation_state', 'The state of the rotation that is under way is 1', 'state');
  const dataplanes = create(
    'mesh_ca_rotation_dataplanes',
    'Data planes during a rotation: online, of those trusting the new CA, using its certificates, using old ones',
    'what',
  );
  const blockers = create('mesh_ca_rotation_blockers', 'Data planes that the present step of a rotation waits for');

  return (readings) => {
    for (const gauge of [version, state, dataplanes, blockers]) gauge.reset();
    let told = 0;
    for (const { mesh, bundleVersion, rotation } of readings) {
      if (++told > MAX_MESHES) return;
      if (bundleVersion !== undefined) version.set({ mesh }, bundleVersion);
      if (rotation === undefined) continue;
      state.set({ mesh, state: rotation.state }, 1);
      if (rotation.seen === undefined) continue;
      for (const [what, label] of WHATS) dataplanes.set({ mesh, what: label }, rotation.seen.dataplanes[what]);
      blockers.set({ mesh }, rotation.seen.blockers);
    }
  };
}
