import { afterEach, describe, expect, it } from 'vitest';
import { createFakeClock, type FakeClock } from '../conformance/issuer-deps.ts';
import { type HttpDataplane, startHttpDataplane } from '../support/http-dataplane.ts';
import { settle, turnUntil } from '../support/pass-time.ts';
import { type Answer, builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

const ca = (name: string) => ({ name, type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } });
const A = ca('ca-1');
const B = ca('ca-2');
const mesh = (enabledBackend: string, backends: object[], more: object = {}) =>
  builtinMesh('default', { enabledBackend, backends, ...more });

let test: TestApp;
let clock: FakeClock;
afterEach(() => turnUntil(clock, test.close()));

/** A mesh on ca-1 with a data plane of each of two services. */
async function start(settings: object = {}): Promise<readonly [HttpDataplane, HttpDataplane]> {
  clock = createFakeClock(new Date('2026-11-22T00:00:00Z'));
  test = await startTestApp(settings as Record<string, unknown>, { clock });
  await test.ok('PUT', '/meshes/default', mesh('ca-1', [A]));
  return [await startHttpDataplane(test, 'default', 'web-1'), await startHttpDataplane(test, 'default', 'db-1')];
}
const put = (body: object, query = '') => test.request('PUT', `/meshes/default${query}`, body);
const rotation = async () => (await test.ok('GET', '/meshes/default/_rotation')).json;
const plain = (value: unknown) => JSON.parse(JSON.stringify(value ?? null));
const refusal = ({ status, json }: Answer) => ({
  status,
  code: json.code,
  fields: plain(json.invalid_parameters)?.map((one: { field: string }) => one.field),
  blockers: plain(json.blockers)?.map((one: { dataplane: string }) => one.dataplane),
  total: json.blockersTotal,
});

