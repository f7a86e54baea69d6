import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PRIORITIES } from '../../../src/issuance/queue/priority.ts';
import { isFull, tooManyError } from '../../../src/issuance/queue/refusals.ts';
import { IssuerTimeoutError, IssuerUnavailableError, RateLimitedError } from '../../../src/issuer/errors.ts';
import { settle } from '../../support/pass-time.ts';
import { createQueueWorld, type Played, timeIsOver } from './queue-world.ts';

const counts = (all: readonly Played[]) => ({
  started: all.filter(({ startedMs }) => startedMs !== undefined).length,
  done: all.filter(({ result }) => result !== undefined).length,
});

const errorOf = ({ result }: Played) => (result !== undefined && 'error' in result ? result.error : undefined);

describe('the queue of an endpoint', () => {
  it('lets so many be in flight as its limit says, and the next when one is done', async () => {
    const { askMany, load } = createQueueWorld();
    const all = askMany(5);
    await settle();
    expect(counts(all)).toEqual({ started: 2, done: 0 });
    expect(load()).toEqual({ inFlight: 2, queued: 3, limit: 2 });
    await all[0]?.succeed();
    expect(all[0]?.result).toEqual({ value: 'signed' });
    expect(counts(all)).toEqual({ started: 3, done: 1 });
  });

  it('is one for all meshes and backends of the endpoint, and another for another endpoint', async () => {
    const { ask, askMany, load } = createQueueWorld();
    askMany(2, { mesh: 'a' });
    const other = ask({ mesh: 'b', name: 'vault-2' });
    const elsewhere = ask({ mesh: 'b', endpoint: 'https://vault-2' });
    await settle();
    expect([other.startedMs, elsewhere.startedMs]).toEqual([undefined, 0]);
    expect(load({ mesh: 'b', name: 'vault-2' })).toEqual({ inFlight: 0, queued: 1, limit: 2 });
  });

  it('does not hold up CAs in this process', async () => {
    const { queues, backendOf } = createQueueWorld();
    const local = { ...backendOf(), local: true };
    const { signal } = new AbortController();
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, i) => queues.run(local, 'renewal', async () => i, { signal })),
    );
    expect(all).toHaveLength(50);
    expect(queues.load(local)).toEqual({ inFlight: 0, queued: 0, limit: undefined });
  });

  it('serves meshes in turn, and the urgent work of a mesh first', async () => {
    const { ask, askMany, started } = createQueueWorld({ start: 1, max: 1, targetDelayMs: 50 });
    const [first] = askMany(1, { mesh: 'z' });
    await settle();
    const names = new Map<Played, string>();
    for (const [name, mesh, priority] of [
      ['a renewal', 'a', 'renewal'],
      ['a first 1', 'a', 'first'],
      ['a first 2', 'a', 'first'],
      ['b first 1', 'b', 'first'],
      ['b first 2', 'b', 'first'],
    ] as const)
      names.set(ask({ mesh, priority }), name);
    await first?.succeed();
    for (let i = 1; i < 6; i += 1) await started[i]?.succeed();
    expect(started.slice(1).map((one) => names.get(one))).toEqual([
      'a first 1',
      'b first 1',
      'a first 2',
      'b first 2',
      'a renewal',
    ]);
  });

  it('keeps some places free of those who hold one, while other meshes come, too', async () => {
    const { ask, askMany, pass } = createQueueWorld({ start: 8, max: 8, targetDelayMs: 50 });
    for (const mesh of ['greedy', 'modest']) {
      const one = ask({ mesh });
      await settle();
      await one.succeed();
    }
    const greedy = askMany(20, { mesh: 'greedy' });
    await settle();
    expect(counts(greedy).started).toBe(6);
    const modest = ask({ mesh: 'modest' });
    await settle();
    expect(modest.startedMs).toBe(0);
    await pass(60_000);
    await modest.succeed();
    // Nobody else came for a minute.
    await greedy[0]?.succeed();
    expect(counts(greedy).started).toBeGreaterThan(8);
  });

  it('tells how long each has waited for its place', async () => {
    const { askMany, waited, pass } = createQueueWorld({ start: 1, max: 1, targetDelayMs: 50 });
    const [first] = askMany(2);
    await pass(250);
    await first?.succeed();
    expect(waited).toEqual([0, 250]);
  });

  it.each([
    ['the backend throttles', new RateLimitedError('slow down'), 4],
    ['a call was not answered in time', new IssuerTimeoutError('no answer'), 4],
    [
      'a connection was not made in time: it is away, not slow',
      new IssuerUnavailableError('no way', { cause: Object.assign(new Error(), { code: 'ETIMEDOUT' }) }),
      8,
    ],
    ['the backend is down', new IssuerUnavailableError('connection refused', { cause: new Error('ECONNREFUSED') }), 8],
    [
      'it was not asked',
      new RateLimitedError('slow down', {
        retryAfterMs: 5000,
        hold: { breaker: 'open', cause: { code: 'ERR_ISSUER_RATE_LIMITED', message: 'slow down' } },
      }),
      8,
    ],
  ])('has so many places when %s', async (_why, error, limit) => {
    const { ask, load } = createQueueWorld({ start: 8, max: 8, targetDelayMs: 50 });
    const one = ask();
    await settle();
    await one.fail(error);
    expect(errorOf(one)).toBe(error);
    expect(load().limit).toBe(limit);
    const next = ask();
    await settle();
    expect(next.startedMs).toBe(0);
  });

  it('has fewer places when the deadline of a request passes while others wait for an answer, too', async () => {
    const { askMany, load, pass } = createQueueWorld({ start: 8, max: 8, targetDelayMs: 50 });
    const [first] = askMany(8);
    await pass(20_000);
    first?.caller.abort(timeIsOver());
    await first?.fail(timeIsOver());
    expect(load().limit).toBe(4);
  });

  it('remembers what an endpoint bears, but not of any number of them', async () => {
    const { ask, load, queues, clock } = createQueueWorld({ start: 8, max: 8, targetDelayMs: 50 });
    const one = ask({ endpoint: 'first' });
    await settle();
    await one.fail(new RateLimitedError('slow down'));
    for (let i = 0; i < 999; i += 1) {
      const other = ask({ endpoint: `other-${i}` });
      await settle();
      await other.succeed();
    }
    expect(load({ endpoint: 'first' }).limit).toBe(4);
    const last = ask({ endpoint: 'last' });
    await settle();
    await last.succeed();
    expect(load({ endpoint: 'first' }).limit).toBe(8);
    await queues.close();
    expect(clock.pending).toBe(0);
  });
});

