import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CaError, IssuerDeniedError, RateLimitedError, StoreUnavailableError } from '../../../src/issuer/errors.ts';
import { silentLog } from '../../../src/runtime/log.ts';
import { createMemoryStore } from '../../../src/store/memory/memory-store.ts';
import { openSqliteStore } from '../../../src/store/sql/sqlite-store.ts';
import type { Store } from '../../../src/store/store.ts';
import { temporaryFolder } from '../../store/temporary-folder.ts';
import {
  BACKEND,
  type GuardWorld,
  type GuardWorldOptions,
  holding,
  START,
  startGuards,
  unavailable,
} from './guard-world.ts';

const passes = (asked: unknown) => !(asked instanceof CaError);
const STATE = { type: 'BackendState', mesh: BACKEND.mesh, name: BACKEND.name };
const MINUTE = 60_000;

async function start(options?: GuardWorldOptions): Promise<GuardWorld> {
  const world = await startGuards(options);
  onTestFinished(() => world.close());
  return world;
}

const stores: readonly { name: string; open: () => GuardWorldOptions }[] = [
  { name: 'the memory store', open: () => ({ store: async (clock) => createMemoryStore({ clock }) }) },
  {
    name: 'the SQLite store',
    open() {
      const path = join(temporaryFolder(), 'mesh-ca.db');
      return { store: (clock) => openSqliteStore({ path, clock, log: silentLog }), reopens: true };
    },
  },
];

for (const { name, open } of stores) {
  describe(`what is known, over a restart with ${name}`, () => {
    it('holds a data plane until the same moment, by the same failure', async () => {
      const world = await start(open());
      world.fail(
        'web-1',
        new RateLimitedError('issuer(vault v1): too many requests', { fix: 'wait', retryAfterMs: 90_000 }),
      );
      const before = world.refused('web-1');
      await world.restart('stopped', 30_000);
      const after = world.refused('web-1');
      expect({ ...after, retryAfterMs: 0 }).toEqual({ ...before, retryAfterMs: 0 });
      expect(after.message).toBe(before.message);
      expect(after.retryAfterMs).toBe(60_000);
      expect(passes(world.ask('web-1', { fingerprint: 'other' }))).toBe(false);
      await world.pass(60_000);
      world.fail('web-1');
      expect(world.refused('web-1').message).toContain('2 failures');
    });

    it('is exact to the millisecond, whatever chance gave', async () => {
      const world = await start(open());
      world.chance = 0.9999999511718748;
      world.fail('web-1');
      const { retryAfterMs = 0 } = world.refused('web-1');
      await world.restart('stopped', retryAfterMs - 1);
      expect(world.refused('web-1').retryAfterMs).toBe(1);
      await world.pass(1);
      expect(passes(world.ask('web-1'))).toBe(true);
    });

    it('is an open breaker with its wait, and a half-open one that tries again', async () => {
      const world = await start(open());
      world.open(() => new IssuerDeniedError('issuer(vault v1): permission denied'));
      await world.pass(5000);
      world.fail('web-1');
      const before = world.guards.state(BACKEND);
      await world.restart('stopped', 4000);
      expect(world.guards.state(BACKEND)).toEqual({ ...before, held: 1 });
      expect(world.refused('web-2')).toMatchObject({ retryAfterMs: 6000, hold: { breaker: 'open' } });
      await world.pass(6000);
      expect(passes(world.ask('web-2'))).toBe(true);
      await world.restart('stopped');
      expect(passes(world.ask('web-3'))).toBe(true);
    });

    it('counts data planes that failed before it', async () => {
      const world = await start(open());
      world.fail('a');
      world.fail('b');
      await world.restart();
      world.fail('c');
      expect(world.guards.state(BACKEND).breaker).toBe('open');
    });

    it('spreads renewals over what is left of a recovery', async () => {
      const world = await start(open());
      world.open();
      world.guards.recovered(BACKEND);
      await world.restart('stopped', 20_000);
      const waits = Array.from({ length: 100 }, (_, i) => {
        const asked = world.ask(`web-${i}`, holding(START));
        return asked instanceof CaError ? (asked.retryAfterMs ?? 0) : 0;
      });
      expect(Math.max(...waits)).toBeLessThanOrEqual(40_000);
      expect(Math.max(...waits)).toBeGreaterThan(20_000);
      expect(Math.min(...waits)).toBeLessThan(20_000);
    });

    it('is at once that of a breaker, and at most a second old otherwise, when the process is killed', async () => {
      const world = await start(open());
      world.fail('a');
      await world.pass(1000);
      await eventually(async () => (await world.stored()) !== undefined);
      world.fail('b');
      await world.restart('killed');
      expect(passes(world.ask('a'))).toBe(false);
      expect(passes(world.ask('b'))).toBe(true);
      for (const dataplane of ['b', 'c']) world.fail(dataplane);
      expect(world.guards.state(BACKEND).breaker).toBe('open');
      await eventually(async () => JSON.parse((await world.stored()) ?? '{}').open !== undefined);
      await world.restart('killed');
      expect(world.guards.state(BACKEND).breaker).toBe('open');
    });

    it('is gone with the mesh, also for one of the same name', async () => {
      const world = await start(open());
      world.open();
      await eventually(async () => (await world.stored()) !== undefined);
      await world.store.deleteMesh(BACKEND.mesh);
      await eventually(async () => world.guards.state(BACKEND).breaker === 'closed');
      await world.store.putResource({ type: 'Mesh', mesh: '', name: BACKEND.mesh, body: '{}' });
      await world.restart();
      expect(passes(world.ask('web-1'))).toBe(true);
      expect(await world.stored()).toBeUndefined();
    });
  });
}

