import { describe, expect, it, onTestFinished } from 'vitest';
import { LONGEST_REQUEST_MS } from '../../../src/issuance/guards/breaker.ts';
import {
  CaError,
  ConflictError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerUnavailableError,
  NotFoundError,
  RateLimitedError,
  RequestInvalidError,
  StoreUnavailableError,
} from '../../../src/issuer/errors.ts';
import { BACKEND, type GuardWorldOptions, holding, LIMITS, START, startGuards, unavailable } from './guard-world.ts';

async function start(options?: GuardWorldOptions) {
  const world = await startGuards(options);
  onTestFinished(() => world.close());
  return world;
}

const passes = (asked: unknown) => !(asked instanceof CaError);
const SEALED = 'vault at https://vault:8200 is sealed';

describe('a data plane whose certificate failed', () => {
  it('is told the failure again, until exactly when, and that the backend was not asked', async () => {
    const world = await start();
    world.fail('web-1');
    await world.pass(250);
    const error = world.refused('web-1');
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(error).toMatchObject({
      code: 'ERR_ISSUER_UNAVAILABLE',
      message: `issuer(vault v1): not asked again for data plane "web-1" before 12:00:05 UTC (1 failure in a row): ${SEALED}`,
      fix: 'unseal it',
      retryAfterMs: 4750,
      hold: { breaker: 'closed', cause: { code: 'ERR_ISSUER_UNAVAILABLE', message: `issuer(vault v1): ${SEALED}` } },
    });
    expect(() => world.guards.check(BACKEND, { dataplane: 'web-1', fingerprint: 'f' })).toThrow(error.message);
    await world.pass(4749);
    expect(world.refused('web-1').retryAfterMs).toBe(1);
    await world.pass(1);
    expect(passes(world.ask('web-1'))).toBe(true);
  });

  it('waits for whole milliseconds that are enough', async () => {
    const world = await start();
    world.chance = 0.123456;
    world.fail('web-1');
    const { retryAfterMs = 0 } = world.refused('web-1');
    expect(Number.isInteger(retryAfterMs)).toBe(true);
    await world.pass(retryAfterMs);
    expect(passes(world.ask('web-1'))).toBe(true);
  });

  it('holds no other data plane', async () => {
    const world = await start();
    world.fail('web-1');
    expect(passes(world.ask('web-2'))).toBe(true);
  });

  it('is let through with another request when its own was refused, but only once', async () => {
    const world = await start();
    const refusal = () => new RequestInvalidError('issuer(vault v1): key is too short');
    world.fail('web-1', refusal());
    expect(world.refused('web-1')).toBeInstanceOf(RequestInvalidError);
    const corrected = world.ask('web-1', { fingerprint: 'corrected' });
    if (corrected instanceof CaError) throw corrected;
    corrected.failed(refusal());
    for (const fingerprint of ['f', 'corrected', 'once more']) {
      expect(world.ask('web-1', { fingerprint })).toMatchObject({ retryAfterMs: 10_000 });
    }
  });

  it('is held whatever it asks when the backend failed', async () => {
    const world = await start();
    world.fail('web-1');
    expect(world.ask('web-1', { fingerprint: 'another CSR' })).toMatchObject({ retryAfterMs: 5000 });
  });

  it('is tried at once when a secret of the mesh was changed', async () => {
    const world = await start();
    world.open();
    await world.putSecret('another');
    expect(world.guards.state(BACKEND).breaker).toBe('open');
    await world.putSecret(BACKEND.mesh);
    expect(passes(world.ask('a'))).toBe(true);
    expect(passes(world.ask('b'))).toBe(false);
  });

  it('is let through after a success', async () => {
    const world = await start();
    const first = world.ask('web-1');
    world.fail('web-1');
    if (!(first instanceof CaError)) first.succeeded();
    expect(passes(world.ask('web-1'))).toBe(true);
  });

  it('waits twice as long after each further failure', async () => {
    const world = await start();
    const waits: (number | undefined)[] = [];
    for (let i = 0; i < 8; i++) {
      world.fail('web-1');
      waits.push(world.refused('web-1').retryAfterMs);
      await world.pass(waits.at(-1) ?? 0);
    }
    expect(waits).toEqual([5, 10, 20, 40, 80, 160, 300, 300].map((seconds) => seconds * 1000));
  });

  const uncounted = [
    new NotFoundError('there is no Mesh "default"'),
    new ConflictError('mesh was made again'),
    new StoreUnavailableError('disk is full'),
    new TypeError('our mistake'),
  ];
  for (const error of uncounted) {
    it(`is not held by ${error.constructor.name}, which is not the backend's`, async () => {
      const world = await start();
      for (const name of ['a', 'b', 'c', 'd']) world.fail(name, error);
      expect(passes(world.ask('a'))).toBe(true);
      expect(world.guards.state(BACKEND)).toEqual({ breaker: 'closed', held: 0 });
    });
  }

  it('waits exactly as long as a throttling backend says, also when the backend is proven meanwhile', async () => {
    const world = await start();
    world.chance = 0.9;
    world.fail('web-1', new RateLimitedError('issuer(vault v1): too many requests', { retryAfterMs: 777 }));
    world.guards.recovered(BACKEND);
    expect(world.refused('web-1')).toMatchObject({ code: 'ERR_ISSUER_RATE_LIMITED', retryAfterMs: 777 });
    await world.pass(777);
    expect(passes(world.ask('web-1'))).toBe(true);
  });

  it('that is told a cause of any length tells a thousand characters of it', async () => {
    const world = await start();
    world.fail('web-1', new IssuerDeniedError(`issuer(vault v1): ${'x'.repeat(5000)}`));
    const { message, hold } = world.refused('web-1');
    expect(hold?.cause.message).toHaveLength(1000);
    expect(message.length).toBeLessThan(1200);
  });
});

