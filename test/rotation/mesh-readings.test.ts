import { afterEach, beforeEach, expect, it } from 'vitest';
import { createMeshReadings } from '../../src/rotation/mesh-readings.ts';
import { MESH, type RotationWorld, restart, type SimulatedProxy, startRotationWorld } from './rotation-world.ts';

let world: RotationWorld;
let proxies: SimulatedProxy[];
let fleetsRead: number;

beforeEach(async () => {
  fleetsRead = 0;
  world = await startRotationWorld({
    wrapFleets: (fleets) => ({
      read(...given) {
        fleetsRead += 1;
        return fleets.read(...given);
      },
    }),
  });
  await world.putMesh(['ca-1']);
  proxies = [];
  for (const name of ['web-1', 'web-2', 'web-3']) proxies.push(await world.join(name));
  await world.putMesh(['ca-1', 'ca-2']);
});
afterEach(() => world.close());

const readings = () => [...createMeshReadings(world)()];

it('tells the bundle of a mesh that is not rotated, and nothing of a rotation', async () => {
  await world.bundle();
  expect(readings()).toEqual([{ mesh: MESH, bundleVersion: 2 }]);
});

it('tells what the last reading of a rotation saw, and reads nothing for it', async () => {
  await world.put({ to: 'ca-2' });
  const [, ...others] = proxies;
  for (const proxy of others) await world.follow(proxy);
  await world.pass(3_000);
  const before = fleetsRead;
  expect(readings()).toEqual([
    {
      mesh: MESH,
      bundleVersion: 2,
      rotation: {
        state: 'trusting',
        seen: { dataplanes: { total: 3, online: 3, trustingNew: 2, usingNew: 0, usingOld: 3 }, blockers: 1 },
      },
    },
  ]);
  expect(fleetsRead).toBe(before);
});

it('counts as the view does while it is rolled back, and tells no rotation once that is done', async () => {
  await world.put({ to: 'ca-2', maxPerSecond: 1 });
  await world.followUntil('switching', proxies);
  for (const proxy of proxies) await world.follow(proxy);
  await world.rollBack();
  const view = await world.followUntil('rolling-back', proxies);
  await world.pass(2_000);
  const [told] = readings();
  expect(told?.rotation).toMatchObject({ state: 'rolling-back', seen: { dataplanes: { trustingNew: 3 } } });
  expect(told?.rotation?.seen?.dataplanes).toEqual((await world.view()).dataplanes);
  expect(view.dataplanes.online).toBe(3);
  await world.followUntil('done', proxies);
  await world.pass(2_000);
  expect(readings()).toEqual([{ mesh: MESH, bundleVersion: expect.any(Number) }]);
});

it('tells the state of a rotation alone after a start, until it has looked around', async () => {
  await world.put({ to: 'ca-2', paused: true });
  world = await restart(world);
  expect(readings()).toEqual([{ mesh: MESH, rotation: { state: 'paused' } }]);
  await world.pass(11_000);
  expect(readings()).toMatchObject([{ mesh: MESH, rotation: { state: 'paused', seen: { blockers: 3 } } }]);
});
