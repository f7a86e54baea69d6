import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkChains, checkOldCaRefused, checkOnlyNewCa } from '../../../demo/rotation/checks.ts';
import { startRotation } from '../../../demo/rotation/follow.ts';
import { BUILTIN, MESH, OTHER_BUILTIN, putMesh } from '../../../demo/rotation/mesh.ts';
import { ApiError } from '../../../src/cli/read-problem.ts';
import { type RotationStage, startRotationStage } from './rotation-stage.ts';

const TIMEOUT_MS = 90_000;

let stage: RotationStage;
beforeEach(async () => {
  stage = await startRotationStage();
}, TIMEOUT_MS);
afterEach(() => stage.close());

async function refusalOf(put: Promise<void>): Promise<ApiError> {
  const error = await put.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ApiError)) throw new Error(`the step was not refused: ${error}`);
  return error;
}

describe('real Envoys under load', { timeout: TIMEOUT_MS }, () => {
  it('lose no request while an operator goes step by step, too soon each time first', async () => {
    const { world, signal, until } = stage;
    const { meshCa, proxies } = world;
    proxies.network.freeze();
    await putMesh(meshCa, [BUILTIN, OTHER_BUILTIN], BUILTIN);
    await until('all but one trust the new CA', ({ blockers }) =>
      blockers.every(({ dataplane }) => dataplane === 'laggard'),
    );
    const tooSoon = await refusalOf(putMesh(meshCa, [BUILTIN, OTHER_BUILTIN], OTHER_BUILTIN));
    expect([tooSoon.status, tooSoon.why.join('\n')]).toEqual([400, expect.stringContaining('mtls.enabledBackend')]);
    expect(tooSoon.blockers).toMatchObject({ first: [{ dataplane: 'laggard' }], total: 1 });

    proxies.network.thaw();
    await until('switching is allowed', ({ canSwitch }) => canSwitch);
    proxies.network.freeze();
    await putMesh(meshCa, [BUILTIN, OTHER_BUILTIN], OTHER_BUILTIN);
    const stillUsed = await refusalOf(putMesh(meshCa, [OTHER_BUILTIN], OTHER_BUILTIN));
    expect([stillUsed.status, stillUsed.why.join('\n')]).toEqual([400, expect.stringContaining('mtls.backends[0]')]);
    expect(stillUsed.blockers?.first.map(({ dataplane }) => dataplane)).toContain('laggard');

    proxies.network.thaw();
    await until('removing is allowed', ({ canRemoveOld }) => canRemoveOld);
    await putMesh(meshCa, [OTHER_BUILTIN], OTHER_BUILTIN);
    await until('nobody trusts the old CA', ({ blockers }) => blockers.length === 0);
    await checkOnlyNewCa(world, OTHER_BUILTIN.name, signal);
    await checkOldCaRefused(world, BUILTIN.name, signal);
    await stage.expectNoFailure();
  });

  it('lose no request while a rotation is rolled back in the middle of switching', async () => {
    const { world, signal, until } = stage;
    await putMesh(world.meshCa, [BUILTIN, OTHER_BUILTIN], BUILTIN);
    await startRotation(world.meshCa, { to: OTHER_BUILTIN.name, maxPerSecond: 1 });
    await until('one has switched', ({ state, dataplanes }) => state === 'switching' && dataplanes.usingNew > 0);
    await world.meshCa.api().send('DELETE', `/meshes/${MESH}/_rotation`);
    const { steps, dataplanes } = await until('done', ({ state }) => state === 'done');
    expect(steps.map(({ state }) => state)).toContain('rolling-back');
    expect(dataplanes).toMatchObject({ usingNew: 0, usingOld: 4 });
    await checkChains(world, BUILTIN.name, signal);
    await stage.expectNoFailure();
  });
});