describe('the breaker', () => {
  it('opens when enough different data planes failed, and tells everybody why', async () => {
    const world = await start();
    world.open(
      () => new IssuerDeniedError('issuer(vault v1): permission denied on pki/sign/mesh', { fix: 'grant it' }),
    );
    await world.pass(500);
    const error = world.refused('web-1');
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error).toMatchObject({
      code: 'ERR_ISSUER_DENIED',
      retry: false,
      message:
        'issuer(vault v1): not asked again before 12:00:05 UTC (breaker open: 3 data planes failed in a row): permission denied on pki/sign/mesh',
      fix: 'grant it',
      retryAfterMs: 4500,
      hold: { breaker: 'open', cause: { code: 'ERR_ISSUER_DENIED' } },
    });
    expect(world.guards.state(BACKEND)).toEqual({
      breaker: 'open',
      held: 3,
      retryAt: new Date(START.getTime() + 5000),
      cause: { code: 'ERR_ISSUER_DENIED', message: 'issuer(vault v1): permission denied on pki/sign/mesh' },
    });
    expect(world.lines).toEqual([
      expect.objectContaining({ level: 'warn', message: 'backend is held back: it fails for all' }),
    ]);
  });

  it('does not open while there are successes in between, however many data planes fail', async () => {
    const world = await start();
    for (let i = 0; i < 20; i++) {
      world.fail(`a-${i}`);
      world.fail(`b-${i}`);
      const permit = world.ask('well');
      if (!(permit instanceof CaError)) permit.succeeded();
    }
    expect(world.guards.state(BACKEND)).toMatchObject({ breaker: 'closed', held: 40 });
  });

  const harmless: readonly CaError[] = [
    new RateLimitedError('slow down'),
    new IssuancePendingError('waits for an approval'),
    new RequestInvalidError('bad key'),
  ];
  for (const error of harmless) {
    it(`does not open by ${error.code}`, async () => {
      const world = await start();
      for (let i = 0; i < 20; i++) world.fail(`a-${i}`, error);
      expect(world.guards.state(BACKEND)).toMatchObject({ breaker: 'closed', held: 20 });
    });
  }

  it('lets one try when its time is over, and the others come back later', async () => {
    const world = await start();
    world.open();
    await world.pass(5000);
    expect(world.guards.state(BACKEND).breaker).toBe('half-open');
    const trial = world.ask('web-1');
    expect(passes(trial)).toBe(true);
    expect(world.refused('web-2')).toMatchObject({
      message: `issuer(vault v1): not asked now (breaker half-open: another request is trying whether it is well again): ${SEALED}`,
      retryAfterMs: 5000,
      hold: { breaker: 'half-open' },
    });
    if (!(trial instanceof CaError)) trial.failed(unavailable());
    expect(world.refused('web-2')).toMatchObject({ retryAfterMs: 10_000, hold: { breaker: 'open' } });
    expect(world.refused('web-2').message).toContain('3 data planes failed in a row, and then 1 trial');
  });

  it('lets the next one try when the first did not come to it', async () => {
    const world = await start();
    world.open();
    await world.pass(5000);
    const trial = world.ask('web-1');
    if (!(trial instanceof CaError)) trial.given();
    expect(passes(world.ask('web-2'))).toBe(true);
    expect(passes(world.ask('web-3'))).toBe(false);
  });

  it('counts the first end of a permit only', async () => {
    const world = await start();
    world.open();
    await world.pass(5000);
    const trial = world.ask('web-1');
    if (trial instanceof CaError) throw trial;
    trial.failed(unavailable());
    trial.succeeded();
    trial.given();
    expect(world.guards.state(BACKEND).breaker).toBe('open');
  });

  it('closes by the success of the trial, which lets all go', async () => {
    const world = await start();
    world.open();
    await world.pass(5000);
    const trial = world.ask('web-1');
    if (!(trial instanceof CaError)) trial.succeeded();
    for (const name of ['x-1', 'x-2', 'x-3', 'web-2']) expect(passes(world.ask(name))).toBe(true);
    expect(world.lines.at(-1)).toMatchObject({ level: 'info', message: 'backend is well again' });
  });

  it('closes by a success of one that was under way when it opened', async () => {
    const world = await start();
    const slow = world.ask('slow');
    world.open();
    if (!(slow instanceof CaError)) slow.succeeded();
    expect(passes(world.ask('x-1'))).toBe(true);
  });

  it.each([60_000, 0])(
    'does not wait longer for failures of those that were under way, nor opens again by them (spread over %i ms)',
    async (recoverySpreadMs) => {
      const world = await start({ limits: { recoverySpreadMs } });
      const slow = ['s-1', 's-2', 's-3', 's-4', 's-5', 's-6'].map((name) => world.ask(name));
      world.open();
      await world.pass(1000);
      for (const permit of slow.slice(0, 3)) if (!(permit instanceof CaError)) permit.failed(unavailable());
      expect(world.guards.state(BACKEND).retryAt).toEqual(new Date(START.getTime() + 5000));
      world.guards.recovered(BACKEND);
      await world.pass(LONGEST_REQUEST_MS - 1001);
      for (const permit of slow.slice(3)) if (!(permit instanceof CaError)) permit.failed(unavailable());
      expect(world.guards.state(BACKEND).breaker).toBe('closed');
    },
  );

  it('closes when the backend is proven', async () => {
    const world = await start();
    world.open();
    world.guards.recovered(BACKEND);
    expect(world.guards.state(BACKEND)).toMatchObject({ breaker: 'closed', held: 0 });
    expect(passes(world.ask('x-1'))).toBe(true);
  });

  it('is of one backend alone', async () => {
    const world = await start();
    world.open();
    for (const other of [{ name: 'v2' }, { mesh: 'other' }]) {
      expect(passes(world.ask('x-1', {}, { ...BACKEND, ...other }))).toBe(true);
    }
  });

  it('forgets a backend that was configured anew, and what its older conf is still up to', async () => {
    const world = await start();
    const old = world.ask('x-1');
    world.open();
    const changed = { ...BACKEND, hash: 'h2' };
    expect(world.guards.state(changed)).toEqual({ breaker: 'closed', held: 0 });
    const permit = world.ask('x-1', {}, changed);
    if (permit instanceof CaError) throw permit;
    permit.failed(unavailable());
    if (!(old instanceof CaError)) old.succeeded();
    expect(world.guards.state(changed)).toMatchObject({ breaker: 'closed', held: 1 });
  });

  it('is not forgotten because of a request that still holds the backend as it was', async () => {
    const world = await start();
    const old = { ...BACKEND, hash: 'h0' };
    const slow = world.ask('web-1', {}, old);
    world.open();
    const retired = { ...old, isRetired: true };
    expect(passes(world.ask('web-2', {}, retired))).toBe(true);
    world.guards.check(retired, { dataplane: 'web-3', fingerprint: 'f' });
    if (!(slow instanceof CaError)) slow.failed(unavailable());
    expect(world.guards.state(BACKEND)).toMatchObject({ breaker: 'open', held: LIMITS.breakerDataplanes });
  });

  it('learns nothing from a failure with a secret that is not used any more', async () => {
    const world = await start();
    const old = { ...BACKEND, isRetired: true };
    for (let i = 0; i < 20; i++) {
      const permit = world.ask(`web-${i}`, {}, old);
      if (permit instanceof CaError) throw permit;
      permit.failed(unavailable());
    }
    expect(world.guards.state(BACKEND)).toEqual({ breaker: 'closed', held: 0 });
  });

  it('never stands before a backend of this process', async () => {
    const world = await start();
    const local = { ...BACKEND, local: true };
    for (let i = 0; i < 20; i++) {
      const permit = world.ask(`web-${i}`, {}, local);
      if (permit instanceof CaError) throw permit;
      permit.failed(unavailable());
    }
    expect(passes(world.ask('web-1', {}, local))).toBe(true);
    world.guards.recovered(local);
    expect(world.guards.state(local)).toEqual({ breaker: 'closed', held: 0 });
  });
});

