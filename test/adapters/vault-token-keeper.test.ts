import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Failure, Outcome } from '../../adapters/vault/failure.ts';
import type { LookedUpToken } from '../../adapters/vault/token-life.ts';
import { type KeeperWorld, startKeeper } from '../fakes/token-world.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

const ok = <T>(value: T): Outcome<T> => ({ ok: true, value });
const fail = (status: number, more: Partial<Failure> = {}): Outcome<never> => ({
  ok: false,
  failure: { kind: status === 403 ? 'denied' : 'server', message: `status ${status}`, fix: 'none', status, ...more },
});
const told = (more: Partial<LookedUpToken> = {}): LookedUpToken => ({
  ...{ ttlSeconds: 3600, renewable: true, type: 'service', neverExpires: false, grantedSeconds: 3600 },
  ...more,
});
const login = (ttlSeconds: number, more: { renewable?: boolean; type?: 'service' | 'batch' } = {}) => ({
  ttlSeconds,
  renewable: more.renewable ?? true,
  type: more.type ?? ('service' as const),
});

/** How many of each call were made. */
const tally = (world: KeeperWorld) => {
  const counts: Record<string, number> = {};
  for (const { what } of world.calls) counts[what] = (counts[what] ?? 0) + 1;
  return counts;
};

describe('a vault token that was given to us', () => {
  it('costs nothing before the first call: no reading, no timer, no listener', async () => {
    const world = startKeeper();
    await world.pass(DAY_MS);
    expect([world.calls, world.clock.pending, world.followers()]).toEqual([[], 0, 0]);
  });

  it.each([
    ['is renewed well before its end, for as long as that lengthens its life', told(), { renew: [13, 20] }],
    ['with a period is renewed for ever', told({ ttlSeconds: 1800, grantedSeconds: 1800 }), { renew: [26, 40] }],
    ['of root never expires', told({ ttlSeconds: 0, neverExpires: true, renewable: false }), {}],
    ['of a life in years is left alone today', told({ ttlSeconds: 3e9, grantedSeconds: 3e9 }), {}],
  ] as const)('%s', async (_what, life, expected: { renew?: readonly [number, number] }) => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => ok(life);
    world.renew = () => ok(login(life.ttlSeconds));
    await world.keeper.current(world.signal);
    await world.pass(10 * HOUR_MS);
    const { obtain, 'look-up': lookUps, renew = 0, ...others } = tally(world);
    expect([obtain, lookUps, others]).toEqual([1, 1, {}]);
    const [least, most] = expected.renew ?? [0, 0];
    expect(renew).toBeGreaterThanOrEqual(least);
    expect(renew).toBeLessThanOrEqual(most);
    expect(world.warnings).toEqual([]);
  });

  it('is still good when it may not look itself up: nothing is scheduled', async () => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => fail(403);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t1'));
    await world.pass(DAY_MS);
    expect(tally(world)).toEqual({ obtain: 1, 'look-up': 1 });
    expect([world.clock.pending, world.keeper.status().expiresAt]).toEqual([0, 'unknown']);
  });

  it('survives an outage of Vault: renewal is tried ever less often, and once more before the end', async () => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => ok(told());
    world.renew = () => fail(503);
    await world.keeper.current(world.signal);
    await world.pass(HOUR_MS - 5_000);
    const tried = world.times('renew');
    expect(tried.length).toBeGreaterThan(8);
    expect(tried.length).toBeLessThan(20);
    expect(HOUR_MS - (tried.at(-1) ?? 0)).toBeLessThan(12_000);
    expect(world.warnings.length).toBe(1);
    expect(world.keeper.status()).toMatchObject({ lastFailure: 'status 503', renewable: true });
    await world.pass(DAY_MS);
    expect(world.times('renew').length).toBe(tried.length);
  });

  it('is renewed as soon as a short outage is over, and says so', async () => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => ok(told());
    world.renew = () => (world.clock.monotonicMs() < 45 * MINUTE_MS ? fail(503) : ok(login(3600)));
    await world.keeper.current(world.signal);
    await world.pass(55 * MINUTE_MS);
    expect(world.keeper.status().lastFailure).toBeUndefined();
    expect((world.keeper.status().expiresAt as Date).getTime()).toBeGreaterThan(
      world.clock.now().getTime() + HOUR_MS / 2,
    );
  });

  it('waits as long as Vault asks', async () => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => fail(429, { kind: 'rate-limited', retryAfterMs: 90_000 });
    await world.keeper.current(world.signal);
    await world.pass(5 * MINUTE_MS);
    expect(world.times('look-up').length).toBeLessThanOrEqual(4);
  });

  it('that cannot be renewed is told of once, and read again before it ends', async () => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => ok(told({ renewable: false }));
    await world.keeper.current(world.signal);
    await world.pass(50 * MINUTE_MS);
    expect(world.warnings).toEqual([expect.stringContaining('cannot be renewed')]);
    world.stored = 't2';
    await world.pass(10 * MINUTE_MS);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t2'));
    expect(world.calls.some(({ what }) => what === 'revoke')).toBe(false);
  });

  it('is replaced within the interval after its file changed', async () => {
    const world = startKeeper({ checkIntervalMs: 30_000 });
    world.lookUp = () => ok(told());
    await world.keeper.current(world.signal);
    await world.pass(20 * MINUTE_MS);
    world.stored = 't2';
    await world.pass(30_000);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t2'));
    expect(tally(world)).toMatchObject({ obtain: 2 });
  });

  it('is replaced at once after its secret changed, even with an interval of 0', async () => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => ok(told());
    await world.keeper.current(world.signal);
    await world.pass(1_000);
    world.stored = 't2';
    world.tellChanged();
    await world.pass(0);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t2'));
  });

  it.each([
    ['is not replaced by one that Vault knows nothing of', false],
    ['is replaced by one that may not look itself up, but is accepted', true],
  ])('%s', async (_what, isAccepted) => {
    const world = startKeeper({ checkIntervalMs: 30_000 });
    world.lookUp = (token) => (token === 't2' ? fail(403) : ok(told()));
    world.isAccepted = () => ok(isAccepted);
    await world.keeper.current(world.signal);
    world.stored = 't2';
    await world.pass(MINUTE_MS);
    expect(await world.keeper.current(world.signal)).toEqual(ok(isAccepted ? 't2' : 't1'));
  });

  it('stays in use when the new one is bad: one warning, no hot loop, and a good one is taken at once', async () => {
    const world = startKeeper({ checkIntervalMs: 30_000 });
    world.lookUp = (token) => (token === 'bad' ? fail(403) : ok(told()));
    world.renew = () => ok(login(3600));
    await world.keeper.current(world.signal);
    world.stored = 'bad';
    world.tellChanged();
    await world.pass(HOUR_MS);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t1'));
    expect(world.warnings).toEqual([expect.stringContaining('refused')]);
    const proofs = world.calls.filter(({ what, token }) => what === 'is-accepted' && token === 'bad').length;
    expect(proofs).toBeLessThan(20);
    world.stored = 't3';
    world.tellChanged();
    await world.pass(0);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t3'));
  });

  it('stays in use while Vault cannot be asked about the new one', async () => {
    const world = startKeeper({ checkIntervalMs: 30_000 });
    world.lookUp = () => ok(told());
    await world.keeper.current(world.signal);
    await world.pass(5_000);
    world.lookUp = () => fail(503);
    world.stored = 't2';
    await world.pass(MINUTE_MS);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t1'));
    world.lookUp = () => ok(told());
    await world.pass(MINUTE_MS);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t2'));
  });

  it('stays in use while its file is gone', async () => {
    const world = startKeeper({ checkIntervalMs: 30_000 });
    world.lookUp = () => ok(told());
    await world.keeper.current(world.signal);
    world.stored = undefined;
    await world.pass(10 * MINUTE_MS);
    expect(await world.keeper.current(world.signal)).toEqual(ok('t1'));
    expect(world.warnings.length).toBe(1);
    world.stored = 't1';
    await world.pass(MINUTE_MS);
    expect(world.keeper.status().lastFailure).toBeUndefined();
  });
});

