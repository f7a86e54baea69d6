import { afterEach, beforeEach, expect, it } from 'vitest';
import { type RotationWorld, restart, type SimulatedProxy, startRotationWorld } from './rotation-world.ts';

let world: RotationWorld;
let proxies: SimulatedProxy[];

beforeEach(async () => {
  world = await startRotationWorld();
  await world.putMesh(['own']);
  proxies = [await world.join('web-1'), await world.join('web-2')];
});
afterEach(() => world.close());

it.each([
  ['in the same process', false],
  ['after a restart', true],
])(
  'what was left unfinished when an old generation was dropped is finished before the rotation is done: %s',
  async (_, isRestarted) => {
    world.upstream.unfinishedDrops = 1;
    await world.put({ to: 'own' });
    await world.followUntil('removing', proxies);
    expect(world.upstream.copies.get('own')).toBeUndefined();
    if (isRestarted) world = await restart(world);
    await world.followUntil('done', proxies);
    expect(world.upstream.generations.get('own')).toEqual(['own-g2']);
    expect(world.upstream.copies.get('own')).toBe('own-g2');
  },
);

it('a rotation is not done, and says why, for as long as dropping the old generation fails', async () => {
  world.upstream.unfinishedDrops = Number.POSITIVE_INFINITY;
  await world.put({ to: 'own' });
  await world.followUntil('removing', proxies);
  for (let seconds = 0; seconds < 20; seconds += 1) {
    for (const proxy of proxies) await world.follow(proxy);
    await world.pass(1_000);
  }
  expect(await world.view()).toMatchObject({ state: 'removing', problem: expect.stringMatching(/the store is gone$/) });
  // When it was dropped first, and when that was to be finished: then it is the same each time.
  expect(
    world.lines.filter(({ level, message }) => level === 'warn' && message.startsWith('rotation waits')),
  ).toHaveLength(2);
  world.upstream.unfinishedDrops = 0;
  expect((await world.followUntil('done', proxies)).problem).toBeUndefined();
});