describe('a request that waits for something else than capacity', () => {
  it('gives its place to others when it says so', async () => {
    const { ask, askMany, load } = createQueueWorld();
    const stuck = askMany(2, { mesh: 'stuck' });
    const well = ask({ mesh: 'well' });
    await settle();
    expect(well.startedMs).toBeUndefined();
    for (const one of stuck) await one.park();
    for (const one of stuck) await one.park();
    expect(well.startedMs).toBe(0);
    expect(load({ mesh: 'stuck' }).inFlight).toBe(2);
    for (const one of stuck) await one.succeed();
    expect(load({ mesh: 'stuck' }).inFlight).toBe(0);
  });

  it('lets only so many others of its backend do so', async () => {
    const { askMany, ask } = createQueueWorld();
    const stuck: Played[] = [];
    for (let i = 0; i < 32; i += 1) {
      const [one] = askMany(1, { mesh: 'stuck' });
      await settle();
      await one?.park();
      if (one !== undefined) stuck.push(one);
    }
    const last = ask({ mesh: 'stuck' });
    const well = ask({ mesh: 'well' });
    await settle();
    expect([last.startedMs, well.startedMs]).toEqual([undefined, 0]);
    await stuck[0]?.succeed();
    expect(last.startedMs).toBe(0);
  });

  it('gives its place to others when nothing of its backend is done for 2 s, though others are', async () => {
    const { ask, askMany, pass, load } = createQueueWorld({ start: 4, max: 4, targetDelayMs: 50 });
    const dead = askMany(10, { mesh: 'dead' });
    await settle();
    const waits = ask({ mesh: 'well' });
    await pass(1_999);
    expect([counts(dead).started, waits.startedMs]).toEqual([4, undefined]);
    await pass(1);
    expect(waits.startedMs).toBe(2_000);
    await pass(500);
    await waits.succeed();
    // The next of them are late, too, though another one came through: its requests take no places any more.
    await pass(1_500);
    expect(counts(dead).started).toBe(10);
    await pass(500);
    const well = askMany(4, { mesh: 'well' });
    await settle();
    // All places but the spare one.
    expect(counts(well).started).toBe(3);
    // Until one of it is done.
    await dead[0]?.succeed();
    const later = askMany(2, { mesh: 'dead' });
    await settle();
    expect(counts(later).started).toBe(1);
    expect(load({ mesh: 'dead' })).toEqual({ inFlight: 10, queued: 1, limit: 4 });
  });

  it('keeps its place while it only stands in a queue: others of its backend are done', async () => {
    const { askMany, ask, pass } = createQueueWorld();
    const [first] = askMany(2);
    await pass(1_000);
    await first?.succeed();
    askMany(1);
    const waits = ask();
    await pass(1_000);
    expect(waits.startedMs).toBeUndefined();
  });

  it('keeps its place for several times what is usual', async () => {
    const { askMany, ask, pass } = createQueueWorld();
    const quick = askMany(2);
    await pass(1_900);
    for (const one of quick) await one.succeed();
    askMany(2);
    const waits = ask();
    await pass(7_500);
    expect(waits.startedMs).toBeUndefined();
    await pass(200);
    expect(waits.startedMs).toBeDefined();
  });

  it('gives its place to others after 10 s, whatever becomes of them', async () => {
    const { askMany, ask, pass } = createQueueWorld({ start: 2, max: 2, targetDelayMs: 50 });
    let [quick, slow] = askMany(2);
    await settle();
    for (let i = 0; i < 9; i += 1) {
      await pass(1_000);
      await quick?.succeed();
      quick = ask();
    }
    expect(slow?.startedMs).toBe(0);
    const waits = ask();
    await pass(999);
    expect(waits.startedMs).toBeUndefined();
    await pass(1);
    expect(waits.startedMs).toBe(10_000);
  });

  it('is not waited for when its caller is gone and its work does not end', async () => {
    const { askMany, ask, pass, load, clock } = createQueueWorld({ start: 1, max: 1, targetDelayMs: 50 });
    const [hangs] = askMany(1);
    const waits = ask();
    await pass(500);
    hangs?.caller.abort(new Error('hung up'));
    await pass(1_500);
    await pass(1_000);
    expect(waits.startedMs).toBe(3_000);
    await waits.succeed();
    expect(load().inFlight).toBe(0);
    await pass(2_000);
    expect(clock.pending).toBe(0);
  });
});

