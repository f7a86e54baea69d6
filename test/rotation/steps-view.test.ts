import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MESH, type RotationWorld, type SimulatedProxy, startThreeProxies } from './rotation-world.ts';

let world: RotationWorld;
let proxies: SimulatedProxy[];

beforeEach(async () => {
  ({ world, proxies } = await startThreeProxies());
});
afterEach(() => world.close());

describe('a mesh that is changed by hand', () => {
  it('shows which of its backends issues', async () => {
    expect(await world.view()).toMatchObject({ from: 'ca-1', to: 'ca-2', enabledBackend: 'ca-1' });
    await world.putMesh(['ca-1', 'ca-2'], 'ca-2');
    expect(await world.view()).toMatchObject({ from: 'ca-1', to: 'ca-2', enabledBackend: 'ca-2' });
    await world.putMesh(['ca-2'], 'ca-2');
    expect(await world.view()).toMatchObject({ state: 'idle', enabledBackend: 'ca-2' });
    await world.putMesh(['ca-2'], '');
    expect((await world.view()).enabledBackend).toBeUndefined();
  });

  it('shows since when each data plane is waited for, not since the last look', async () => {
    const { version } = await world.bundle();
    const stored = await world.store.getTrustBundleVersion(MESH, version);
    await world.pass(7_000);
    const trusting = await world.view();
    expect(trusting.blockers).toHaveLength(3);
    for (const { since } of trusting.blockers) expect(since).toEqual(stored?.createdAt);
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.putMesh(['ca-1', 'ca-2'], 'ca-2');
    await world.pass(7_000);
    const switching = await world.view();
    expect(switching.blockers.map(({ since }) => since)).toEqual(proxies.map((one) => one.certificate?.issuedAt));
  });
});
