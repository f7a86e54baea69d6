import { afterEach, describe, expect, it } from 'vitest';
import {
  CA_1,
  CA_2,
  isState,
  meshOf,
  plain,
  REACH,
  ROTATION_PATH,
  RotationWorld,
  statesOf,
} from '../support/rotation-world.ts';

let world: RotationWorld;
afterEach(() => world.close());

describe('a managed rotation', () => {
  it('takes all steps by itself, without a moment in which a connection could break', async () => {
    world = await RotationWorld.start();
    const { status, json } = await world.rotate({ to: 'ca-2' });
    expect([status, json.state, json.from, json.to]).toEqual([202, 'trusting', 'ca-1', 'ca-2']);
    const done = await world.until(isState('done'));
    expect(statesOf(done)).toEqual(['trusting', 'switching', 'draining', 'removing', 'done']);
    expect(done).toMatchObject({
      dataplanes: { total: 5, online: 5, trustingNew: 5, usingNew: 5, usingOld: 0 },
      blockers: [],
      blockersTotal: 0,
      direction: 'forward',
      kind: 'backend',
    });
    expect(await world.backends()).toEqual({ enabled: 'ca-2', all: ['ca-2'] });
    expect(world.planes.map(({ backend }) => backend)).toEqual(Array(5).fill('ca-2'));
    const text = (await world.test.ok('GET', '/metrics')).text;
    expect(text).toMatch(/mesh_ca_certificates_total\{[^}]*ca-2[^}]*issued[^}]*\} 5\n/);
  });

  it('waits for the one that does not say that it trusts the new CA, and names it', async () => {
    world = await RotationWorld.start();
    await world.rotate({ to: 'ca-2' });
    await world.waitInVain(6, ['web-3']);
    const shown = await world.view();
    expect(shown).toMatchObject({ state: 'trusting', blockersTotal: 1, canSwitch: false });
    expect(shown.blockers?.[0]).toMatchObject({ dataplane: 'web-3' });
    expect(String(shown.blockers?.[0]?.waitingFor)).toMatch(/^trust bundle \d+ \(has \d+\)$/);
    expect((await world.backends()).enabled).toBe('ca-1');
    await world.until(isState('done'));
  });

  it('keeps the old backend when asked to', async () => {
    world = await RotationWorld.start();
    await world.rotate({ to: 'ca-2', keepOld: true });
    expect(statesOf(await world.until(isState('done')))).toEqual(['trusting', 'switching', 'done']);
    expect(await world.backends()).toEqual({ enabled: 'ca-2', all: ['ca-1', 'ca-2'] });
  });

  it('waits for an offline one until its certificate has expired', async () => {
    world = await RotationWorld.start({ dataplaneOnlineFor: '10s', dpCertExpiration: '10m' });
    await world.loseOne();
    await world.rotate({ to: 'ca-2' });
    await world.until(isState('draining'));
    await world.waitInVain(5);
    const shown = await world.view();
    expect(shown).toMatchObject({ state: 'draining', blockersTotal: 1, blockers: [{ dataplane: 'db-2' }] });
    expect(Number(shown.etaSeconds)).toBeGreaterThan(60);
    world.clock.advance(600_000);
    for (const plane of world.planes) await plane.live(world.test);
    await world.until(isState('done'));
  });

  it('does not wait for an offline one when it is immediate', async () => {
    world = await RotationWorld.start({ dataplaneOnlineFor: '10s' });
    await world.loseOne();
    await world.rotate({ to: 'ca-2', immediate: true });
    await world.until(isState('done'));
    expect((await world.backends()).all).toEqual(['ca-2']);
  });

  it('makes no more than so many anew in a second', async () => {
    world = await RotationWorld.start();
    await world.rotate({ to: 'ca-2', maxPerSecond: 1 });
    await world.until(isState('switching'));
    const counts: number[] = [];
    await world.until((shown) => {
      counts.push(world.planes.filter(({ backend }) => backend === 'ca-2').length);
      return !isState('switching')(shown);
    });
    const steps = counts.map((count, index) => count - (counts[index - 1] ?? 0));
    expect(Math.max(...steps)).toBeLessThanOrEqual(2);
    expect(counts.length).toBeGreaterThanOrEqual(4);
    await world.until(isState('done'));
  });

  it('does nothing while it is paused, and goes on when it is resumed', async () => {
    world = await RotationWorld.start();
    await world.rotate({ to: 'ca-2', paused: true });
    await world.waitInVain(5);
    expect(await world.view()).toMatchObject({ state: 'paused', step: 'trusting' });
    expect((await world.backends()).enabled).toBe('ca-1');
    await world.rotate({ to: 'ca-2', paused: false });
    await world.until(isState('switching'));
    await world.rotate({ to: 'ca-2', paused: true });
    const before = world.planes.map(({ serialNumber }) => serialNumber);
    await world.waitInVain(5);
    expect(world.planes.map(({ serialNumber }) => serialNumber)).toEqual(before);
    expect(await world.view()).toMatchObject({ state: 'paused', step: 'switching' });
    await world.rotate({ to: 'ca-2', paused: false });
    await world.until(isState('done'));
    expect((await world.backends()).all).toEqual(['ca-2']);
  });

  it.each(REACH)('is rolled back from $state', async ({ reach, state }) => {
    world = await RotationWorld.start({ dataplaneOnlineFor: '10s' });
    await reach(world);
    await world.until(isState(state));
    const { status, json } = await world.test.request('DELETE', ROTATION_PATH);
    expect([status, json.state, json.direction]).toEqual([202, 'rolling-back', 'back']);
    const done = await world.until(isState('done'));
    expect(done).toMatchObject({ direction: 'back', dataplanes: { usingNew: 0 } });
    expect(await world.backends()).toEqual({ enabled: 'ca-1', all: ['ca-1', 'ca-2'] });
    expect(world.planes.map(({ backend }) => backend)).toEqual(world.planes.map(() => 'ca-1'));
  });

  it('renews the root of a builtin CA under the same name', async () => {
    world = await RotationWorld.start();
    const roots = async () => {
      const accept = { accept: 'application/json' };
      const { json } = await world.test.request('GET', '/meshes/default/_trust-bundle', undefined, accept);
      return plain(json.roots)
        .filter((root: { backends: string[] }) => root.backends.includes('ca-1'))
        .map((root: { fingerprintSha256: string }) => root.fingerprintSha256);
    };
    const [before] = await roots();
    expect((await world.rotate({ to: 'ca-1' })).json).toMatchObject({ kind: 'generation', from: 'ca-1', to: 'ca-1' });
    await world.until(isState('done'));
    const after = await roots();
    expect(after).toHaveLength(1);
    expect(after).not.toContain(before);
    expect(await world.backends()).toEqual({ enabled: 'ca-1', all: ['ca-1', 'ca-2'] });
  });

  it('guards what it works on against a PUT of the Mesh, and pauses when that is overridden', async () => {
    world = await RotationWorld.start();
    await world.rotate({ to: 'ca-2', maxPerSecond: 1 });
    await world.until(isState('switching'));
    await world.waitInVain(1);
    const other = { ...CA_2, dpCert: { rotation: { expiration: '2d' } } };
    for (const body of [meshOf('ca-1', [CA_1, CA_2]), meshOf('ca-2', [CA_2]), meshOf('ca-2', [CA_1, other])]) {
      const { status, json } = await world.test.request('PUT', '/meshes/default', body);
      expect([status, json.code]).toEqual([409, 'ERR_CONFLICT']);
      expect(String(json.fix)).toContain('mesh-ca rotate default --rollback');
    }
    await world.test.ok('PUT', '/meshes/default', meshOf('ca-1', [CA_1, CA_2], { skipValidation: true }));
    world.clock.advance(1000);
    const shown = await world.until(isState('paused'));
    expect(String(shown.problem)).toContain('the mesh was changed meanwhile');
  });

  it.each<[string, object, number, string]>([
    ['a backend that is not there', { to: 'ca-9' }, 400, 'ERR_REQUEST_INVALID'],
    ['a rate of 0', { to: 'ca-2', maxPerSecond: 0 }, 400, 'ERR_REQUEST_INVALID'],
  ])('is refused for %s', async (_name, request, status, code) => {
    world = await RotationWorld.start();
    const answer = await world.rotate(request);
    expect([answer.status, answer.json.code]).toEqual([status, code]);
    expect((await world.view()).state).toBe('idle');
  });

  it('is refused while another one is under way, where nothing is to roll back, and where there is no mesh', async () => {
    world = await RotationWorld.start();
    expect((await world.test.request('DELETE', ROTATION_PATH)).status).toBe(404);
    await world.rotate({ to: 'ca-2', paused: true });
    expect((await world.rotate({ to: 'ca-1' })).json.code).toBe('ERR_CONFLICT');
    for (const [method, body] of [['GET'], ['PUT', { to: 'ca-2' }], ['DELETE']] as const)
      expect((await world.test.request(method, '/meshes/none/_rotation', body)).status).toBe(404);
  });
});
