import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCertificatesWorld } from './certificates-world.ts';

let world: Awaited<ReturnType<typeof createCertificatesWorld>>;
beforeEach(async () => {
  world = await createCertificatesWorld();
});
afterEach(() => world.close());

const DAY_MS = 86_400_000;
const NO_CSR = { withCsr: false };
/** Told to callers whose certificates nobody waits for at the end of a test. */
const ended = (work: Promise<unknown>) => work.catch((error: unknown) => error);

describe('one place, asked for by many', () => {
  it.each([
    ['with as many from each of them', 1],
    ['although 5,000 of another one came before', 5_000],
  ])('serves each of 19 meshes within its 20 first ones, %s', async (_what, many) => {
    const modest = Array.from({ length: 19 }, (_, i) => `modest-${i}`);
    for (const mesh of ['greedy', ...modest]) await world.putMesh(mesh);
    const open = world.hold();
    const greedy = Array.from({ length: many + 1 }, (_, i) => ended(world.issue('greedy', `dp-${i}`, NO_CSR)));
    await world.queued('greedy', many);
    const waiting = modest.map((mesh) => world.issue(mesh, 'dp'));
    for (const mesh of modest) await world.queued(mesh, 1);
    expect(world.order).toEqual([]);
    open();
    await Promise.all(waiting);
    // The first had its place before the others came.
    const first = world.order.slice(1, 1 + 20).filter((one) => !one.startsWith('greedy/'));
    expect(new Set(first)).toEqual(new Set(modest.map((mesh) => `${mesh}/dp`)));
    await world.certificates.close();
    await Promise.all(greedy);
  });

  it('goes to who needs it most, in whatever order they came', async () => {
    await world.putMesh('default');
    for (const name of ['renewal', 'changed', 'expiring']) await world.issue('default', name);
    const record = await world.store.getCertificate('default', 'expiring');
    if (record === undefined) throw new Error('it was issued');
    const now = Date.now();
    await world.store.recordCertificate({
      ...record,
      notBefore: new Date(now - 95 * DAY_MS),
      notAfter: new Date(now + 5 * DAY_MS),
      renewAt: new Date(now - DAY_MS),
    });
    world.order.length = 0;
    const open = world.hold();
    const holder = world.issue('default', 'holder');
    while ((await world.load('default')).inFlight === 0) await Promise.resolve();
    const all = [];
    for (const [name, more] of [
      ['renewal', { force: true }],
      ['changed', { service: 'web-2' }],
      ['expiring', {}],
      ['first', {}],
    ] as const) {
      all.push(world.issue('default', name, more));
      await world.queued('default', all.length);
    }
    open();
    await Promise.all([holder, ...all]);
    expect(world.order.map((one) => one.replace('default/', ''))).toEqual([
      'holder',
      'first',
      'expiring',
      'changed',
      'renewal',
    ]);
  });
});

describe('a request that waits for its turn', () => {
  it('is given up when its caller is gone, where the key was to be made for that caller alone', async () => {
    await world.putMesh('default');
    const open = world.hold();
    const holder = world.issue('default', 'holder');
    const caller = new AbortController();
    const gone = new Error('the caller is gone');
    const waiting = Array.from({ length: 50 }, (_, i) =>
      ended(world.issue('default', `dp-${i}`, NO_CSR, caller.signal)),
    );
    await world.queued('default', 50);
    caller.abort(gone);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([gone]));
    expect((await world.load('default')).queued).toBe(0);
    open();
    await holder;
    expect(world.order).toEqual(['default/holder']);
  });

  it('goes on without its caller where there is a CSR, so that it need not begin anew when the caller comes back', async () => {
    await world.putMesh('default');
    const open = world.hold();
    const holder = world.issue('default', 'holder');
    const caller = new AbortController();
    const waiting = world.issue('default', 'dp', {}, caller.signal);
    await world.queued('default', 1);
    caller.abort(new Error('the caller is gone'));
    const again = world.issue('default', 'dp');
    open();
    await holder;
    expect((await again).serialNumber).toBe((await waiting).serialNumber);
    expect(world.order).toEqual(['default/holder', 'default/dp']);
  });

  it('is told how many wait, and when to come again, after its deadline; the place is free for others then', async () => {
    await world.putMesh('default');
    await world.putMesh('hasty', '0.3s');
    const open = world.hold();
    const holder = world.issue('default', 'holder');
    while ((await world.load('default')).inFlight === 0) await Promise.resolve();
    const waiting = await Promise.all(Array.from({ length: 20 }, (_, i) => ended(world.issue('hasty', `dp-${i}`))));
    for (const error of waiting)
      expect(error).toMatchObject({ code: 'ERR_ISSUER_RATE_LIMITED', retryAfterMs: expect.any(Number) });
    expect(await world.load('hasty')).toMatchObject({ queued: 0, inFlight: 0 });
    open();
    await holder;
    expect(world.order).toEqual(['default/holder']);
  });

  it('is rejected at once when mesh-ca stops, as are 1,000 others, though the backend hangs', async () => {
    await world.putMesh('default');
    world.hold();
    const all = Array.from({ length: 1_000 }, (_, i) => ended(world.issue('default', `dp-${i}`, NO_CSR)));
    await world.queued('default', 999);
    await world.certificates.close();
    for (const error of await Promise.all(all))
      expect(error).toMatchObject({ code: 'ERR_ISSUER_UNAVAILABLE', message: expect.stringContaining('is stopping') });
    expect(await world.load('default')).toMatchObject({ queued: 0, inFlight: 0 });
    expect(world.order).toEqual([]);
  });
});
