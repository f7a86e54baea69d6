import { afterEach, beforeEach, expect, it } from 'vitest';
import { isState, REACH, ROTATION_PATH, RotationWorld } from '../support/rotation-world.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';

let folder: TempDir;
let world: RotationWorld;
beforeEach(async () => {
  folder = await makeTempDir();
  world = await RotationWorld.start({
    store: `sqlite:${folder.path}/mesh-ca.db`,
    storeKeyFile: `${folder.path}/store.key`,
    dataplaneOnlineFor: '10s',
  });
});
afterEach(async () => {
  await world.close();
  await folder.remove();
});

/** Some states are a turn that another one takes. */
const TURNS: Readonly<Record<string, (world: RotationWorld) => Promise<unknown>>> = {
  'rolling-back': ({ test }) => test.ok('DELETE', ROTATION_PATH),
  paused: (one) => one.rotate({ to: 'ca-2', paused: true }),
};
const CASES = [
  ...REACH.map(({ state, reach }) => ({ state, reach })),
  ...Object.keys(TURNS).map((state) => ({ state, reach: REACH.find((one) => one.state === 'switching')?.reach })),
];

it.each(CASES)('a restart of mesh-ca in $state loses nothing', async ({ state, reach }) => {
  await reach?.(world);
  await TURNS[state]?.(world);
  const before = await world.until(isState(state));
  await world.restart();
  const { from, to, startedAt, options, steps } = before;
  expect(await world.view()).toMatchObject({ state, from, to, startedAt, options, steps });
  // All ask at once, and no more are made anew than have their turn in this second.
  const outcomes: string[] = [];
  for (const plane of world.planes) outcomes.push(await plane.renew(world.test));
  expect(outcomes.filter((outcome) => outcome !== 'kept').length).toBeLessThanOrEqual(
    state === 'switching' || state === 'rolling-back' ? 1 : 0,
  );
  if (state === 'paused') await world.rotate({ to: 'ca-2', paused: false });
  // The one who is offline there holds a certificate for 30 days.
  if (state === 'draining') await world.rotate({ to: 'ca-2', immediate: true });
  await world.until(isState('done'));
  expect((await world.backends()).enabled).toBe(state === 'rolling-back' ? 'ca-1' : 'ca-2');
});
