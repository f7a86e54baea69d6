import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MESH, type RotationWorld, restart, type SimulatedProxy, startThreeProxies } from './rotation-world.ts';

let world: RotationWorld;
let proxies: SimulatedProxy[];

beforeEach(async () => {
  ({ world, proxies } = await startThreeProxies());
});
afterEach(() => world.close());

describe('what is refused', () => {
  it.each([
    [
      'a backend that the mesh does not have',
      { to: 'ca-9' },
      'to',
      /has to be one of the backends in the mesh \("ca-1", "ca-2"\)/,
    ],
    ['no backend', { to: '' }, 'to', /has to be set/],
    ['the enabled one, when it makes no successor of itself', { to: 'ca-1' }, 'to', /is enabled already/],
    ['no rate', { to: 'ca-2', maxPerSecond: 0 }, 'maxPerSecond', /whole number from 1 to 10000/],
    ['half a certificate', { to: 'ca-2', maxPerSecond: 0.5 }, 'maxPerSecond', /whole number/],
    ['too high a rate', { to: 'ca-2', maxPerSecond: 10_001 }, 'maxPerSecond', /whole number/],
  ])('%s', async (_, request, field, message) => {
    await expect(world.put(request)).rejects.toMatchObject({
      code: 'ERR_REQUEST_INVALID',
      violations: expect.arrayContaining([{ field, message: expect.stringMatching(message) }]),
    });
    expect((await world.view()).state).toBe('idle');
  });

  it('a rotation while mTLS is off', async () => {
    await world.putMesh(['ca-1', 'ca-2'], '');
    await expect(world.put({ to: 'ca-2' })).rejects.toMatchObject({ code: 'ERR_REQUEST_INVALID' });
  });

  it('another rotation while one is under way', async () => {
    await world.putMesh(['ca-1', 'ca-2', 'ca-3'], 'ca-1');
    await world.put({ to: 'ca-2' });
    await expect(world.put({ to: 'ca-3' })).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
      message: 'mesh "default" is being rotated from "ca-1" to "ca-2", not to "ca-3"',
    });
  });

  it('another rotation while the root of a CA is renewed', async () => {
    await world.putMesh(['own', 'ca-2']);
    await world.put({ to: 'own' });
    await expect(world.put({ to: 'ca-2' })).rejects.toMatchObject({
      message: 'mesh "default" is being rotated to the next root of "own", not to "ca-2"',
    });
  });

  it('a mesh that there is not', async () => {
    const { signal } = new AbortController();
    for (const ask of ['view', 'rollBack'] as const)
      await expect(world.rotations[ask]('none', { signal })).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
    await expect(world.rotations.put('none', { to: 'ca-2' }, { signal })).rejects.toMatchObject({
      code: 'ERR_NOT_FOUND',
    });
  });

  it('to roll back what is not under way, or done', async () => {
    await expect(world.rollBack()).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
    await world.put({ to: 'ca-2' });
    await world.followUntil('done', proxies);
    await expect(world.rollBack()).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
      fix: expect.stringContaining('--to ca-1'),
    });
  });

  it.each([
    ['another enabled backend', ['ca-1', 'ca-2'], 'ca-2', {}],
    ['no mTLS', ['ca-1', 'ca-2'], '', {}],
    ['without the old backend', ['ca-2'], 'ca-2', {}],
    ['without the new backend', ['ca-1'], 'ca-1', {}],
  ])('a Mesh with %s, unless it skips the validation', async (_, names, enabled, more) => {
    await world.put({ to: 'ca-2' });
    const { mesh: before } = await world.mesh();
    const specs = names.map((name) => before.mtls?.backends.find((spec) => spec.name === name) ?? never());
    const after = { ...before, mtls: { enabledBackend: enabled, skipValidation: false, backends: specs, ...more } };
    expect(() => world.rotations.guard(before, after)).toThrow(/is being rotated from "ca-1" to "ca-2" \(trusting\)/);
    world.rotations.guard(before, { ...after, mtls: { ...after.mtls, skipValidation: true } });
  });

  it('nothing that the rotation does not work on', async () => {
    await world.put({ to: 'ca-2' });
    const { mesh: before } = await world.mesh();
    const { mtls } = before;
    if (mtls === undefined) throw new Error('a mesh without mTLS');
    const third = { ...(mtls.backends[0] ?? never()), name: 'ca-3' };
    world.rotations.guard(before, { ...before, mtls: { ...mtls, backends: [...mtls.backends, third] } });
    world.rotations.guard(before, before);
  });
});

