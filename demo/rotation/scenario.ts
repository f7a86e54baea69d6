import { setTimeout as sleep } from 'node:timers/promises';
import type { RotationView } from '../../src/cli/rotation-view.ts';
import type { Demo } from '../demo.ts';
import { type Load, startLoad } from './load.ts';
import type { LoadSummary } from './load-counts.ts';
import { BUILTIN, type ForeignBackends, OTHER_BUILTIN, putMesh } from './mesh.ts';
import { type RotationPlan, type RotationReport, rotate } from './rotate.ts';
import { startWorld, type World } from './world.ts';

export interface RotatedUnderLoad extends RotationReport {
  readonly load: LoadSummary;
}

export interface ScenarioReport {
  readonly rotations: readonly RotatedUnderLoad[];
  /** All requests, also those before, between and after the rotations. */
  readonly load: LoadSummary;
  /** Each of them in the middle of a rotation. */
  readonly restarts: number;
}

export interface ScenarioOptions {
  readonly demo: Demo;
  /** Called some ten times a second while a rotation is under way. */
  show(view: RotationView, load: Load): void;
}

/** How long the load runs before the first change and after the last. */
const CALM_MS = 1_000;

function plans({ vault, provided }: ForeignBackends): readonly RotationPlan[] {
  return [
    { to: vault, lagsBefore: 'trust', restartIn: 'trusting', restartBy: 'SIGKILL' },
    { to: provided, lagsBefore: 'certificate', restartIn: 'switching', restartBy: 'SIGTERM' },
    { to: OTHER_BUILTIN, lagsBefore: 'trust', restartIn: 'switching', restartBy: 'SIGKILL' },
  ];
}

/**
 * Real Envoys under constant load, rotated from a builtin CA to Vault, to an own intermediate, to another builtin CA; in each rotation one of them lags, and
 * mesh-ca is ended and started again. The failures of requests are counted, not thrown.
 * @throws Error when anything else is not as it should be
 */
export async function rotateUnderLoad({ demo, show }: ScenarioOptions): Promise<ScenarioReport> {
  const { world, load } = await startUnderLoad(demo);
  load.nextPart();
  const rotations: RotatedUnderLoad[] = [];
  let from = BUILTIN;
  for (const plan of plans(world.backends)) {
    demo.screen.heading(`${from.name} (${from.type}) -> ${plan.to.name} (${plan.to.type})`);
    const options = { demo, world, from, show: (view: RotationView) => show(view, load) };
    const report = await rotate(plan, options).catch((error: unknown) => {
      if (!demo.signal.aborted) tellLastLines(demo, world);
      throw error;
    });
    rotations.push({ ...report, load: load.nextPart().summary() });
    from = plan.to;
  }
  await sleep(CALM_MS, undefined, { signal: demo.signal });
  await load.stop();
  const [problem] = world.witness.problems();
  if (problem !== undefined) throw new Error(`the data plane that speaks HTTP was told: ${problem}`);
  return { rotations, load: load.total().summary(), restarts: rotations.length };
}

function tellLastLines({ screen }: Demo, { meshCa }: World): void {
  screen.heading("The last lines of mesh-ca's log");
  for (const line of meshCa.lastLines()) screen.plain(line);
}

export interface UncheckedReport {
  /** While the one that lags could not learn of the change. */
  readonly load: LoadSummary;
  /** From when it could, until nothing failed any more. Undefined: something went on failing. */
  readonly recoveredAfterMs: number | undefined;
}

/** For how long the one that lags does not learn of the change. */
const LAG_MS = 2_000;
const RECOVERS_WITHIN_MS = 15_000;

/** The same change by hand, with the validators switched off: add, switch and remove without waiting for anybody. What fails then is what they prevent. */
export async function rotateUnchecked(demo: Demo): Promise<UncheckedReport> {
  const { world, load } = await startUnderLoad(demo);
  const { meshCa, proxies } = world;
  const { screen, signal } = demo;
  screen.heading(`${BUILTIN.name} -> ${OTHER_BUILTIN.name} without waiting for anybody (skipValidation)`);
  proxies.network.freeze();
  load.nextPart();
  const skipValidation = true;
  await putMesh(meshCa, [BUILTIN, OTHER_BUILTIN], OTHER_BUILTIN, { skipValidation });
  await putMesh(meshCa, [OTHER_BUILTIN], OTHER_BUILTIN, { skipValidation });
  await sleep(LAG_MS, undefined, { signal });
  proxies.network.thaw();
  const during = load.nextPart().summary();
  screen.step(`while laggard could not learn of it: ${during.failures} of ${during.requests} requests failed`);

  const thawedMs = performance.now();
  let recoveredAfterMs: number | undefined;
  while (recoveredAfterMs === undefined && performance.now() - thawedMs < RECOVERS_WITHIN_MS) {
    const beganMs = performance.now();
    await sleep(CALM_MS, undefined, { signal });
    if (load.nextPart().failures === 0) recoveredAfterMs = Math.round(beganMs - thawedMs);
  }
  await load.stop();
  return { load: during, recoveredAfterMs };
}

/** The world on its first CA, with load on it, which ends with the demo. */
export async function startUnderLoad(demo: Demo): Promise<{ readonly world: World; readonly load: Load }> {
  const world = await startWorld(demo);
  const load = startLoad(world.proxies.calls);
  demo.closers.add('the load', load.stop);
  await sleep(CALM_MS, undefined, { signal: demo.signal });
  return { world, load };
}
