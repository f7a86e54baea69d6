import type { RotationView } from '../../src/cli/rotation-view.ts';
import type { Demo } from '../demo.ts';
import { checkOldCaRefused, checkOnlyNewCa } from './checks.ts';
import { followUntil, secondsPerState, startRotation, waitedFor } from './follow.ts';
import { type Backend, MESH, putMesh } from './mesh.ts';
import type { ProxyName } from './proxies.ts';
import type { World } from './world.ts';

/** One managed rotation, and what is done to it on its way. */
export interface RotationPlan {
  readonly to: Backend;
  /** When the network of the one that lags stands still: before it can learn of the new CA, or after that and before it can have a certificate of it. */
  readonly lagsBefore: 'trust' | 'certificate';
  /** The state in which mesh-ca is ended, and the signal. */
  readonly restartIn: 'trusting' | 'switching';
  readonly restartBy: 'SIGTERM' | 'SIGKILL';
}

export interface RotationReport {
  readonly from: string;
  readonly to: string;
  /** In each state that it went through. */
  readonly seconds: readonly (readonly [state: string, seconds: number])[];
  /** What the one that lags was waited for, in mesh-ca's words. */
  readonly waitedFor: string;
  /** How long mesh-ca did not answer. */
  readonly awayMs: number;
  /** By how many the count of certificates grew. */
  readonly certificates: number;
}

export interface RotateOptions {
  readonly demo: Demo;
  readonly world: World;
  readonly from: Backend;
  show(view: RotationView): void;
}

/** Slow enough that a rotation can be met while it makes certificates anew, one after the other. */
const MAX_PER_SECOND = 2;
const LAGGARD: ProxyName = 'laggard';
/** For how long the rotation is seen to wait. */
const WAITS_MS = 1_200;
const STATE_WITHIN_MS = 30_000;

/**
 * Rotates the mesh to another backend while one proxy lags and mesh-ca is ended and started again.
 * @throws Error when the rotation does not wait for the one that lags, does not go on after the restart, or leaves something of the old CA
 */
export async function rotate(plan: RotationPlan, options: RotateOptions): Promise<RotationReport> {
  const { demo, world, from } = options;
  const { meshCa, proxies } = world;
  const { screen, signal } = demo;
  const { to, lagsBefore } = plan;
  const until = (what: string, isSo: (view: RotationView) => boolean) =>
    followUntil(meshCa, what, isSo, { withinMs: STATE_WITHIN_MS, signal, show: options.show });
  const issuedBefore = await meshCa.issued();

  if (lagsBefore === 'trust') proxies.network.freeze();
  screen.command(`mesh-ca apply -f -   # backend ${to.name} (${to.type}) joins the list, ${from.name} stays enabled`);
  await putMesh(meshCa, [from, to], from);
  if (lagsBefore === 'certificate') {
    await until('all data planes trust the new CA', ({ canSwitch }) => canSwitch);
    proxies.network.freeze();
  }
  screen.command(`mesh-ca rotate ${MESH} --to ${to.name} --max-per-second ${MAX_PER_SECOND}`);
  await startRotation(meshCa, { to: to.name, maxPerSecond: MAX_PER_SECOND });

  const waitsIn = lagsBefore === 'trust' ? 'trusting' : 'switching';
  const waitsForLaggard = (view: RotationView) => view.state === waitsIn && waitedFor(view).join() === LAGGARD;
  const waiting = await until(`${waitsIn} waits for ${LAGGARD} alone`, waitsForLaggard);
  const [blocker] = waiting.blockers;
  screen.step(`${waitsIn}: everybody is ready but ${LAGGARD}, whose network stands still: ${blocker?.waitingFor}`);

  let awayMs = 0;
  const restart = async () => {
    awayMs = await meshCa.restart(plan.restartBy);
    screen.step(
      `mesh-ca: ended by ${plan.restartBy} while ${plan.restartIn}, started again, answers after ${awayMs} ms`,
    );
  };
  if (plan.restartIn === waitsIn) {
    await restart();
    await until(`${waitsIn} waits for ${LAGGARD} after the restart`, waitsForLaggard);
  }
  await staysSo(options, (view) => view.state === waitsIn && waitedFor(view).includes(LAGGARD));
  proxies.network.thaw();
  screen.step(`${LAGGARD}: its network moves again`);
  if (plan.restartIn !== waitsIn) {
    await until(plan.restartIn, ({ state }) => state === plan.restartIn);
    await restart();
  }

  const done = await until('done', ({ state }) => state === 'done');
  await checkOnlyNewCa(world, to.name, signal);
  const refusal = await checkOldCaRefused(world, from.name, signal);
  screen.step(`done: all proxies show and trust ${to.name} alone
a client with a certificate of ${from.name} is refused: ${refusal.asClient}
a server with one, too: ${refusal.asServer}`);
  return {
    ...{ from: from.name, to: to.name, seconds: secondsPerState(done), awayMs },
    waitedFor: `${waitsIn}: ${blocker?.waitingFor}`,
    certificates: (await meshCa.issued()) - issuedBefore,
  };
}

/** The rotation does not go on without the one that lags, however long that takes. */
async function staysSo({ demo, world, show }: RotateOptions, isSo: (view: RotationView) => boolean): Promise<void> {
  const overMs = performance.now() + WAITS_MS;
  const isOver = (view: RotationView) => {
    if (!isSo(view)) throw new Error(`the rotation did not wait for ${LAGGARD}: ${JSON.stringify(view)}`);
    return performance.now() > overMs;
  };
  const options = { withinMs: WAITS_MS + STATE_WITHIN_MS, signal: demo.signal, show };
  await followUntil(world.meshCa, 'the rotation waits', isOver, options);
}
