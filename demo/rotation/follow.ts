import { setTimeout as sleep } from 'node:timers/promises';
import { type RotationView, rotationSchema } from '../../src/cli/rotation-view.ts';
import { MESH } from './mesh.ts';
import type { RestartableMeshCa } from './restartable-mesh-ca.ts';

const PATH = `/meshes/${MESH}/_rotation`;
const ASK_EVERY_MS = 100;

export interface RotationWish {
  readonly to: string;
  readonly maxPerSecond: number;
}

export async function startRotation(meshCa: RestartableMeshCa, wish: RotationWish): Promise<void> {
  await meshCa.api().send('PUT', PATH, { body: wish });
}

export function readRotation(meshCa: RestartableMeshCa): Promise<RotationView> {
  return meshCa.api().call(rotationSchema, 'GET', PATH);
}

/**
 * Asks for the rotation until it is as wanted; each view is shown.
 * @throws Error with the last view when it is not in time
 */
export async function followUntil(
  meshCa: RestartableMeshCa,
  what: string,
  isSo: (view: RotationView) => boolean,
  { withinMs, signal, show }: FollowOptions,
): Promise<RotationView> {
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    const view = await readRotation(meshCa);
    show(view);
    if (isSo(view)) return view;
    if (performance.now() > deadlineMs) {
      throw new Error(`${what}: not within ${withinMs / 1000} s; the rotation is ${JSON.stringify(view)}`);
    }
    await sleep(ASK_EVERY_MS, undefined, { signal });
  }
}

export interface FollowOptions {
  readonly withinMs: number;
  readonly signal: AbortSignal;
  show(view: RotationView): void;
}

/** Who is waited for, by name. */
export function waitedFor({ blockers }: RotationView): readonly string[] {
  return blockers.map(({ dataplane }) => dataplane);
}

/** Seconds in each state that it went through, in order. */
export function secondsPerState({ steps, finishedAt }: RotationView): readonly (readonly [string, number])[] {
  const ends = [...steps.slice(1).map(({ at }) => at), finishedAt];
  return steps.flatMap(({ state, at }, index) => {
    const end = ends[index];
    return end === undefined || state === 'done' ? [] : [[state, (Date.parse(end) - Date.parse(at)) / 1000] as const];
  });
}
