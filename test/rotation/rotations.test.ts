import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  accepts,
  MESH,
  type RotationWorld,
  type SimulatedProxy,
  startThreeProxies,
  statesOf,
} from './rotation-world.ts';

let world: RotationWorld;
let proxies: SimulatedProxy[];

beforeEach(async () => {
  ({ world, proxies } = await startThreeProxies());
});
afterEach(() => world.close());

describe('a managed rotation', () => {
  it('takes all steps by itself, and ends with the new backend alone', async () => {
    expect(await world.put({ to: 'ca-2' })).toMatchObject({ state: 'trusting', from: 'ca-1', to: 'ca-2' });
    const view = await world.followUntil('done', proxies);
    expect(await world.mesh()).toMatchObject({ enabled: 'ca-2', backends: ['ca-2'] });
    expect(statesOf(view)).toEqual(['trusting', 'switching', 'draining', 'removing', 'done']);
    expect(view).toMatchObject({ blockersTotal: 0, finishedAt: expect.any(Date) });
    expect(view.dataplanes).toMatchObject({ online: 3, usingNew: 3, usingOld: 0 });
    expect(proxies.every((a) => proxies.every((b) => accepts(a, b)))).toBe(true);
  });

  it('waits for each data plane that does not trust the new backend, and names it', async () => {
    await world.put({ to: 'ca-2' });
    const [late, ...others] = proxies;
    for (const proxy of others) await world.follow(proxy);
    await world.pass(10_000);
    const view = await world.view();
    expect(view).toMatchObject({ state: 'trusting', canSwitch: false, blockersTotal: 1 });
    expect(view.blockers).toMatchObject([
      { dataplane: 'web-1', waitingFor: expect.stringMatching(/trust bundle 2 .*has 1/) },
    ]);
    expect((await world.mesh()).enabled).toBe('ca-1');
    if (late !== undefined) await world.takeBundle(late);
    await world.until('switching');
    expect((await world.mesh()).enabled).toBe('ca-2');
  });

  it('keeps the old backend when it is told so', async () => {
    await world.put({ to: 'ca-2', keepOld: true });
    await world.followUntil('done', proxies);
    expect(await world.mesh()).toMatchObject({ enabled: 'ca-2', backends: ['ca-1', 'ca-2'] });
  });

  it('waits for the end of certificates of those who are offline', async () => {
    const [away, ...others] = proxies;
    await world.pass(61_000);
    await world.put({ to: 'ca-2' });
    const view = await world.followUntil('draining', others);
    await world.pass(5_000);
    for (const proxy of others) await world.follow(proxy);
    expect(await world.view()).toMatchObject({
      state: 'draining',
      blockers: [{ dataplane: 'web-1' }],
      canRemoveOld: false,
    });
    expect((await world.view()).etaSeconds).toBeGreaterThan(3_000);
    expect(view.dataplanes.online).toBe(2);
    if (away !== undefined) await world.follow(away);
    await world.followUntil('done', proxies);
  });

  it('waits for nobody who is offline when it is immediate, and spreads nothing', async () => {
    const [, ...others] = proxies;
    await world.pass(61_000);
    for (const proxy of others) await world.follow(proxy);
    await world.put({ to: 'ca-2', immediate: true, maxPerSecond: 1 });
    for (const proxy of others) await world.takeBundle(proxy);
    await world.until('switching');
    await world.pass(100);
    for (const proxy of others) {
      expect(world.rotations.plans.of(MESH)?.(world.record(proxy.name, 'ca-1'), world.clock.now())).toBe('due');
      world.use(proxy, await world.ask(proxy));
    }
    await world.followUntil('done', others);
    expect((await world.mesh()).backends).toEqual(['ca-2']);
  });

  it('still waits for the trust of those who are online when it is immediate', async () => {
    await world.put({ to: 'ca-2', immediate: true });
    await world.pass(30_000);
    expect(await world.view()).toMatchObject({ state: 'trusting', blockersTotal: 3 });
  });

  it('does not go on before the new backend has proven itself, and tells the check that failed', async () => {
    world.upstream.failing.set('ca-2', 'played.token-valid');
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2' });
    await world.pass(5_000);
    const view = await world.view();
    expect(view.blockers).toMatchObject([
      { dataplane: '', waitingFor: expect.stringMatching(/played.token-valid failed: is down/) },
    ]);
    expect(view).toMatchObject({ state: 'trusting', canSwitch: false });
    world.upstream.failing.delete('ca-2');
    await world.until('switching');
  });

  it('asks a backend that fails for its proof less and less often', async () => {
    world.upstream.failing.set('ca-2', 'played.token-valid');
    await world.put({ to: 'ca-2' });
    for (const proxy of proxies) await world.follow(proxy);
    await world.pass(120_000);
    expect(world.upstream.proofs.get('ca-2')).toBeLessThanOrEqual(6);
  });

  it('waits until everybody trusts what a test certificate of the new backend really ended in', async () => {
    const ca = world.upstream.cas.get('ca-2');
    if (ca !== undefined) ca.signing = 'ca-2-hidden';
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2' });
    await world.pass(5_000);
    expect(await world.view()).toMatchObject({ state: 'trusting', blockersTotal: 3 });
    await world.followUntil('done', proxies);
    expect(proxies.every((a) => proxies.every((b) => accepts(a, b)))).toBe(true);
  });

  it('makes at most so many certificates anew in a second', async () => {
    for (let index = 4; index <= 40; index += 1) proxies.push(await world.join(`web-${index}`));
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2', maxPerSecond: 5 });
    await world.until('switching');
    const counts: number[] = [];
    for (let tenth = 0; tenth < 90; tenth += 1) {
      let count = 0;
      for (const proxy of proxies) {
        const record = await world.ask(proxy);
        world.use(proxy, record);
        if (record !== undefined) count += 1;
      }
      counts.push(count);
      await world.pass(100);
    }
    const inASecond = counts.map((_, index) => counts.slice(index, index + 10).reduce((sum, count) => sum + count, 0));
    expect(Math.max(...inASecond)).toBeLessThanOrEqual(5);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(40);
  });

  it('tells how long the turns take', async () => {
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2', maxPerSecond: 1 });
    const view = await world.until('switching');
    expect(view.etaSeconds).toBeGreaterThanOrEqual(1);
    expect(view.etaSeconds).toBeLessThanOrEqual(2);
  });

  it('of a CA that has expired, with all its certificates, needs only that everybody trusts the new one', async () => {
    await world.pass(2 * 3_600_000);
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2' });
    await world.followUntil('done', proxies);
    expect(proxies.map(({ certificate }) => certificate?.backend)).toEqual(['ca-2', 'ca-2', 'ca-2']);
  });
});

