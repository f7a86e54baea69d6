import type { Blocker } from '../issuer/errors.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { CertificateHolder } from '../store/store.ts';
import { backendChange } from './change.ts';
import type { Fleet } from './fleet.ts';
import { createTrustCheck, measure } from './measure.ts';
import type { Readiness } from './readiness.ts';
import {
  type HistoryState,
  type RotationOptions,
  type RotationRecord,
  type RotationStep,
  stateOf,
} from './rotation-record.ts';
import type { Survey } from './survey.ts';

/** `GET /meshes/{mesh}/_rotation` (API.md). */
export interface RotationView {
  readonly mesh: string;
  readonly state: 'idle' | HistoryState;
  /** With `paused`: the state that goes on when it is resumed. */
  readonly step?: HistoryState;
  /** With a rotation: how far it is, whichever way it goes. */
  readonly phase?: RotationStep;
  /** With a rotation: between backends, or between generations of the CA of one of them. */
  readonly kind?: RotationRecord['kind'];
  readonly direction?: RotationRecord['direction'];
  /** Absent: the mesh has no backend, or only one. */
  readonly from?: string;
  readonly to?: string;
  /** With `idle`: which of the two issues now; absent: mTLS is off. */
  readonly enabledBackend?: string;
  readonly startedAt?: Date;
  readonly finishedAt?: Date;
  readonly options?: RotationOptions;
  /** Why it stopped by itself, or what keeps it from going on now. */
  readonly problem?: string;
  /** Until everybody has had his turn, or the last certificate that is waited for has expired. */
  readonly etaSeconds?: number;
  /** Each state that began, in order; when it paused and was rolled back, too. */
  readonly steps: readonly { readonly state: HistoryState; readonly at: Date }[];
  /** "New" is the side of `to`, also while it is rolled back. */
  readonly dataplanes: Pick<Readiness, 'total' | 'online' | 'trustingNew' | 'usingNew' | 'usingOld'>;
  /** At most 100, sorted by data plane. */
  readonly blockers: readonly Blocker[];
  readonly blockersTotal: number;
  /** Every online data plane trusts `to`. */
  readonly canSwitch: boolean;
  /** `to` issues, and nobody holds an unexpired certificate of `from`. */
  readonly canRemoveOld: boolean;
}

const MOST_BLOCKERS = 100;

interface UnderWay {
  readonly mesh: string;
  readonly record: RotationRecord;
  readonly survey: Survey;
  readonly problem: string | undefined;
  /** The last turn of those who are made anew one after the other. */
  readonly turnsEndAt: Date | undefined;
}

/** Data planes as a user counts them: "new" is the side of `to`, also while what is measured is the way back. */
export function dataplanesOf(record: RotationRecord, { readiness, fleet }: Survey): RotationView['dataplanes'] {
  const { total, online, trustingNew, usingNew, usingOld } = readiness;
  return record.direction === 'back'
    ? { total, online, trustingNew: trusting(fleet, record), usingNew: usingOld, usingOld: usingNew }
    : { total, online, trustingNew, usingNew, usingOld };
}

export function viewOfRotation({ mesh, record, survey, problem, turnsEndAt }: UnderWay): RotationView {
  const { facts, blockers } = survey;
  const why = record.paused === undefined ? problem : record.paused.why;
  const eta = etaSeconds(record, survey, turnsEndAt);
  const isOver = record.step === 'done';
  return {
    mesh,
    ...describe(record),
    ...(why !== undefined && !isOver && { problem: why }),
    ...(eta !== undefined && { etaSeconds: eta }),
    dataplanes: dataplanesOf(record, survey),
    blockers: isOver ? [] : blockers.slice(0, MOST_BLOCKERS),
    blockersTotal: isOver ? 0 : blockers.length,
    canSwitch: facts.issuing === 'old' && facts.trusted,
    canRemoveOld: facts.issuing === 'target' && facts.hasOld && facts.moved && facts.drained,
  };
}