describe('after a recovery', () => {
  const end = (days: number) => holding(START.getTime() + days * 86_400_000);

  it('renewals come by the end of their certificates, and everything else at once', async () => {
    const world = await start();
    world.open();
    for (const days of [3, 1, 2]) world.refused(`day-${days}`, end(days));
    world.guards.recovered(BACKEND);
    const waits = [1, 2, 3].map((days) => {
      const asked = world.ask(`day-${days}`, end(days));
      return asked instanceof CaError ? asked.retryAfterMs : 0;
    });
    expect(waits).toEqual([0, 20_000, 40_000]);
    expect(passes(world.ask('day-3', holding(START, true)))).toBe(true);
    expect(passes(world.ask('day-3'))).toBe(true);
    expect(world.refused('day-3', end(3))).toMatchObject({
      code: 'ERR_ISSUER_UNAVAILABLE',
      message: `issuer(vault v1): not asked for data plane "day-3" before 12:00:40 UTC (renewals are spread after recovery); it had failed: ${SEALED}`,
      hold: { breaker: 'closed' },
    });
    await world.pass(40_000);
    expect(passes(world.ask('day-3', end(3)))).toBe(true);
  });

  it('a single data plane does not wait', async () => {
    const world = await start();
    world.open();
    world.refused('web-1', end(1));
    world.guards.recovered(BACKEND);
    expect(passes(world.ask('web-1', end(1)))).toBe(true);
  });

  it('all are served, and no 5 s get more than twice their share', async () => {
    const world = await start();
    world.open();
    const names = Array.from({ length: 1200 }, (_, i) => `web-${i}`);
    const late = names.splice(900);
    for (const [i, name] of names.entries()) world.refused(name, end(1 + ((i * 7) % 30)));
    await world.pass(5000);
    const trial = world.ask('trial');
    if (!(trial instanceof CaError)) trial.succeeded();
    const recoveredMs = world.nowMs;
    const slots = [...names, ...late].map((name) => {
      const asked = world.ask(name, end(1));
      return { name, afterMs: asked instanceof CaError ? (asked.retryAfterMs ?? 0) : 0 };
    });
    const perStretch = new Array<number>(12).fill(0);
    for (const { name, afterMs } of slots.sort((a, b) => a.afterMs - b.afterMs)) {
      world.clock.advance(recoveredMs + afterMs - world.nowMs);
      if (!passes(world.ask(name, end(1)))) throw new Error(`${name} was not let through when it was told`);
      const stretch = Math.floor(afterMs / 5000);
      perStretch[stretch] = (perStretch[stretch] ?? 0) + 1;
    }
    expect(world.nowMs - recoveredMs).toBeLessThanOrEqual(60_000);
    expect(perStretch.reduce((sum, count) => sum + count)).toBe(1200);
    expect(Math.max(...perStretch)).toBeLessThanOrEqual(200);
    expect(Math.min(...perStretch)).toBeGreaterThanOrEqual(50);
  });

  it('which does not last, those that did not come to their turn are remembered', async () => {
    const world = await start();
    world.open();
    for (const days of [1, 2, 3]) world.refused(`day-${days}`, end(days));
    world.guards.recovered(BACKEND);
    await world.pass(30_000);
    for (const name of ['y-1', 'y-2', 'y-3']) world.fail(name);
    expect(world.refused('web-1').hold?.breaker).toBe('open');
    world.refused('day-9', end(9));
    world.guards.recovered(BACKEND);
    expect(passes(world.ask('day-3', end(3)))).toBe(true);
    expect(world.refused('day-9', end(9)).retryAfterMs).toBe(30_000);
  });

  it('nothing is spread when that is switched off', async () => {
    const world = await start({ limits: { recoverySpreadMs: 0 } });
    world.open();
    for (const days of [1, 2, 3]) world.refused(`day-${days}`, end(days));
    world.guards.recovered(BACKEND);
    for (const days of [1, 2, 3]) expect(passes(world.ask(`day-${days}`, end(days)))).toBe(true);
  });
});