describe('a pause that a backend asks for', () => {
  const slowDown = (retryAfterMs?: number) =>
    new RateLimitedError('slow down', retryAfterMs === undefined ? {} : { retryAfterMs });

  it('is kept to the millisecond, by the backend that asked for it', async () => {
    const { ask, pass } = createQueueWorld();
    const told = ask({ mesh: 'told' });
    await settle();
    await pass(100);
    await told.fail(slowDown(5_000));
    const next = ask({ mesh: 'told' });
    const other = ask({ mesh: 'other' });
    await settle();
    await pass(4_999);
    expect([next.startedMs, other.startedMs]).toEqual([undefined, 100]);
    await pass(1);
    expect(next.startedMs).toBe(5_100);
  });

  it.each([1e18, Number.NaN, -1e18])('is a day at most, whatever it says: %d ms', async (retryAfterMs) => {
    const { ask, pass, clock } = createQueueWorld();
    const told = ask();
    await settle();
    await told.fail(slowDown(retryAfterMs));
    await pass(24 * 3600 * 1000);
    const next = ask();
    await settle();
    expect(next.startedMs).toBe(24 * 3600 * 1000);
    await next.succeed();
    await pass(2_000);
    expect(clock.pending).toBe(0);
  });

  it('holds for all of the endpoint when a second backend is told so meanwhile, until the later time', async () => {
    const { ask, pass } = createQueueWorld({ start: 16, max: 16, targetDelayMs: 50 });
    const [one, two] = [ask({ mesh: 'one' }), ask({ mesh: 'two' })];
    await settle();
    await one.fail(slowDown(5_000));
    await pass(1_000);
    await two.fail(slowDown(2_000));
    const all = ['one', 'two', 'three'].map((mesh) => ask({ mesh }));
    await pass(3_999);
    expect(counts(all).started).toBe(0);
    await pass(1);
    expect(all.map(({ startedMs }) => startedMs)).toEqual([5_000, 5_000, 5_000]);
  });

  it('is of the second backend alone when that of the first is over', async () => {
    const { ask, pass } = createQueueWorld({ start: 8, max: 8, targetDelayMs: 50 });
    const [one, two] = [ask({ mesh: 'one' }), ask({ mesh: 'two' })];
    await settle();
    await one.fail(slowDown(1_000));
    await pass(1_000);
    await two.fail(slowDown(2_000));
    const [first, second] = [ask({ mesh: 'one' }), ask({ mesh: 'two' })];
    await settle();
    expect([first.startedMs, second.startedMs]).toEqual([1_000, undefined]);
  });

  it('of over 30 s is told at once to those who wait and to those who come', async () => {
    const { ask, askMany, pass, clock } = createQueueWorld({ start: 1, max: 1, targetDelayMs: 50 });
    const [told, waits] = askMany(2);
    await settle();
    await told?.fail(slowDown(45_500));
    await pass(10_000);
    const comes = ask();
    await settle();
    expect(waits === undefined ? undefined : errorOf(waits)).toMatchObject({
      code: 'ERR_ISSUER_RATE_LIMITED',
      retryAfterMs: 45_500,
    });
    expect(errorOf(comes)).toMatchObject({
      code: 'ERR_ISSUER_RATE_LIMITED',
      retryAfterMs: 35_500,
      message: expect.stringContaining(new Date(clock.now().getTime() + 35_500).toISOString()),
    });
    await pass(35_499);
    expect(clock.pending).toBe(0);
    await pass(1);
    const later = ask();
    await settle();
    expect(later.startedMs).toBe(45_500);
  });

  it('is told to a request whose time is over before the pause is', async () => {
    const { ask, pass } = createQueueWorld();
    const told = ask();
    await settle();
    await told.fail(slowDown(25_000));
    const waits = ask();
    await pass(20_000);
    waits.caller.abort(timeIsOver());
    await settle();
    expect(errorOf(waits)).toMatchObject({ code: 'ERR_ISSUER_RATE_LIMITED', retryAfterMs: 5_000 });
  });

  it('is kept by a backend whose requests only wait for somebody, too', async () => {
    const { ask, askMany, pass } = createQueueWorld({ start: 4, max: 4, targetDelayMs: 50 });
    const dead = askMany(4, { mesh: 'dead' });
    await pass(1_000);
    const well = ask({ mesh: 'well' });
    await pass(1_000);
    await well.succeed();
    await pass(2_000);
    await dead[0]?.fail(slowDown(3_000));
    const next = ask({ mesh: 'dead' });
    await pass(2_999);
    expect(next.startedMs).toBeUndefined();
    await pass(1);
    expect(next.startedMs).toBe(7_000);
  });
});

