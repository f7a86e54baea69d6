import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConflictError } from '../../src/issuer/errors.ts';
import {
  accepts,
  MESH,
  type RotationWorld,
  restart,
  type SimulatedProxy,
  startRotationWorld,
  startThreeProxies,
  statesOf,
} from './rotation-world.ts';

let world: RotationWorld;
let proxies: SimulatedProxy[];

beforeEach(async () => {
  ({ world, proxies } = await startThreeProxies());
});
afterEach(() => world.close());

describe('a rotation that is rolled back', () => {
  /** Brings it to a state, and lets nobody be made anew after that. */
  const reach: Readonly<Record<string, () => Promise<unknown>>> = {
    trusting: async () => {},
    switching: async () => {
      for (const proxy of proxies) await world.takeBundle(proxy);
      await world.until('switching');
      const [first] = proxies;
      if (first !== undefined) await world.follow(first);
    },
    draining: async () => {
      const [, ...others] = proxies;
      await world.pass(61_000);
      await world.followUntil('draining', others);
    },
    removing: () => world.followUntil('draining', proxies).then(() => world.until('removing')),
    paused: async () => {
      await reach.switching?.();
      await world.put({ to: 'ca-2', paused: true });
    },
  };

  it.each(Object.keys(reach))('while it is %s ends where it began', async (state) => {
    await world.put({ to: 'ca-2' });
    await reach[state]?.();
    expect(await world.rollBack()).toMatchObject({ state: 'rolling-back', from: 'ca-1', to: 'ca-2' });
    const view = await world.followUntil('done', proxies);
    expect(statesOf(view).slice(-2)).toEqual(['rolling-back', 'done']);
    expect(await world.mesh()).toMatchObject({ enabled: 'ca-1', backends: ['ca-1', 'ca-2'] });
    expect(proxies.every((a) => proxies.every((b) => accepts(a, b)))).toBe(true);
    expect(new Set(proxies.map(({ certificate }) => certificate?.backend))).toEqual(new Set(['ca-1']));
  });

  it('waits until everybody trusts the old backend again, after it had left the Mesh', async () => {
    await world.put({ to: 'ca-2' });
    await world.followUntil('draining', proxies);
    await world.until('removing');
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.rollBack();
    await world.pass(5_000);
    const view = await world.view();
    expect(view).toMatchObject({ state: 'rolling-back', phase: 'trusting', blockersTotal: 3 });
    expect(await world.mesh()).toMatchObject({ enabled: 'ca-2', backends: ['ca-1', 'ca-2'] });
  });

  it('can be paused, and changed, but not turned round', async () => {
    await world.put({ to: 'ca-2' });
    await reach.switching?.();
    await world.rollBack();
    expect(await world.put({ to: 'ca-2', paused: true })).toMatchObject({ state: 'paused', step: 'rolling-back' });
    expect(await world.rollBack()).toMatchObject({ state: 'rolling-back' });
    await expect(world.put({ to: 'ca-1' })).rejects.toMatchObject({ code: 'ERR_CONFLICT' });
    await world.followUntil('done', proxies);
  });
});

describe('mesh-ca that is restarted', () => {
  it.each(['trusting', 'switching', 'draining', 'removing'] as const)(
    'while a rotation is %s goes on with it',
    async (state) => {
      await world.put({ to: 'ca-2' });
      if (state !== 'trusting') for (const proxy of proxies) await world.takeBundle(proxy);
      if (state === 'draining' || state === 'removing') await world.followUntil('draining', proxies);
      await world.until(state);
      world = await restart(world);
      expect(world.rotations.plans.of(MESH)).toBeDefined();
      await world.followUntil('done', proxies);
      expect(await world.mesh()).toMatchObject({ enabled: 'ca-2', backends: ['ca-2'] });
    },
  );

  it('makes nobody anew before it has looked around', async () => {
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2', maxPerSecond: 1 });
    await world.until('switching');
    world = await restart(world);
    const plan = world.rotations.plans.of(MESH);
    for (const { name } of proxies) {
      expect(plan?.(world.record(name, 'ca-1'), world.clock.now())).toBeInstanceOf(Date);
    }
  });

  it('stays online for those that it has not heard of yet: the gate does not open', async () => {
    await world.put({ to: 'ca-2' });
    world = await restart(world);
    await world.pass(30_000);
    expect(await world.view()).toMatchObject({ state: 'trusting', blockersTotal: 3 });
  });

  it('has nothing of the old backend left in what is stored when all is done', async () => {
    const stored = async () =>
      (await world.store.getResource({ type: 'MeshRotation', mesh: MESH, name: 'rotation' }))?.body;
    await world.put({ to: 'ca-2' });
    await world.followUntil('draining', proxies);
    await world.until('removing');
    expect(await stored()).toContain('"removed"');
    await world.followUntil('done', proxies);
    expect(await stored()).not.toContain('"removed"');
  });

  it('leaves no timer behind', async () => {
    await world.put({ to: 'ca-2' });
    await world.pass(3_000);
    await world.stop();
    expect(world.clock.pending).toBe(0);
  });
});