function describe(record: RotationRecord) {
  const { kind, direction, from, to, step, options, startedAt, finishedAt, history } = record;
  const state = stateOf(record);
  const { paused: _, ...resumed } = record;
  return {
    ...{ state, phase: step, kind, direction, from, to, startedAt, options, steps: history },
    ...(state === 'paused' && { step: stateOf(resumed) }),
    ...(finishedAt !== undefined && { finishedAt }),
  };
}

/** Those of the online that trust `to`, while what is measured is the way back. */
function trusting(fleet: Fleet, { kind, from, to, toRoots }: RotationRecord): number {
  const roots = kind === 'backend' ? backendChange(fleet.bundle, from, to).toRoots : new Set(toRoots);
  if (roots === undefined) return 0;
  const trusts = createTrustCheck(roots);
  return fleet.members.filter(({ online, heldRoots }) => online && trusts(heldRoots)).length;
}

function etaSeconds(
  record: RotationRecord,
  { fleet, readiness, scene }: Survey,
  turnsEndAt: Date | undefined,
): number | undefined {
  if (record.paused !== undefined) return undefined;
  const nowMs = fleet.readAt.getTime();
  const until = (at: Date) => Math.max(0, Math.ceil((at.getTime() - nowMs) / 1000));
  if (record.step === 'switching' && turnsEndAt !== undefined) return until(turnsEndAt);
  if (record.step !== 'draining' || readiness.notSwitched.length > 0) return undefined;
  const ends = fleet.members.flatMap(({ certificate, online }) =>
    certificate !== undefined && !online && scene.sideOf(certificate) === 'old' ? [certificate.notAfter] : [],
  );
  return ends.length === 0 ? undefined : Math.max(...ends.map(until));
}

/** A mesh that is rotated by hand, step by step, or not at all. */
export function viewOfSteps(mesh: Mesh, fleet: Fleet): RotationView {
  const pair = pairOf(mesh, fleet);
  const enabled = mesh.mtls?.enabledBackend ?? '';
  const change = backendChange(fleet.bundle, pair?.from ?? '', pair?.to ?? enabled);
  const readiness = measure(fleet, change, {});
  const { total, online, trustingNew, usingNew, usingOld, notTrusting, notSwitched, offlineOld } = readiness;
  const isSwitched = pair !== undefined && pair.to === enabled;
  const blockers = pair === undefined ? [] : isSwitched ? [...notSwitched, ...offlineOld] : notTrusting;
  return {
    mesh: mesh.name,
    state: 'idle',
    ...pair,
    ...(enabled !== '' && { enabledBackend: enabled }),
    steps: [],
    dataplanes: { total, online, trustingNew, usingNew, usingOld },
    blockers: blockers.slice(0, MOST_BLOCKERS),
    blockersTotal: blockers.length,
    canSwitch: pair !== undefined && !isSwitched && enabled !== '' && notTrusting.length === 0,
    canRemoveOld: isSwitched && notSwitched.length + offlineOld.length === 0,
  };
}

/**
 * Which two backends a change by hand is about: certificates of another one than the enabled are left, so it was switched; or one stands behind the enabled one,
 * so it was added; or before it, so it is the one to remove.
 */
function pairOf({ mtls }: Mesh, { members }: Fleet): { readonly from: string; readonly to: string } | undefined {
  const enabled = mtls?.enabledBackend ?? '';
  const names = mtls?.backends.map(({ name }) => name) ?? [];
  const others = names.filter((name) => name !== enabled);
  if (enabled === '' || others.length === 0) return undefined;
  const isHeld = (name: string) => members.some(({ certificate }) => isOf(certificate, name));
  const old = others.find(isHeld);
  if (old !== undefined) return { from: old, to: enabled };
  const added = names.slice(names.indexOf(enabled) + 1).at(-1);
  return added === undefined ? { from: others.at(-1) ?? '', to: enabled } : { from: enabled, to: added };
}

function isOf(certificate: Pick<CertificateHolder, 'backend'> | undefined, name: string): boolean {
  return certificate?.backend === name;
}