describe('a rotation that is paused', () => {
  it('changes nothing and makes nothing anew until it is resumed', async () => {
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2', paused: true });
    await world.pass(30_000);
    expect(await world.view()).toMatchObject({ state: 'paused', step: 'trusting' });
    expect((await world.mesh()).enabled).toBe('ca-1');
    for (const proxy of proxies) await world.follow(proxy);
    await world.put({ to: 'ca-2', paused: false });
    await world.until('switching');
    await world.put({ to: 'ca-2', paused: true });
    for (let round = 0; round < 20; round += 1) {
      for (const proxy of proxies) expect(await world.ask(proxy)).toBeUndefined();
      await world.pass(1_000);
    }
    expect(await world.view()).toMatchObject({ state: 'paused', step: 'switching' });
    await world.put({ to: 'ca-2', paused: false });
    const view = await world.followUntil('done', proxies);
    expect(statesOf(view)).toEqual([
      'trusting',
      'paused',
      'trusting',
      'switching',
      'paused',
      'switching',
      'draining',
      'removing',
      'done',
    ]);
  });

  it('has stopped by itself when somebody else changed who issues, and says why', async () => {
    await world.put({ to: 'ca-2' });
    await world.putMesh(['ca-1', 'ca-2', 'ca-3'], 'ca-3');
    const view = await world.until('paused');
    expect(view.problem).toMatch(/the mesh was changed meanwhile/);
    await world.putMesh(['ca-1', 'ca-2'], 'ca-1');
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2', paused: false });
    await world.followUntil('done', proxies);
  });

  it('takes another rate and other options at once', async () => {
    for (const proxy of proxies) await world.takeBundle(proxy);
    await world.put({ to: 'ca-2', maxPerSecond: 1 });
    await world.until('switching');
    const view = await world.put({ to: 'ca-2', immediate: true, keepOld: true });
    expect(view.options).toEqual({ keepOld: true, maxPerSecond: 1, immediate: true });
    await world.pass(500);
    for (const proxy of proxies) world.use(proxy, await world.ask(proxy));
    expect(proxies.every(({ certificate }) => certificate?.backend === 'ca-2')).toBe(true);
  });
});