describe('a vault token of a login', () => {
  const startLogin = (ttlSeconds: number, more: Parameters<typeof login>[1] = {}) => {
    const world = startKeeper({ logsIn: true, checkIntervalMs: 0 });
    world.life = login(ttlSeconds, more);
    world.renew = () => ok(login(ttlSeconds));
    return world;
  };

  it('is not looked up: the login told its life', async () => {
    const world = startLogin(3600);
    await world.keeper.current(world.signal);
    await world.pass(10 * HOUR_MS);
    expect(Object.keys(tally(world)).sort()).toEqual(['obtain', 'renew']);
    expect(world.times('obtain').length).toBe(1);
  });

  it.each([
    ['cannot be renewed', { renewable: false }],
    ['is a batch token', { type: 'batch' as const }],
  ])('that %s is replaced by a new login before its end', async (_what, more) => {
    const world = startLogin(3600, more);
    await world.keeper.current(world.signal);
    await world.pass(10 * HOUR_MS);
    const logins = world.times('obtain').length;
    expect(logins).toBeGreaterThanOrEqual(14);
    expect(logins).toBeLessThanOrEqual(17);
    expect(world.times('renew').length).toBe(0);
    expect(world.times('revoke').length).toBe('type' in more ? 0 : logins - 1);
  });

  it('that met its maximum is replaced by a new login, and the old one revoked', async () => {
    const world = startLogin(3600);
    const maximumMs = 2 * HOUR_MS;
    world.renew = (token) => ok(login(Math.min(3600, Math.floor(Math.max(0, world.ageMs(token, maximumMs) / 1000)))));
    await world.keeper.current(world.signal);
    await world.pass(10 * HOUR_MS);
    expect(world.times('obtain').length).toBeGreaterThanOrEqual(5);
    expect(world.times('obtain').length).toBeLessThanOrEqual(8);
    expect(world.times('revoke').length).toBe(world.times('obtain').length - 1);
    expect(world.longestGapMs()).toBe(0);
  });

  it('whose renewal is refused for good is replaced by a new login', async () => {
    const world = startLogin(3600);
    world.renew = () => fail(403);
    await world.keeper.current(world.signal);
    await world.pass(HOUR_MS);
    expect(world.times('obtain').length).toBe(2);
  });

  it('is had again after logins failed for long, ever less often', async () => {
    const world = startLogin(600, { renewable: false });
    await world.keeper.current(world.signal);
    world.login = () => fail(503);
    await world.pass(2 * HOUR_MS);
    const tries = world.times('obtain').length - 1;
    expect(tries).toBeGreaterThan(15);
    expect(tries).toBeLessThan(45);
    world.login = undefined;
    await world.pass(5 * MINUTE_MS);
    expect(world.keeper.status().lastFailure).toBeUndefined();
  });

  it('that has ended is never used: callers wait for a new one, or get the reason why there is none', async () => {
    const world = startLogin(600, { renewable: false });
    await world.keeper.current(world.signal);
    world.login = () => fail(403, { message: 'wrong secret id' });
    await world.pass(15 * MINUTE_MS);
    expect(await world.keeper.current(world.signal)).toMatchObject({
      ok: false,
      failure: { message: 'wrong secret id', retryAfterMs: expect.any(Number) },
    });
    world.login = undefined;
    world.tellChanged();
    world.clock.advance(1_000);
    expect(await world.keeper.current(world.signal)).toMatchObject({ ok: true });
  });

  it('is revoked when it was replaced, and at the end; batch tokens and given ones are not', async () => {
    const world = startLogin(3600);
    await world.keeper.current(world.signal);
    await world.pass(2_000);
    expect(await world.keeper.refused('t1', 'pki/sign/web', world.signal)).toEqual(ok('t2'));
    expect(world.times('revoke')).toEqual([]);
    await world.pass(10_000);
    expect(world.calls.filter(({ what }) => what === 'revoke')).toMatchObject([{ token: 't1' }]);
    await world.close();
    expect(world.calls.filter(({ what }) => what === 'revoke')).toMatchObject([{ token: 't1' }, { token: 't2' }]);
    const hurried = startLogin(3600);
    await hurried.keeper.current(hurried.signal);
    await hurried.pass(2_000);
    await hurried.keeper.refused('t1', 'pki/sign/web', hurried.signal);
    await hurried.close();
    expect(new Set(hurried.calls.filter(({ what }) => what === 'revoke').map(({ token }) => token))).toEqual(
      new Set(['t1', 't2']),
    );
    for (const other of [startKeeper(), startLogin(3600, { type: 'batch' })]) {
      await other.keeper.current(other.signal);
      await other.close();
      expect(other.times('revoke')).toEqual([]);
    }
  });
});