function never(): never {
  throw new Error('no such backend');
}

describe('a mesh that is deleted', () => {
  it('takes its rotation with it, and one of the same name starts without', async () => {
    await world.put({ to: 'ca-2' });
    await world.store.deleteMesh(MESH);
    await world.pass(2_000);
    expect(world.rotations.plans.of(MESH)).toBeUndefined();
    await world.putMesh(['ca-1', 'ca-2']);
    expect((await world.view()).state).toBe('idle');
  });
});

describe('a mesh that is changed by hand', () => {
  it('shows whether the next step can be taken', async () => {
    expect(await world.view()).toMatchObject({
      state: 'idle',
      from: 'ca-1',
      to: 'ca-2',
      canSwitch: false,
      canRemoveOld: false,
    });
    for (const proxy of proxies) await world.takeBundle(proxy);
    expect(await world.view()).toMatchObject({ canSwitch: true, canRemoveOld: false, blockersTotal: 0 });
    await world.putMesh(['ca-1', 'ca-2'], 'ca-2');
    expect(await world.view()).toMatchObject({
      from: 'ca-1',
      to: 'ca-2',
      canSwitch: false,
      canRemoveOld: false,
      blockersTotal: 3,
    });
    for (const proxy of proxies) await world.follow(proxy);
    expect(await world.view()).toMatchObject({ from: 'ca-1', to: 'ca-2', canRemoveOld: true });
    await world.putMesh(['ca-2'], 'ca-2');
    const view = await world.view();
    expect(view).toMatchObject({ canSwitch: false, canRemoveOld: false, dataplanes: { online: 3, usingNew: 3 } });
    expect(view.from).toBeUndefined();
  });

  it('after a rotation is idle again', async () => {
    await world.put({ to: 'ca-2' });
    await world.followUntil('done', proxies);
    await world.putMesh(['ca-2', 'ca-3'], 'ca-2');
    expect(await world.view()).toMatchObject({ state: 'idle', from: 'ca-2', to: 'ca-3' });
    await expect(world.rollBack()).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
  });
});

describe('the renewal of builtin roots', () => {
  const HOUR_MS = 3_600_000;
  const start = async () => {
    world = await restart(world, { builtinRootRenewal: true });
    await world.putMesh(['own']);
    const [root] = (await world.bundle()).roots;
    if (root === undefined) throw new Error('a bundle without a root');
    const lifeMs = root.certificate.notAfter.getTime() - root.certificate.notBefore.getTime();
    return new Date(root.certificate.notAfter.getTime() - lifeMs * 0.2);
  };

  it('starts in the last fifth of a root by itself', async () => {
    const dueAt = await start();
    world.clock.setTo(new Date(dueAt.getTime() - HOUR_MS - 60_000));
    await world.pass(1_000);
    expect((await world.view()).state).toBe('idle');
    await world.pass(2 * HOUR_MS);
    expect(await world.view()).toMatchObject({ kind: 'generation', to: 'own' });
    expect(world.lines.map(({ message }) => message)).toContain(
      'root of builtin CA is near its end: its successor is made',
    );
  });

  it.each([
    ['a mesh that was there at the start', true],
    ['a mesh that was made since', false],
  ])('comes in time for a root that lives for minutes: %s', async (_, isBefore) => {
    world.upstream.generations.set('own', ['brief-g1']);
    if (isBefore) await world.putMesh(['own']);
    world = await restart(world, { builtinRootRenewal: true });
    await world.pass(1_000);
    if (!isBefore) await world.putMesh(['own']);
    await world.pass(3.9 * 60_000);
    expect((await world.view()).state).toBe('idle');
    await world.pass(36_000);
    expect(await world.view()).toMatchObject({ kind: 'generation', to: 'own' });
  });
});
