import type { TrustBundle } from '../trust/trust-bundle.ts';
import { backendChange, fingerprintsOf } from './change.ts';
import { editMesh, readMesh } from './edit-mesh.ts';
import type { Effect } from './machine.ts';
import { type RotationRecord, sidesOf } from './rotation-record.ts';
import { backendsKeyOf, type Learnt, type Scene, type SceneOptions } from './scene.ts';

/** Of a rotation from one backend of the Mesh to another: the Mesh itself is the truth about what was done. */
export async function readBackendScene(
  mesh: string,
  record: RotationRecord,
  { store, backends }: SceneOptions,
): Promise<Scene> {
  const stored = await readMesh(store, mesh);
  const live = await backends.get(mesh);
  const { target, other } = sidesOf(record);
  const enabled = stored.mesh.mtls?.enabledBackend;
  const names = stored.backends.map(({ name }) => name);
  const hasTarget = names.includes(target);
  const oldAt = names.indexOf(other);
  const unproven = live.backends.get(target);
  const obstacle =
    hasTarget && unproven === undefined
      ? `backend "${target}" cannot be used: its type is not installed or its conf is not valid`
      : undefined;

  const actions: Readonly<Record<Effect, () => Promise<Learnt>>> = {
    async 'provide-target'() {
      const { removed } = record;
      if (removed !== undefined && !hasTarget)
        await editMesh(store, stored, { backends: stored.backends.toSpliced(removed.index, 0, removed.spec) });
      return {};
    },
    async 'issue-with-target'() {
      if (enabled !== target) await editMesh(store, stored, { enabledBackend: target });
      return {};
    },
    async 'remove-old'() {
      if (oldAt >= 0) await editMesh(store, stored, { backends: stored.backends.toSpliced(oldAt, 1) });
      return {};
    },
  };

  return {
    issuing: enabled === target ? 'target' : enabled === other ? 'old' : 'neither',
    meshVersion: stored.version,
    hasTarget,
    hasOld: oldAt >= 0,
    backendsKey: backendsKeyOf(stored.mesh),
    unproven,
    obstacle,
    changeIn: (bundle) => backendChange(bundle, other, target),
    oldRootsIn: (bundle) =>
      new Set(oldAt >= 0 ? [] : (record.fromRoots ?? []).filter((root) => !bundle.fingerprints.has(root))),
    // Roots that another backend has, too, stay; its own go with the Mesh that lacks it.
    notDropped: (bundle) => (oldAt >= 0 ? [] : [...(fingerprintsOf(bundle, other) ?? [])]),
    sideOf: ({ backend }) => (backend === target ? 'target' : backend === other ? 'old' : undefined),
    beforeRemoval(bundle: TrustBundle) {
      const spec = stored.backends[oldAt];
      const roots = fingerprintsOf(bundle, other);
      return {
        ...(spec !== undefined && { removed: { index: oldAt, spec } }),
        ...(roots !== undefined && { fromRoots: [...roots] }),
      };
    },
    carryOut: (effect) => actions[effect](),
  };
}
