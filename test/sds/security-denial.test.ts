import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { node } from './sds-client.ts';
import { createSdsWorld, type SdsWorld } from './sds-world.ts';

const IDENTITY = ['identity_cert'];
const NODE = node('default.web-1', { 'kuma.io/service': 'web' });

let world: SdsWorld;
beforeEach(async () => {
  world = await createSdsWorld();
});
afterEach(() => world.close());

describe('a proxy that starts again and again', () => {
  it('has a backend make ten certificates at once, and then one in ten seconds', async () => {
    for (let i = 0; i < 10; i += 1) {
      const stream = world.connect().open({ node: NODE, names: IDENTITY });
      await stream.next();
      stream.cancel();
      await world.disconnect();
    }
    const late = world.connect().open({ node: NODE, names: IDENTITY });
    await world.until(() => world.lines.some(({ code }) => code === 'ERR_ISSUER_RATE_LIMITED'), 'limit');
    for (let i = 0; i < 5; i += 1) world.connect().open({ node: NODE, names: IDENTITY });
    await world.quiet();
    expect(world.fake.signs).toBe(10);
    await world.pass(15_000);
    await late.next();
    expect(world.fake.signs).toBe(11);
  });
});