describe('a request that waits', () => {
  it('is told how many wait, and when to come again, when its time is over', async () => {
    const { askMany, ask, pass, load } = createQueueWorld();
    const busy = askMany(2, { mesh: 'busy' });
    for (const one of busy) {
      await pass(1_000);
      await one.succeed();
    }
    askMany(9, { mesh: 'busy' });
    const waits = ask();
    await settle();
    const before = load({ mesh: 'busy' });
    waits.caller.abort(timeIsOver());
    await settle();
    // Two in 2 s: seven that wait take 7 s.
    expect(before).toEqual({ inFlight: 2, queued: 7, limit: 2 });
    expect(errorOf(waits)).toMatchObject({
      code: 'ERR_ISSUER_RATE_LIMITED',
      retryAfterMs: 7_000,
      message: expect.stringContaining('7 others wait for 2 places, 0 of them of mesh "default"'),
      fix: expect.stringContaining('dpCert.requestTimeout'),
    });
  });

  it('ends with what its caller says when that hangs up, before and while it waits', async () => {
    const { askMany, ask, load, queues, backendOf } = createQueueWorld();
    askMany(2);
    const waits = ask();
    await settle();
    waits.caller.abort(new Error('hung up'));
    await settle();
    expect(errorOf(waits)).toMatchObject({ message: 'hung up' });
    expect(load().queued).toBe(0);
    await expect(
      queues.run(backendOf(), 'first', async () => 'signed', { signal: AbortSignal.abort(new Error('was gone')) }),
    ).rejects.toThrow('was gone');
  });

  it('is refused when ten thousand of its mesh wait already', async () => {
    const { askMany, ask, load } = createQueueWorld();
    askMany(10_002);
    const [last, other] = [ask(), ask({ mesh: 'other' })];
    await settle();
    expect(errorOf(last)).toMatchObject({
      code: 'ERR_ISSUER_RATE_LIMITED',
      message: expect.stringContaining('10000 others wait'),
    });
    expect([load().queued, load({ mesh: 'other' }).queued]).toEqual([10_000, 1]);
    expect(other.result).toBeUndefined();
  });

  it('is refused when a hundred thousand of all meshes wait', () => {
    const waiting = { mesh: 'm', backend: 'b', ofMesh: 0, inAll: 99_999, limit: 8, perMs: 0.1 };
    expect([isFull(waiting), isFull({ ...waiting, inAll: 100_000 })]).toEqual([false, true]);
    expect(tooManyError({ ...waiting, inAll: 100_000 })).toMatchObject({
      code: 'ERR_ISSUER_RATE_LIMITED',
      retryAfterMs: 60_000,
    });
  });

  it('leaves nothing behind: no listener, no timer, no place', async () => {
    const { ask, askMany, load, clock, pass } = createQueueWorld();
    const all = [...askMany(4), ask({ mesh: 'other' })];
    await settle();
    all[2]?.caller.abort(timeIsOver());
    all[3]?.caller.abort(new Error('hung up'));
    await settle();
    await all[0]?.park();
    for (const one of all) await one.succeed();
    expect(counts(all).done).toBe(5);
    for (const { caller } of all) expect(getEventListeners(caller.signal, 'abort')).toEqual([]);
    expect([load().inFlight, load().queued]).toEqual([0, 0]);
    await pass(2_000);
    expect(clock.pending).toBe(0);
  });

  it('is rejected when the queues are closed; what is under way goes on', async () => {
    const { askMany, ask, queues, clock, load } = createQueueWorld();
    const all = askMany(4);
    await settle();
    await queues.close();
    await queues.close();
    const late = ask();
    await settle();
    for (const one of [...all.slice(2), late])
      expect(errorOf(one)).toMatchObject({ code: 'ERR_ISSUER_UNAVAILABLE', message: 'mesh-ca is stopping' });
    await all[0]?.succeed();
    await all[1]?.fail(new RateLimitedError('slow down', { retryAfterMs: 1_000 }));
    expect(all[0]?.result).toEqual({ value: 'signed' });
    expect([load().inFlight, clock.pending]).toEqual([0, 0]);
  });
});