describe('a backend that is down for an hour', () => {
  it('is called 10 times, and then some ten times more, for 10,000 data planes that obey', async () => {
    const world = await start({ limits: { breakerDataplanes: 10 } });
    let calls = 0;
    let asked = 0;
    for (let atMs = 0; atMs < 3_600_000; ) {
      world.clock.advance(atMs - world.nowMs);
      const told = new Set<number | undefined>();
      // All are told the same: after the first round a part of them, another one each time, shows as much as all.
      const count = atMs === 0 ? 10_000 : 300;
      for (let i = 0; i < count; i++) {
        const permit = world.ask(`web-${asked++ % 10_000}`, holding(START));
        if (permit instanceof CaError) {
          told.add(permit.retryAfterMs);
          continue;
        }
        calls += 1;
        permit.failed(unavailable());
      }
      expect(told.size).toBe(1);
      atMs += [...told][0] ?? 0;
    }
    // 10 open the breaker; trials after 5, 10, ... 160 s, then every 300 s; the data planes that failed have waits of their own.
    expect(calls).toBe(10 + 16);
  });

  it('is called no more often by those that do not obey, whatever chance gives and however slow it is', async () => {
    const world = await start({ limits: { breakerDataplanes: 10 } });
    world.chance = 0.999;
    const under: { endsMs: number; end: () => void }[] = [];
    let calls = 0;
    for (let second = 0; second < 3600; second++) {
      world.clock.advance(1000);
      for (const call of under.splice(0)) {
        if (call.endsMs > world.nowMs) under.push(call);
        else call.end();
      }
      for (let i = 0; i < 30; i++) {
        // As the queue before it does, with 16 at a time.
        if (under.length >= 16) break;
        const asked = world.ask(`web-${(second * 30 + i) % 10_000}`);
        if (asked instanceof CaError) break;
        calls += 1;
        under.push({ endsMs: world.nowMs + 10_000, end: () => asked.failed(unavailable()) });
      }
    }
    expect(calls).toBeGreaterThan(16);
    expect(calls).toBeLessThanOrEqual(16 + 22);
  });
});