describe('a vault token that is refused', () => {
  it('is replaced once for 100 calls at the same time', async () => {
    const world = startKeeper({ logsIn: true });
    world.life = login(3600);
    await world.keeper.current(world.signal);
    await world.pass(5_000);
    const refused = () => world.keeper.refused('t1', 'pki/sign/web', world.signal);
    const all = await Promise.all(Array.from({ length: 100 }, refused));
    expect(new Set(all.map((one) => JSON.stringify(one)))).toEqual(new Set([JSON.stringify(ok('t2'))]));
    expect(world.times('obtain').length).toBe(2);
    expect(await refused()).toEqual(ok('t2'));
    expect(world.times('obtain').length).toBe(2);
  });

  it('causes no more logins for a path that is refused with a fresh token, too, for a minute', async () => {
    const world = startKeeper({ logsIn: true });
    world.life = login(DAY_MS / 1000);
    await world.keeper.current(world.signal);
    for (let second = 0; second < 600; second++) {
      await world.pass(1_000);
      const now = await world.keeper.current(world.signal);
      if (!now.ok) throw new Error('no token');
      const fresh = await world.keeper.refused(now.value, 'pki/sign/web', world.signal);
      if (fresh?.ok) world.keeper.stillRefused('pki/sign/web');
    }
    expect(world.times('obtain').length).toBeLessThanOrEqual(11);
  });

  it('is asked for again ever less often while logins are refused, whatever callers do', async () => {
    const world = startKeeper({ logsIn: true });
    world.login = () => fail(403);
    for (let tenth = 0; tenth < 3_000; tenth++) {
      expect((await world.keeper.current(world.signal)).ok).toBe(false);
      world.clock.advance(100);
    }
    const times = world.times('obtain');
    expect(times.slice(0, 6)).toEqual([0, 1000, 3000, 7000, 15_000, 31_000]);
    expect(times.length).toBeLessThanOrEqual(16);
  });

  it('is asked for every second while Vault is away, so that the end of that is noticed soon', async () => {
    const world = startKeeper({ logsIn: true });
    world.login = () => fail(503);
    for (let tenth = 0; tenth < 600; tenth++) {
      await world.keeper.current(world.signal);
      world.clock.advance(100);
    }
    expect(world.times('obtain').length).toBe(60);
    world.login = undefined;
    world.clock.advance(1_000);
    expect(await world.keeper.current(world.signal)).toMatchObject({ ok: true });
  });

  it('is read again, and found good, when an agent has replaced its file', async () => {
    const world = startKeeper({ checkIntervalMs: 0 });
    world.lookUp = () => ok(told());
    await world.keeper.current(world.signal);
    await world.pass(5_000);
    expect(await world.keeper.refused('t1', 'pki/sign/web', world.signal)).toBeUndefined();
    world.stored = 't2';
    expect(await world.keeper.refused('t1', 'pki/sign/web', world.signal)).toBeUndefined();
    await world.pass(1_000);
    expect(await world.keeper.refused('t1', 'pki/sign/web', world.signal)).toEqual(ok('t2'));
  });
});