describe('a store that fails', () => {
  it('ends no rotation: it waits, tells, and goes on', async () => {
    let isFailing = false;
    world = await restart(world, {
      wrapStore: (store) => ({
        ...store,
        getResource: (key) => (isFailing ? Promise.reject(new Error('disk full')) : store.getResource(key)),
        listHolders: (mesh) => (isFailing ? Promise.reject(new Error('disk full')) : store.listHolders(mesh)),
      }),
    });
    await world.put({ to: 'ca-2' });
    for (const proxy of proxies) await world.takeBundle(proxy);
    isFailing = true;
    await world.pass(20_000);
    expect((await world.mesh()).enabled).toBe('ca-1');
    expect(world.lines.filter(({ message }) => message.startsWith('rotation waits'))).toHaveLength(1);
    isFailing = false;
    await world.followUntil('done', proxies);
  });
});

describe('a CA that cannot make its next generation', () => {
  it('keeps the rotation waiting, which says why', async () => {
    await world.putMesh(['own']);
    const make = world.upstream.generations;
    Object.assign(make, {
      set: () => {
        throw new ConflictError('4 generations are trusted already', { fix: 'drop some' });
      },
    });
    await world.put({ to: 'own' });
    await world.pass(5_000);
    expect(await world.view()).toMatchObject({
      state: 'trusting',
      problem: expect.stringMatching(/4 generations are trusted/),
    });
    Reflect.deleteProperty(make, 'set');
    await world.followUntil('switching', proxies);
    expect((await world.view()).problem).toBeUndefined();
  });
});

describe('a rotation of generations', () => {
  beforeEach(async () => {
    await world.close();
    world = await startRotationWorld();
    await world.putMesh(['own']);
    proxies = [];
    for (const name of ['web-1', 'web-2', 'web-3']) proxies.push(await world.join(name));
  });

  it('goes from one root of a builtin CA to the next, which everybody trusts before it signs', async () => {
    expect(await world.put({ to: 'own' })).toMatchObject({ kind: 'generation', from: 'own', to: 'own' });
    await world.pass(10_000);
    expect(world.upstream.generations.get('own')).toEqual(['own-g1', 'own-g2']);
    expect(await world.view()).toMatchObject({ state: 'trusting', blockersTotal: 3 });
    const view = await world.followUntil('done', proxies);
    expect(statesOf(view)).toEqual(['trusting', 'switching', 'draining', 'removing', 'done']);
    expect(world.upstream.generations.get('own')).toEqual(['own-g2']);
    expect(proxies.every((a) => proxies.every((b) => accepts(a, b)))).toBe(true);
    expect((await world.bundle()).roots).toHaveLength(1);
  });

  it('is rolled back for as long as the old generation is there', async () => {
    await world.put({ to: 'own' });
    for (let second = 0; second < 5; second += 1) {
      await world.pass(1_000);
      for (const proxy of proxies) await world.takeBundle(proxy);
    }
    await world.until('switching');
    await world.rollBack();
    await world.followUntil('done', proxies);
    expect(world.upstream.generations.get('own')).toEqual(['own-g1', 'own-g2']);
    await world.put({ to: 'own' });
    await world.followUntil('removing', proxies);
    await world.pass(2_000);
    expect(world.upstream.generations.get('own')).toEqual(['own-g2']);
    await expect(world.rollBack()).rejects.toMatchObject({
      code: 'ERR_CONFLICT',
      fix: expect.stringContaining('--to own'),
    });
  });

  it('goes on after a restart at each step', async () => {
    await world.put({ to: 'own' });
    for (const state of ['trusting', 'switching', 'draining', 'removing'] as const) {
      await world.followUntil(state, proxies);
      world = await restart(world);
    }
    await world.followUntil('done', proxies);
    expect(world.upstream.generations.get('own')).toEqual(['own-g2']);
  });
});
