import { type Blocker, CaError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';
import { byDataplane } from './by-dataplane.ts';
import type { Fleet } from './fleet.ts';
import type { Fleets } from './fleets.ts';
import type { Facts } from './machine.ts';
import { measure } from './measure.ts';
import { isNothingLeft } from './nothing-left.ts';
import { readScene } from './read-scene.ts';
import type { Readiness } from './readiness.ts';
import type { RotationRecord } from './rotation-record.ts';
import type { Scene, SceneOptions } from './scene.ts';
import type { ProofState, TargetProof } from './target-proof.ts';

export interface SurveyOptions extends SceneOptions {
  readonly fleets: Pick<Fleets, 'read'>;
  readonly bundles: Pick<TrustBundles, 'learn'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
}

/** Everything that is known of a rotation at one moment. */
export interface Survey {
  readonly scene: Scene;
  readonly fleet: Fleet;
  readonly readiness: Readiness;
  readonly facts: Facts;
  /** Who stands in the way of the present step, or would when it is reached; sorted, all of them. */
  readonly blockers: readonly Blocker[];
}

/**
 * Looks at a rotation that is under way: first at what is changed, then at the data planes, so that what is found there is never older than what it is
 * compared with.
 * @param proof absent: what has to be proven is not asked for, and taken as not proven
 * @throws NotFoundError when the mesh is gone
 */
export async function survey(
  mesh: string,
  record: RotationRecord,
  options: SurveyOptions,
  proof: Pick<TargetProof, 'stateOf'> | undefined,
  call: CallOptions,
): Promise<Survey> {
  const { clock, fleets } = options;
  const atMs = clock.monotonicMs();
  const scene = await readScene(mesh, record, options, call);
  const fleet = await fleets.read(mesh, call);
  const change = scene.changeIn(fleet.bundle);
  const measured = measure(fleet, change, { since: record.stepAt });
  const readiness = isNothingLeft(fleet, change.toRoots) ? { ...measured, notTrusting: [] } : measured;
  const isOpen = scene.issuing === 'old' && (record.step === 'trusting' || record.step === 'switching');
  const proving = isOpen ? await prove(mesh, scene, fleet, readiness, options, proof, call) : [];
  const forgetting = forgetters(scene, fleet, record.stepAt);
  const facts: Facts = {
    at: clock.now(),
    atMs,
    issuing: scene.issuing,
    ...(scene.meshVersion !== undefined && { meshVersion: scene.meshVersion }),
    hasTarget: scene.hasTarget,
    hasOld: scene.hasOld,
    trusted: readiness.notTrusting.length === 0 && proving.length === 0,
    moved: readiness.notSwitched.length === 0,
    drained: readiness.offlineOld.length === 0,
    forgotten: forgetting.length === 0,
  };
  const inTheWay = {
    trusting: [...proving, ...readiness.notTrusting],
    switching: scene.issuing === 'old' ? [...proving, ...readiness.notTrusting] : readiness.notSwitched,
    draining: [...readiness.notSwitched, ...(record.options.immediate ? [] : readiness.offlineOld)],
    removing: forgetting,
    done: [],
  };
  return { scene, fleet, readiness, facts, blockers: inTheWay[record.step].toSorted(byDataplane) };
}

/** What is wrong with the target itself; empty: it may issue as soon as everybody trusts it. */
async function prove(
  mesh: string,
  scene: Scene,
  fleet: Fleet,
  readiness: Readiness,
  { bundles, clock }: SurveyOptions,
  proof: Pick<TargetProof, 'stateOf'> | undefined,
  call: CallOptions,
): Promise<readonly Blocker[]> {
  const blocker = (waitingFor: string): Blocker[] => [{ dataplane: '', zone: '', waitingFor, since: clock.now() }];
  if (scene.obstacle !== undefined) return blocker(scene.obstacle);
  const { unproven } = scene;
  if (unproven === undefined || proof === undefined) return [];
  const state: ProofState = proof.stateOf(unproven, readiness.notTrusting.length === 0);
  if (!state.isProven) return blocker(state.waitingFor);
  const isIn = state.roots.every((root) => fleet.bundle.fingerprints.has(fingerprintSha256(root)));
  if (isIn) return [];
  // Some backends tell their roots only with a certificate.
  try {
    await bundles.learn(mesh, unproven.name, state.roots, call);
  } catch (error) {
    if (call.signal.aborted || !(error instanceof CaError)) throw error;
    return blocker(`the roots of backend "${unproven.name}" in the trust bundle: ${error.message}`);
  }
  return blocker(`the roots of backend "${unproven.name}" in the trust bundle`);
}

/** Who still trusts the old side after it is gone. */
function forgetters(scene: Scene, { bundle, members, readAt }: Fleet, stepAt: Date): readonly Blocker[] {
  const since = stepAt < readAt ? stepAt : readAt;
  if (scene.notDropped(bundle).length > 0) {
    const waitingFor = `a trust bundle without the old roots (version ${bundle.version} has them: certificates under them have not expired)`;
    return [{ dataplane: '', zone: '', waitingFor, since }];
  }
  const old = scene.oldRootsIn(bundle);
  if (old.size === 0) return [];
  return members
    .filter(({ online, heldRoots }) => online && [...old].some((root) => heldRoots.has(root)))
    .map(({ dataplane, heldVersion = 0 }) => ({
      dataplane,
      zone: '',
      waitingFor: `trust bundle ${bundle.version} (has ${heldVersion})`,
      since,
    }));
}