describe('the wall clock', () => {
  const cases: readonly { name: string; skewMs: number; waits: number }[] = [
    {
      name: 'that was set back by a day makes no wait longer than the longest',
      skewMs: -86_400_000,
      waits: 5 * MINUTE,
    },
    { name: 'that was set back a little makes a wait longer by that', skewMs: -2000, waits: 7000 },
    { name: 'that was set forth a little makes a wait shorter by that', skewMs: 2000, waits: 3000 },
  ];
  for (const { name, skewMs, waits } of cases) {
    it(name, async () => {
      const world = await start();
      world.open();
      await world.guards.close();
      world.skewMs = skewMs;
      await world.restart();
      expect(world.refused('web-1').retryAfterMs).toBe(waits);
      expect(world.refused('x-1').retryAfterMs).toBe(waits);
    });
  }

  it('that was set far forth ends all waits', async () => {
    const world = await start();
    world.open();
    await world.guards.close();
    world.skewMs = 3_600_000;
    await world.restart();
    expect(passes(world.ask('web-1'))).toBe(true);
  });

  it('does not matter while the process runs', async () => {
    const world = await start();
    world.open();
    world.skewMs = -86_400_000;
    expect(world.refused('web-1').retryAfterMs).toBe(5000);
    world.skewMs = 86_400_000;
    expect(world.refused('web-1').retryAfterMs).toBe(5000);
  });

  it('set back leaves a wait that the backend asked for as long as it asked', async () => {
    const world = await start();
    world.fail('web-1', new RateLimitedError('slow down', { retryAfterMs: 20 * MINUTE }));
    await world.guards.close();
    world.skewMs = -86_400_000;
    await world.restart();
    expect(world.refused('web-1').retryAfterMs).toBe(20 * MINUTE);
  });
});