describe('when all is well', () => {
  it('nothing is written, and no timer is set', async () => {
    const world = await start();
    for (let i = 0; i < 10; i++) {
      const permit = world.ask(`web-${i}`);
      if (!(permit instanceof CaError)) permit.succeeded();
    }
    expect(world.clock.pending).toBe(0);
    await world.pass(60_000);
    expect(await world.stored()).toBeUndefined();
  });

  it('again, nothing is kept: neither in the store nor a timer', async () => {
    const world = await start();
    world.open();
    await world.pass(1);
    expect(await world.stored()).toBeDefined();
    world.guards.recovered(BACKEND);
    await world.pass(LIMITS.recoverySpreadMs + 60_000);
    expect(await world.stored()).toBeUndefined();
    await world.pass(LONGEST_REQUEST_MS);
    expect(world.clock.pending).toBe(0);
  });

  it('after one failure that was never repeated, nothing is kept but that it was', async () => {
    const world = await start();
    world.fail('web-1');
    await world.pass(LIMITS.backoffMaxMs + 60_000);
    expect(JSON.parse((await world.stored()) ?? '')).toMatchObject({ failed: ['web-1'], held: [] });
    await world.pass(25 * 60 * 60 * 1000);
    expect(await world.stored()).toBeUndefined();
    expect(world.clock.pending).toBe(0);
  });
});

describe('closing', () => {
  it('leaves no timer and writes no more', async () => {
    const world = await start();
    world.fail('web-1');
    expect(world.clock.pending).toBeGreaterThan(0);
    await world.guards.close();
    expect(world.clock.pending).toBe(0);
    const before = await world.stored();
    world.fail('web-2');
    await world.guards.close();
    await world.pass(60_000);
    expect(world.clock.pending).toBe(0);
    expect(await world.stored()).toBe(before);
  });
});