describe('any order of events', () => {
  const step = fc.record({
    do: fc.constantFrom(
      'ask',
      'ask',
      'ask',
      'succeed',
      'succeed',
      'throttle',
      'pause',
      'refuse',
      'park',
      'hang up',
      'time out',
    ),
    mesh: fc.constantFrom('a', 'b', 'c'),
    name: fc.constantFrom('vault-1', 'vault-2'),
    priority: fc.constantFrom(...PRIORITIES),
    pick: fc.nat(1_000),
    afterMs: fc.oneof({ weight: 6, arbitrary: fc.nat(50) }, fc.nat(3_000)),
  });

  it('keeps to the limit and to pauses, gives each place back once, and forgets nobody', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const { ask, pass, clock, queues, started } = createQueueWorld({ start: 3, max: 6, targetDelayMs: 50 });
        const all: Played[] = [];
        const parked = new Set<Played>();
        const pausedUntil = new Map<string, number>();
        const keyOf = ({ backend }: Played) => `${backend.mesh}/${backend.name}`;
        const underWay = () => started.filter(({ result }) => result === undefined);
        let seen = 0;
        const check = () => {
          for (const one of started.slice(seen))
            expect(one.startedMs ?? 0).toBeGreaterThanOrEqual(pausedUntil.get(keyOf(one)) ?? 0);
          seen = started.length;
          for (const one of all) {
            const { inFlight, queued, limit = 0 } = queues.load(one.backend);
            const own = all.filter((other) => keyOf(other) === keyOf(one) && other.result === undefined);
            expect(inFlight + queued).toBe(own.length);
            expect(limit).toBeLessThanOrEqual(6);
          }
          // Before, none can have been parked for being late.
          if (clock.monotonicMs() < 2_000)
            expect(underWay().filter((one) => !parked.has(one)).length).toBeLessThanOrEqual(6);
        };
        for (const { do: what, pick, afterMs, ...who } of steps) {
          await pass(afterMs);
          check();
          const running = underWay();
          const one = running[pick % Math.max(running.length, 1)];
          const waiting = all.filter(({ result }) => result === undefined);
          const caller = waiting[pick % Math.max(waiting.length, 1)];
          if (what === 'ask') all.push(ask(who));
          else if (what === 'hang up' || what === 'time out') {
            caller?.caller.abort(what === 'hang up' ? new Error('hung up') : timeIsOver());
            await settle();
            if (caller?.startedMs !== undefined) await caller.fail(caller.caller.signal.reason);
          } else if (one === undefined) continue;
          else if (what === 'succeed') await one.succeed();
          else if (what === 'throttle') await one.fail(new RateLimitedError('slow down'));
          else if (what === 'refuse') await one.fail(new IssuerUnavailableError('down'));
          else if (what === 'park') {
            parked.add(one);
            await one.park();
          } else {
            // Set first: what is started from now on has to wait, what is started before it is told has not.
            const untilMs = clock.monotonicMs() + 10 * pick;
            check();
            await one.fail(new RateLimitedError('slow down', { retryAfterMs: 10 * pick }));
            pausedUntil.set(keyOf(one), Math.max(untilMs, pausedUntil.get(keyOf(one)) ?? 0));
          }
          await settle();
          check();
        }
        for (let rounds = 0; all.some(({ result }) => result === undefined); rounds += 1) {
          expect(rounds, 'somebody is never served').toBeLessThan(500);
          for (const one of underWay()) await one.succeed();
          await pass(1_000);
          check();
        }
        for (const one of all) expect(queues.load(one.backend)).toMatchObject({ inFlight: 0, queued: 0 });
        await pass(2_000);
        expect(clock.pending).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});
