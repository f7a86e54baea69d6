import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../src/issuer/errors.ts';
import type { Store } from '../../src/store/store.ts';
import { MESH, type RotationWorld, restart, type SimulatedProxy, startRotationWorld } from './rotation-world.ts';

/** What happens around the moment in which the rotation writes the Mesh that is switched; once. */
interface AtTheSwitch {
  readonly before?: () => Promise<void>;
  readonly after?: () => Promise<void>;
}

let world: RotationWorld;
let proxies: SimulatedProxy[];
let atTheSwitch: AtTheSwitch;
let switches: number;

beforeEach(async () => {
  atTheSwitch = {};
  switches = 0;
  world = await startRotationWorld({ wrapStore });
  await world.putMesh(['ca-1']);
  proxies = [];
  for (const name of ['web-1', 'web-2']) proxies.push(await world.join(name));
  await world.putMesh(['ca-1', 'ca-2']);
});
afterEach(() => world.close());

function wrapStore(store: Store): Store {
  const putResource: Store['putResource'] = async (resource, options) => {
    const isSwitch = resource.type === 'Mesh' && resource.body.includes('"enabledBackend":"ca-2"');
    const { before, after } = atTheSwitch;
    if (isSwitch) {
      atTheSwitch = {};
      await before?.();
    }
    const stored = await store.putResource(resource, options);
    if (isSwitch) {
      switches += 1;
      await after?.();
    }
    return stored;
  };
  return new Proxy(store, { get: (target, key) => (key === 'putResource' ? putResource : Reflect.get(target, key)) });
}

const follow = async () => {
  for (const proxy of proxies) await world.follow(proxy);
};
const switchBack = () => world.putMesh(['ca-1', 'ca-2'], 'ca-1', { skipValidation: true });
/** The store does not answer any more: to a rotation the same as the end of the process. */
const crash = async () => {
  throw new StoreUnavailableError('the store is gone');
};

describe('a Mesh that is switched back by hand', () => {
  it.each([
    ['in the next moment', async () => switchBack()],
    ['and the process ends before it has noticed', async () => switchBack().then(crash)],
  ])('pauses the rotation that has just switched it: %s', async (_, after) => {
    atTheSwitch = { after };
    await world.put({ to: 'ca-2' });
    await follow();
    await world.pass(1_500);
    expect(switches).toBe(1);
    world = await restart(world);
    await world.pass(20_000);
    expect(await world.view()).toMatchObject({
      state: 'paused',
      step: 'switching',
      problem: 'the mesh was changed meanwhile: the old side issues again',
    });
    expect(switches).toBe(1);
    expect((await world.mesh()).enabled).toBe('ca-1');
  });

  it('is left to a roll back, too', async () => {
    atTheSwitch = { after: () => switchBack().then(crash) };
    await world.put({ to: 'ca-2' });
    await follow();
    await world.pass(5_000);
    expect((await world.view()).state).toBe('paused');
    await world.rollBack();
    expect(await world.followUntil('done', proxies)).toMatchObject({ direction: 'back' });
    expect((await world.mesh()).enabled).toBe('ca-1');
  });
});

describe('a Mesh that was not switched back', () => {
  it.each<[string, AtTheSwitch]>([
    ['the store failed before it was written', { before: crash }],
    ['the store failed after it was written', { after: crash }],
    ['somebody else changed something in it at that moment', { before: () => world.putMesh(['ca-1', 'ca-2', 'ca-3']) }],
  ])('lets the rotation go on: %s', async (_, moment) => {
    atTheSwitch = moment;
    await world.put({ to: 'ca-2' });
    await follow();
    await world.pass(1_500);
    world = await restart(world);
    await world.followUntil('done', proxies);
    expect((await world.mesh()).enabled).toBe('ca-2');
    expect((await world.view()).steps.map(({ state }) => state)).not.toContain('paused');
  });

  it('goes on when it is resumed, if it was only changed while nobody could see it', async () => {
    atTheSwitch = {
      async before() {
        await world.putMesh(['ca-1', 'ca-2', 'ca-3']);
        await crash();
      },
    };
    await world.put({ to: 'ca-2' });
    await follow();
    await world.pass(5_000);
    expect((await world.view()).state).toBe('paused');
    await world.put({ to: 'ca-2', paused: false });
    await world.followUntil('done', proxies);
    expect((await world.mesh()).enabled).toBe('ca-2');
  });

  it('lets a generation of a CA be switched as ever', async () => {
    await world.putMesh(['own']);
    await world.pass(1_000);
    await world.put({ to: 'own' });
    await world.followUntil('switching', proxies);
    await world.putMesh(['own', 'ca-1'], 'own');
    await world.followUntil('done', proxies);
    expect((await world.store.getResource({ type: 'Mesh', mesh: '', name: MESH }))?.version).toBeGreaterThan(2);
  });
});
