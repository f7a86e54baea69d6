import { afterEach, beforeEach, expect, it } from 'vitest';
import { node, type SdsStreamClient } from './sds-client.ts';
import { createSdsWorld, type SdsWorld } from './sds-world.ts';

/** More than are served in one go. */
const COUNT = 230;

let world: SdsWorld;
beforeEach(async () => {
  world = await createSdsWorld();
});
afterEach(() => world.close());

const holding = async (version: number) =>
  (await world.store.listTrustStatements('default')).filter(({ bundleVersion }) => bundleVersion === version).length;

it('a new bundle goes to all before anybody is listened to who has got it', async () => {
  const client = world.connect();
  const streams: SdsStreamClient[] = [];
  for (let i = 0; i < COUNT; i += 1) {
    streams.push(client.open({ node: node(`default.dp-${i}`, { 'kuma.io/service': 'web' }), names: ['mesh_ca'] }));
  }
  await world.until(async () => (await holding(1)) === COUNT, 'first bundle');
  const served = () => streams.filter(({ received }) => received.length === 2).length;

  await world.putMesh('ca-1', ['ca-1', 'ca-2']);
  await world.until(() => served() === 200, 'first of them');
  await world.quiet();
  expect(served()).toBe(200);
  expect(await holding(2)).toBe(0);

  await world.pass(10);
  await world.until(() => served() === COUNT, 'the others');
  await world.until(async () => {
    await world.pass(10);
    return (await holding(2)) === COUNT;
  }, 'statements of all');
});
