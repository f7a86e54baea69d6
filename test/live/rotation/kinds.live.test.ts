import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkOldCaRefused, checkOnlyNewCa, readRoots } from '../../../demo/rotation/checks.ts';
import { startRotation } from '../../../demo/rotation/follow.ts';
import { BUILTIN, MESH, OTHER_BUILTIN, putMesh } from '../../../demo/rotation/mesh.ts';
import { type RotationStage, startRotationStage } from './rotation-stage.ts';

const TIMEOUT_MS = 90_000;

let stage: RotationStage;
beforeEach(async () => {
  stage = await startRotationStage();
}, TIMEOUT_MS);
afterEach(() => stage.close());

describe('real Envoys under load', { timeout: TIMEOUT_MS }, () => {
  it('lose no request while a builtin CA goes from one generation to the next', async () => {
    const { world, signal, until } = stage;
    const before = await readRoots(world);
    await startRotation(world.meshCa, { to: BUILTIN.name, maxPerSecond: 2 });
    await until('done', ({ state }) => state === 'done');
    const after = await readRoots(world);
    expect([before.length, after.length]).toEqual([1, 1]);
    expect(after).not.toEqual(before);
    await checkOnlyNewCa(world, BUILTIN.name, signal);
    await stage.expectNoFailure();
  });

  it('lose no request while everything is made anew at once because a CA is compromised', async () => {
    const { world, signal, until } = stage;
    await putMesh(world.meshCa, [BUILTIN, OTHER_BUILTIN], BUILTIN);
    const body = { to: OTHER_BUILTIN.name, immediate: true };
    await world.meshCa.api().send('PUT', `/meshes/${MESH}/_rotation`, { body });
    await until('done', ({ state }) => state === 'done');
    await checkOnlyNewCa(world, OTHER_BUILTIN.name, signal);
    await checkOldCaRefused(world, BUILTIN.name, signal);
    await stage.expectNoFailure();
  });
});
