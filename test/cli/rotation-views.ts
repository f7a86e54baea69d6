import type { BlockerView } from '../../src/cli/blocker-view.ts';
import { type RotationView, rotationSchema } from '../../src/cli/rotation-view.ts';

const START_MS = Date.parse('2026-01-02T03:00:00Z');
/** The instant so many seconds after the rotation of these tests began. */
export const at = (seconds: number): string => new Date(START_MS + seconds * 1000).toISOString();

export const blocker = (dataplane: string, waitingFor = 'trust bundle 7 (has 6)', zone = ''): BlockerView => ({
  dataplane,
  zone,
  waitingFor,
  since: at(3),
});
export const webs = (many: number): BlockerView[] =>
  Array.from({ length: many }, (_, index) => blocker(`web-${index + 1}`));

const OPTIONS = { keepOld: false, maxPerSecond: 50, immediate: false };
const COUNTS = { total: 120, online: 118, trustingNew: 118, usingNew: 118, usingOld: 0 };
const STEPS = ['trusting', 'switching', 'draining', 'removing', 'done'];
const BEGAN = [0, 12, 60, 90, 100];

/** A rotation from ca-1 to vault-1 in a state, after those before it. */
export function rotation(state: string, more: object = {}): RotationView {
  const steps = STEPS.map((step, index) => ({ state: step, at: at(BEGAN[index] ?? 0) }));
  return rotationSchema.parse({
    mesh: 'default',
    state,
    phase: state,
    kind: 'backend',
    direction: 'forward',
    from: 'ca-1',
    to: 'vault-1',
    startedAt: at(0),
    ...(state === 'done' ? { finishedAt: at(100) } : {}),
    options: OPTIONS,
    steps: steps.slice(0, STEPS.indexOf(state) + 1),
    dataplanes: COUNTS,
    blockers: [],
    blockersTotal: 0,
    canSwitch: false,
    canRemoveOld: false,
    ...more,
  });
}

export const TRUSTING = rotation('trusting', {
  dataplanes: { ...COUNTS, trustingNew: 117, usingNew: 0, usingOld: 118 },
  blockers: webs(1),
  blockersTotal: 1,
});
export const SWITCHING = rotation('switching', {
  dataplanes: { ...COUNTS, usingNew: 64, usingOld: 54 },
  blockers: webs(7),
  blockersTotal: 54,
  etaSeconds: 40,
});
export const DRAINING = rotation('draining', {
  blockers: [blocker('old-1', 'its certificate of backend "ca-1" to expire (offline)', 'east')],
  blockersTotal: 2,
});
export const DONE = rotation('done');
const BACK = [
  { state: 'trusting', at: at(0) },
  { state: 'rolling-back', at: at(20) },
];
export const ROLLING_BACK = rotation('rolling-back', {
  direction: 'back',
  phase: 'switching',
  steps: BACK,
  dataplanes: { ...COUNTS, usingNew: 1, usingOld: 117 },
  blockers: webs(1),
  blockersTotal: 1,
});
export const ROLLED_BACK = rotation('done', {
  direction: 'back',
  phase: 'done',
  steps: [...BACK, { state: 'done', at: at(40) }],
  finishedAt: at(40),
});
export const PAUSED = rotation('paused', {
  step: 'switching',
  phase: 'switching',
  steps: [...SWITCHING.steps, { state: 'paused', at: at(20) }],
  dataplanes: SWITCHING.dataplanes,
});
export const STOPPED = { ...PAUSED, problem: 'the mesh was changed meanwhile', blockers: webs(2), blockersTotal: 2 };
export const IDLE = rotation('idle', {
  from: undefined,
  to: undefined,
  startedAt: undefined,
  phase: undefined,
  kind: undefined,
  direction: undefined,
  options: undefined,
  steps: [],
});
