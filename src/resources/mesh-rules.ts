import type { Backend } from '../backends/backend.ts';
import type { Backends } from '../backends/backends.ts';
import { canonicalJson } from '../backends/canonical-json.ts';
import { BackendInvalidError, ConfigError } from '../issuer/errors.ts';
import { type CallOptions, isConfChecker, isProvisioner } from '../issuer/issuer.ts';
import { type Mesh, parseMesh } from '../mesh/mesh.ts';
import type { MeshBackend } from '../mesh/mtls.ts';
import { checkMeshNameLength, meshNameWarnings } from '../mesh/names.ts';
import type { Step } from '../rotation/step.ts';
import type { ResourceKey, Store } from '../store/store.ts';
import { failedChecks, failedViolations, type Proof } from '../validation/proof.ts';
import { proveAll } from '../validation/prove-all.ts';
import type { Checked, KindRules } from './kind-rules.ts';
import { NOT_VALID } from './resource-error.ts';
import type { TrialLine } from './trial-line.ts';
import { type Tried, type TriedBackends, withTriedBackends } from './try-backends.ts';

export interface MeshRulesOptions {
  readonly store: Store;
  readonly backends: Backends;
  /** Proves a backend that is not stored yet. */
  readonly prove: (backend: Backend, options: CallOptions) => Promise<Proof>;
  readonly line: TrialLine;
  /** @throws RotationNotReadyError, ConflictError when connections would break, or a rotation is under way */
  readonly checkStep: (step: Step, options: CallOptions) => Promise<void>;
  /** Takes the proofs of a Mesh once it is stored. */
  readonly note: (proof: Proof) => void;
}

/**
 * Kuma's mesh manager: types and confs of all backends are checked, each new or changed backend proves itself by a test certificate, CAs that
 * we make ourselves are made, then the Mesh is stored. Unlike Kuma, a Mesh whose CA cannot be made is not stored.
 */
export function createMeshRules(options: MeshRulesOptions): KindRules {
  const { store, backends, line } = options;
  return {
    async beforePut(resource, { dryRun, force }, call) {
      if (resource.type !== 'Mesh') throw new TypeError(`mesh rules got a ${resource.type}`);
      const stored = await store.getResource({ type: 'Mesh', mesh: '', name: resource.name });
      const before = stored && parseMesh(JSON.parse(stored.body), { name: resource.name });
      const created = before === undefined;
      const violations = created ? checkMeshNameLength(resource.name) : [];
      if (violations.length > 0) throw new ConfigError(NOT_VALID, { violations });
      const checkStep = async (provenRoots: Step['provenRoots']) => {
        if (before !== undefined) await options.checkStep({ before, after: resource, force, provenRoots }, call);
      };
      // First without what only a certificate tells, so that nothing is asked of a backend for a step that comes too soon.
      await checkStep(new Map());
      const skip = resource.mtls?.skipValidation === true;
      const isUnproven = (spec: MeshBackend) => !skip && (dryRun || mustProve(spec, resource, before));
      const work = async (made: TriedBackends): Promise<Checked> => {
        const { tried } = made;
        const unproven = tried.filter(({ spec }) => isUnproven(spec));
        const proofs = await proveAll(unproven, options.prove, call);
        requireProof(resource, proofs);
        await checkStep(new Map(proofs.map(({ spec, proof }) => [spec.name, proof.roots ?? []])));
        if (!dryRun) for (const { keep } of tried) await keep();
        return {
          resource,
          warnings: [
            ...(created ? meshNameWarnings(resource.name) : []),
            ...made.warnings,
            ...proofs.flatMap(warningsOf),
          ],
          requires: await requiredSecrets(backends, resource, tried),
          expectedVersion: stored?.version ?? 0,
          stored: () => {
            for (const { proof } of proofs) options.note(proof);
          },
        };
      };
      const count = resource.mtls?.backends.filter(isUnproven).length ?? 0;
      return line.run(count, call, () => withTriedBackends(backends, resource, call, work));
    },

    async beforeDelete({ name }) {
      const { total } = await store.listResources({ type: 'Dataplane', mesh: name, size: 1 });
      if (total > 0) {
        throw new ConfigError(NOT_VALID, {
          violations: [{ field: 'mesh', message: 'unable to delete mesh, there are still some dataplanes attached' }],
          fix: `mesh-ca get dataplanes -m ${name} lists them; delete them first`,
        });
      }
      return {};
    },
  };
}

interface Proven extends Tried {
  readonly proof: Proof;
}

/**
 * What is applied again as it stands costs no certificate, and a backend that has broken since does not stop its own replacement. Proven are new and
 * changed backends, all of them after `skipValidation`, and the one that becomes the enabled one.
 */
function mustProve(spec: MeshBackend, mesh: Mesh, before: Mesh | undefined): boolean {
  const was = before?.mtls;
  if (was === undefined || was.skipValidation) return true;
  const old = was.backends.find(({ name }) => name === spec.name);
  if (old === undefined || canonicalJson(old) !== canonicalJson(spec)) return true;
  return mesh.mtls?.enabledBackend === spec.name && was.enabledBackend !== spec.name;
}

/** @throws BackendInvalidError with the failed checks of all backends */
function requireProof(mesh: Mesh, proofs: readonly Proven[]): void {
  const failing = proofs.filter(({ proof }) => !proof.ok);
  if (failing.length === 0) return;
  const checks = failing.flatMap(({ proof }) => failedChecks(proof));
  const names = failing.map(({ spec }) => `"${spec.name}"`).join(', ');
  throw new BackendInvalidError(`no proxy could work with backend ${names} of mesh "${mesh.name}"`, {
    violations: failing.flatMap(({ proof, at }) => failedViolations(proof, `${at}.conf`)),
    checks,
    retry: failing.every(({ proof }) => proof.retry),
    fix: checks.find(({ fix }) => fix !== undefined)?.fix ?? 'look at the failed checks',
  });
}

function warningsOf({ proof, at, spec }: Proven): readonly string[] {
  return proof.checks
    .filter(({ status }) => status === 'warning')
    .map(({ name, message }) => `${at} ("${spec.name}"): ${name}: ${message}`);
}

/**
 * Secrets without which the backends that were checked, or whose CA was made, are worth nothing: they must be there when the Mesh is stored.
 */
async function requiredSecrets(backends: Backends, mesh: Mesh, tried: readonly Tried[]): Promise<ResourceKey[]> {
  const skip = mesh.mtls?.skipValidation === true;
  const names: string[] = [];
  for (const { backend, spec } of tried) {
    if (backend.has(isProvisioner) || (!skip && backend.has(isConfChecker))) {
      names.push(...(await backends.requiredSecrets(mesh.name, spec)));
    }
  }
  return names.map((name) => ({ type: 'Secret', mesh: mesh.name, name }));
}