describe('a rotation step by step', () => {
  it('goes through when each step waits for its proofs, and refuses each that comes too soon', async () => {
    const [web, db] = await start();
    const first = [web.serialNumber, db.serialNumber];

    // 1: add. Nobody's certificate is made anew, only the bundle changes.
    await test.ok('PUT', '/meshes/default', mesh('ca-1', [A, B]));
    expect([await web.renew(test), await db.renew(test)]).toEqual(['kept', 'kept']);
    expect([web.serialNumber, db.serialNumber]).toEqual(first);

    // 2: switch, too soon: nobody has said that it holds the new bundle; one of them has it.
    await web.takeBundle(test, false);
    const tooSoon = await put(mesh('ca-2', [A, B]));
    expect(refusal(tooSoon)).toEqual({
      status: 400,
      code: 'ERR_ROTATION_NOT_READY',
      fields: ['mtls.enabledBackend'],
      blockers: ['db-1', 'web-1'],
      total: 2,
    });
    expect(plain(tooSoon.json.blockers)[0].waitingFor).toMatch(/^trust bundle \d+ \(has \d+\)$/);
    expect([tooSoon.json.title, tooSoon.json.retry]).toEqual(['Failed to update a resource', true]);
    expect(String(tooSoon.json.fix)).toContain('mesh-ca rotate default');
    expect(await rotation()).toMatchObject({ state: 'idle', from: 'ca-1', to: 'ca-2', canSwitch: false });

    // One says it, the other does not yet.
    await web.takeBundle(test);
    expect(refusal(await put(mesh('ca-2', [A, B])))).toMatchObject({ blockers: ['db-1'], total: 1 });
    await db.takeBundle(test);
    expect(await rotation()).toMatchObject({ canSwitch: true, blockersTotal: 0 });
    await test.ok('PUT', '/meshes/default', mesh('ca-2', [A, B]));

    // 3: remove, too soon: certificates of the old one are in use.
    expect(refusal(await put(mesh('ca-2', [B])))).toEqual({
      status: 400,
      code: 'ERR_ROTATION_NOT_READY',
      fields: ['mtls.backends[0]'],
      blockers: ['db-1', 'web-1'],
      total: 2,
    });
    expect([await web.renew(test), await db.renew(test)]).toEqual(['issued', 'issued']);
    expect([web.backend, db.backend]).toEqual(['ca-2', 'ca-2']);
    expect([web.trusts(db), db.trusts(web)]).toEqual([true, true]);
    // Having been answered a certificate is no use of it; sending it as `current` is.
    expect(refusal(await put(mesh('ca-2', [B])))).toMatchObject({ total: 2 });
    expect([await web.renew(test), await db.renew(test)]).toEqual(['kept', 'kept']);
    expect(await rotation()).toMatchObject({ canRemoveOld: true });
    await test.ok('PUT', '/meshes/default', mesh('ca-2', [B]));

    // Nobody trusts the old root any more.
    await web.takeBundle(test);
    const { json } = await test.ok('GET', '/meshes/default/_trust-bundle');
    expect(json).toEqual({});
    const bundle = (
      await test.request('GET', '/meshes/default/_trust-bundle', undefined, { accept: 'application/json' })
    ).json;
    expect(plain(bundle.roots).map((root: { backends: string[] }) => root.backends)).toEqual([['ca-2']]);
  });

  it('refuses to add and switch at once while anybody is online', async () => {
    await start();
    const answer = await put(mesh('ca-2', [A, B]));
    expect(refusal(answer)).toMatchObject({ code: 'ERR_ROTATION_NOT_READY', fields: ['mtls.enabledBackend'] });
    expect((await test.ok('GET', '/meshes/default')).json.mtls?.enabledBackend).toBe('ca-1');
  });

  it('tells a long poll at once that there is a newer bundle, and that poll is the statement', async () => {
    const [web, db] = await start();
    const path = '/meshes/default/dataplanes/web-1/_trust-bundle?wait=30s';
    const poll = test.request('GET', path, undefined, { 'if-none-match': `"${web.bundleVersion}"` });
    await test.ok('PUT', '/meshes/default', mesh('ca-1', [A, B]));
    const { status, headers } = await poll;
    expect(status).toBe(200);
    await db.takeBundle(test);
    expect(refusal(await put(mesh('ca-2', [A, B])))).toMatchObject({ blockers: ['web-1'] });
    // The next poll says that it holds it, and need not be answered for that.
    const stop = new AbortController();
    const next = fetch(`${test.app.address}${path}`, {
      headers: { 'if-none-match': headers.get('etag') ?? '' },
      signal: stop.signal,
    }).catch(() => undefined);
    await expect.poll(async () => (await rotation()).canSwitch).toBe(true);
    stop.abort();
    await next;
    expect((await put(mesh('ca-2', [A, B]))).status).toBe(200);
  });

  it('waits for an offline one until its certificate has expired, or does not with ?force', async () => {
    const [web, db] = await start({ dpCertExpiration: '1h', dataplaneOnlineFor: '1m' });
    await test.ok('PUT', '/meshes/default', mesh('ca-1', [A, B]));
    clock.advance(61_000);
    await web.live(test);
    // Who is offline does not keep the others from switching.
    expect((await put(mesh('ca-2', [A, B]))).status).toBe(200);
    for (const _ of [1, 2]) await web.renew(test);
    const refused = await put(mesh('ca-2', [B]));
    expect(refusal(refused)).toMatchObject({ fields: ['mtls.backends[0]'], blockers: ['db-1'] });
    expect(plain(refused.json.blockers)[0].waitingFor).toMatch(/expire at 2026-11-22T01:00:.*\(offline\)$/);
    expect(String(refused.json.fix)).toContain('--force');
    expect((await put(mesh('ca-2', [B]), '?force=true&dryRun=true')).status).toBe(200);
    clock.advance(3_600_000);
    await web.renew(test);
    await web.renew(test);
    expect((await put(mesh('ca-2', [B]))).status).toBe(200);
    // It comes back, and gets what it takes.
    await db.takeBundle(test);
    expect(await db.renew(test)).toBe('issued');
    expect([web.trusts(db), db.trusts(web)]).toEqual([true, true]);
  });

  it('?force leaves an offline one behind, never one that is online', async () => {
    const [web] = await start({ dataplaneOnlineFor: '1m' });
    await test.ok('PUT', '/meshes/default', mesh('ca-1', [A, B]));
    clock.advance(61_000);
    await web.live(test);
    expect((await put(mesh('ca-2', [A, B]), '?force=true')).status).toBe(200);
    expect(refusal(await put(mesh('ca-2', [B]), '?force=true'))).toMatchObject({ blockers: ['web-1'], total: 1 });
    for (const _ of [1, 2]) await web.renew(test);
    expect((await put(mesh('ca-2', [B]), '?force=true')).status).toBe(200);
  });

  it.each([
    ['skipValidation', { skipValidation: true }],
    ['mTLS off', { enabledBackend: '' }],
  ])('asks nobody with %s', async (_name, more) => {
    await start();
    expect((await put(mesh('ca-2', [B], more))).status).toBe(200);
  });

  it('recovers from an expired CA: there is nothing left to break', async () => {
    clock = createFakeClock(new Date('2026-11-22T00:00:00Z'));
    test = await startTestApp({ dpCertExpiration: '1h' }, { clock });
    const short = { name: 'ca-1', type: 'builtin', conf: { caCert: { keyType: 'EC-P256', expiration: '2h' } } };
    await test.ok('PUT', '/meshes/default', mesh('ca-1', [short]));
    const [web, db] = [
      await startHttpDataplane(test, 'default', 'web-1'),
      await startHttpDataplane(test, 'default', 'db-1'),
    ];
    clock.advance(3 * 3_600_000);
    await expect(web.renew(test)).rejects.toThrow();
    // One PUT: what is online trusts nobody who is online anyway.
    expect((await put(mesh('ca-2', [B]))).status).toBe(200);
    for (const one of [web, db]) await one.live(test);
    expect([web.backend, db.backend, web.trusts(db), db.trusts(web)]).toEqual(['ca-2', 'ca-2', true, true]);
  });

  it.each([
    ['the next root of the same CA', 'ca-1', []],
    ['another backend', 'ca-2', [B]],
  ])('recovers from an expired CA by a rotation to %s, and waits for nobody', async (_name, to, more) => {
    clock = createFakeClock(new Date('2026-11-22T00:00:00Z'));
    test = await startTestApp({ dpCertExpiration: '1h' }, { clock });
    const short = { name: 'ca-1', type: 'builtin', conf: { caCert: { keyType: 'EC-P256', expiration: '2h' } } };
    await test.ok('PUT', '/meshes/default', mesh('ca-1', [short]));
    const [web, silent] = [
      await startHttpDataplane(test, 'default', 'web-1'),
      await startHttpDataplane(test, 'default', 'db-1'),
    ];
    clock.advance(3 * 3_600_000);
    // It is online, and will not take a bundle for as long as this takes.
    await expect(silent.renew(test)).rejects.toThrow();
    await test.ok('PUT', '/meshes/default', mesh('ca-1', [short, ...more]));
    expect((await test.request('PUT', '/meshes/default/_rotation', { to })).status).toBe(202);
    const state = async () => String((await test.ok('GET', '/meshes/default/_rotation')).json.state);
    for (let turns = 0; turns < 20 && (await state()) === 'trusting'; turns += 1) {
      clock.advance(1000);
      await settle();
    }
    expect(await state()).not.toBe('trusting');
    // A root that joined in this moment waits at its gate for a while.
    await turnUntil(clock, web.live(test));
    expect(web.backend).toBe(to);
  });
});