describe('the store', () => {
  it('holds a resource that belongs to the mesh', async () => {
    const world = await start();
    world.open();
    await world.pass(1);
    expect(await world.store.getResource(STATE)).toMatchObject({ owned: true, version: 1 });
  });

  it('is written once for all that happens within a second', async () => {
    const world = await start({ limits: { breakerDataplanes: 100 } });
    for (let i = 0; i < 50; i++) world.fail(`web-${i}`);
    await world.pass(999);
    expect(await world.stored()).toBeUndefined();
    await world.pass(1);
    expect(await world.store.getResource(STATE)).toMatchObject({ version: 1 });
  });

  it('that cannot be written harms no request, is complained of once, and is written with the next change', async () => {
    let isBroken = true;
    const world = await start({
      limits: { breakerDataplanes: 100 },
      store: async (clock) => breakable(createMemoryStore({ clock }), () => isBroken),
    });
    for (const dataplane of ['a', 'b', 'c']) {
      world.fail(dataplane);
      await world.pass(1000);
    }
    expect(world.lines).toEqual([
      expect.objectContaining({
        level: 'warn',
        message: 'what is known of a backend was not stored',
        resource: 'BackendState',
      }),
    ]);
    isBroken = false;
    world.fail('d');
    await world.pass(1000);
    expect(JSON.parse((await world.stored()) ?? '').failed).toEqual(['a', 'b', 'c', 'd']);
  });

  it('that cannot be written is written with the next change of any backend', async () => {
    let isBroken = true;
    const world = await start({ store: async (clock) => breakable(createMemoryStore({ clock }), () => isBroken) });
    world.fail('a');
    await world.pass(1000);
    isBroken = false;
    const other = world.ask('a', {}, { ...BACKEND, name: 'v2' });
    if (other instanceof CaError) throw other;
    other.failed(unavailable());
    await world.pass(1000);
    expect(await world.stored('v2')).toBeDefined();
    expect(await world.stored()).toBeDefined();
  });

  it('without the mesh takes nothing, and nothing is known any more', async () => {
    const world = await start();
    await world.store.deleteMesh(BACKEND.mesh);
    world.open();
    await world.pass(1);
    expect(world.guards.state(BACKEND)).toEqual({ breaker: 'closed', held: 0 });
    await world.pass(60_000);
    expect([world.lines.filter(({ message }) => message.includes('stored')), world.clock.pending]).toEqual([[], 0]);
  });

  it('keeps what is known of thousands of data planes short, and of the newest', async () => {
    const world = await start({ limits: { breakerDataplanes: 99_999 } });
    const pad = 'x'.repeat(230);
    for (let i = 0; i < 10_500; i++) world.fail(`${pad}${i}`, new RateLimitedError('slow down'));
    expect(world.guards.state(BACKEND).held).toBe(10_000);
    await world.pass(1000);
    const body = (await world.stored()) ?? '';
    expect(body.length).toBeLessThan(2.5 * 1024 * 1024);
    const { held, causes } = JSON.parse(body);
    expect(causes).toHaveLength(1);
    expect(held.at(-1)[0]).toBe(`${pad}10499`);
    expect(held.length).toBeGreaterThan(6000);
    await world.restart();
    expect(passes(world.ask(`${pad}10499`))).toBe(false);
  });

  const unreadable: readonly { name: string; body: string }[] = [
    { name: 'no JSON', body: 'open' },
    { name: 'something else', body: '{"open":true}' },
    { name: 'a list', body: '[]' },
    {
      name: 'a cause that is not there',
      body: '{"backendHash":"h1","causes":[],"failed":[],"held":[["a","f",1,5,null,0]]}',
    },
    {
      name: 'a code that holds nothing',
      body: '{"backendHash":"h1","causes":[{"code":"ERR_INTERNAL","message":"x"}],"failed":[],"held":[]}',
    },
    {
      name: 'a wait beyond all measure',
      body: '{"backendHash":"h1","causes":[{"code":"ERR_ISSUER_RATE_LIMITED","message":"x"}],"failed":[],"held":[["a","f",1,5,1e12,0]]}',
    },
  ];
  for (const { name, body } of unreadable) {
    it(`that holds ${name} is taken as holding nothing, with one line in the log`, async () => {
      const world = await start();
      await world.store.putResource({ ...STATE, body, owned: true });
      await world.restart();
      expect(world.guards.state(BACKEND)).toEqual({ breaker: 'closed', held: 0 });
      expect(world.lines).toEqual([expect.objectContaining({ level: 'warn' })]);
      await world.pass(1000);
      expect(await world.stored()).toBeUndefined();
    });
  }

  it('that tells of another conf of the backend tells nothing', async () => {
    const world = await start();
    world.open();
    await world.restart();
    const changed = { ...BACKEND, hash: 'h2' };
    expect(passes(world.ask('web-1', {}, changed))).toBe(true);
    await world.pass(1000);
    expect(await world.stored()).toBeUndefined();
  });

  it('is rid of what is long over', async () => {
    const world = await start({ limits: { breakerDataplanes: 100 } });
    world.fail('web-1', new RateLimitedError('slow down'));
    await world.restart('stopped', 10 * MINUTE);
    expect(world.guards.state(BACKEND)).toEqual({ breaker: 'closed', held: 0 });
    await world.pass(1000);
    expect(await world.stored()).toBeUndefined();
  });

  it('keeps no place for the trial of a process that was killed', async () => {
    const world = await start();
    world.open();
    await world.pass(5000);
    expect(passes(world.ask('web-1'))).toBe(true);
    await world.restart('killed');
    const trial = world.ask('web-2');
    if (trial instanceof CaError) throw trial;
    trial.failed(unavailable());
    expect(world.refused('web-3').retryAfterMs).toBe(10_000);
  });
});

/** A store whose writes of states fail while `isBroken`. */
function breakable(store: Store, isBroken: () => boolean): Store {
  return {
    ...store,
    putResource: (resource, options) =>
      isBroken() && resource.type === STATE.type
        ? Promise.reject(new StoreUnavailableError('disk is full'))
        : store.putResource(resource, options),
  };
}

/** A real database answers when it does. */
function eventually(holds: () => Promise<boolean>): Promise<void> {
  return vi.waitFor(async () => expect(await holds()).toBe(true), { timeout: 20_000, interval: 5 });
}