/** One answer of a Vault that may say anything. */
const answer = fc.oneof(
  fc.record({
    status: fc.constant(200),
    ttlSeconds: fc.oneof(fc.constantFrom(0, 1, 2, 3, 5), fc.integer({ min: 0, max: 4_000_000_000 })),
    renewable: fc.boolean(),
    type: fc.constantFrom('service' as const, 'batch' as const, 'unknown' as const),
    neverExpires: fc.boolean(),
    grantedSeconds: fc.option(fc.nat(1_000_000), { nil: undefined }),
  }),
  fc.record({
    status: fc.constantFrom(0, 400, 403, 404, 412, 429, 500, 503),
    retryAfterMs: fc.option(fc.nat(3_600_000), { nil: undefined }),
  }),
);

type Answer = typeof answer extends fc.Arbitrary<infer T> ? T : never;

function outcomeOf(given: Answer | undefined) {
  if (given === undefined) return fail(503);
  return 'ttlSeconds' in given ? ok(given) : fail(given.status, { retryAfterMs: given.retryAfterMs ?? 0 });
}

/** The most calls in any minute. */
function worstMinute(times: readonly number[]): number {
  return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + MINUTE_MS).length));
}

describe('whatever Vault answers', () => {
  const scripts = fc.record({
    logsIn: fc.boolean(),
    answers: fc.array(answer, { minLength: 1, maxLength: 6 }),
    newToken: fc.boolean(),
    uniform: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  });

  it('an idle backend makes at most 31 calls in any minute, logins and revocations counted, and leaves nothing behind', async () => {
    await fc.assert(
      fc.asyncProperty(scripts, async ({ logsIn, answers, newToken, uniform }) => {
        const world = startKeeper({ logsIn, checkIntervalMs: 30_000, uniform });
        let next = 0;
        const pick = () => outcomeOf(answers[next++ % answers.length]);
        world.lookUp = pick as KeeperWorld['lookUp'];
        world.renew = pick as KeeperWorld['renew'];
        world.login = () => {
          const said = pick();
          return said.ok ? ok({ ...said.value, token: newToken ? undefined : 't1' }) : said;
        };
        await world.keeper.current(world.signal);
        await world.pass(10 * MINUTE_MS, 2_000);
        const remote = world.calls.filter(({ what }) => logsIn || what !== 'obtain').map(({ atMs }) => atMs);
        expect(worstMinute(remote)).toBeLessThanOrEqual(31);
        await world.close();
        expect([world.clock.pending, world.followers()]).toEqual([0, 0]);
      }),
      { numRuns: 40 },
    );
  });

  it('callers that are refused all the time bring about at most 100 calls in any minute, proofs and revocations counted', async () => {
    await fc.assert(
      fc.asyncProperty(scripts, fc.boolean(), async ({ logsIn, answers, uniform }, accepted) => {
        const world = startKeeper({ logsIn, uniform });
        let next = 0;
        const pick = () => outcomeOf(answers[next++ % answers.length]);
        world.lookUp = pick as KeeperWorld['lookUp'];
        world.renew = pick as KeeperWorld['renew'];
        world.isAccepted = () => ok(accepted);
        world.login = () => pick();
        for (let tick = 0; tick < 160; tick++) {
          const now = await world.keeper.current(world.signal);
          world.stored = `t${tick}`;
          if (now.ok) {
            const path = `path-${tick % 3}`;
            // Not waited for: a moment after a login it may have to wait for the next.
            void world.keeper.refused(now.value, path, world.signal).then(
              (fresh) => fresh?.ok && world.keeper.stillRefused(path),
              () => {},
            );
          }
          await world.pass(500);
        }
        const remote = world.calls.filter(({ what }) => logsIn || what !== 'obtain').map(({ atMs }) => atMs);
        expect(worstMinute(remote)).toBeLessThanOrEqual(100);
        await world.close();
        expect(world.clock.pending).toBe(0);
      }),
      { numRuns: 15 },
    );
  });
});

describe('closing the keeper of a vault token', () => {
  it('leaves no timer and no listener, a thousand times over', async () => {
    for (let i = 0; i < 1000; i++) {
      const world = startKeeper({ logsIn: i % 2 === 0, checkIntervalMs: 30_000 });
      world.life = login(3600);
      if (i % 3 > 0) await world.keeper.current(world.signal);
      const refused = i % 5 === 0 ? world.keeper.refused('t1', 'pki/sign/web', world.signal) : undefined;
      if (i % 10 === 0) await world.pass(1_000);
      await Promise.allSettled([world.close(), refused]);
      expect([world.clock.pending, world.followers()]).toEqual([0, 0]);
    }
  });

  it('rejects whoever waits for a token, with the reason', async () => {
    const world = startKeeper({ logsIn: true });
    world.login = () => 'hang';
    const waiting = world.keeper.current(world.signal);
    const closed = world.close();
    await expect(waiting).rejects.toThrow('closed for the test');
    await closed;
    await expect(world.keeper.current(world.signal)).rejects.toThrow('closed for the test');
    expect(world.clock.pending).toBe(0);
  });
});
