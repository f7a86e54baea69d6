import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAttempts, idempotencyToken, type Plan } from '../../adapters/acmpca/attempts.ts';
import { cleanText } from '../../adapters/acmpca/errors.ts';
import { Limiter } from '../../adapters/acmpca/limiter.ts';
import { ReadyTime } from '../../adapters/acmpca/ready-time.ts';
import { TokenBucket } from '../../adapters/acmpca/token-bucket.ts';
import { validityOf } from '../../adapters/acmpca/validity.ts';
import { RateLimitedError } from '../../src/issuer/errors.ts';
import type { SignRequest } from '../../src/issuer/issuer.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { settle } from '../support/pass-time.ts';
import { errorOf } from './acmpca-setup.ts';

const live = () => new AbortController().signal;

describe('a token bucket', () => {
  it('gives out at most rate * t + burst tokens in any span, whatever is asked of it', () => {
    const step = fc.record({ waitMs: fc.nat(400), asks: fc.nat(8), throttled: fc.boolean() });
    const options = fc.record({
      ratePerSecond: fc.integer({ min: 1, max: 200 }),
      burst: fc.integer({ min: 1, max: 20 }),
    });
    fc.assert(
      fc.property(options, fc.array(step, { maxLength: 40 }), ({ ratePerSecond, burst }, steps) => {
        let nowMs = 0;
        const bucket = new TokenBucket({ ratePerSecond, burst }, nowMs);
        const given: number[] = [];
        for (const { waitMs, asks, throttled } of steps) {
          nowMs += waitMs;
          for (let i = 0; i < asks; i += 1) if (bucket.take(nowMs) === 0) given.push(nowMs);
          if (throttled) bucket.slowDown(nowMs);
        }
        for (const [i, from] of given.entries()) {
          for (const [j, to] of given.entries()) {
            if (j >= i) expect(j - i + 1).toBeLessThanOrEqual((ratePerSecond * (to - from)) / 1000 + burst + 1e-3);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('gives a token exactly when it said that there would be one', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.nat(100), (ratePerSecond, takes) => {
        const bucket = new TokenBucket({ ratePerSecond, burst: 2 }, 0);
        let nowMs = 0;
        for (let i = 0; i < takes; i += 1) nowMs += bucket.take(nowMs);
        const waitMs = bucket.take(nowMs);
        if (waitMs > 0) expect(bucket.take(nowMs + waitMs)).toBe(0);
      }),
    );
  });

  it('halves its pace once for all that were throttled together, and recovers', () => {
    const bucket = new TokenBucket({ ratePerSecond: 25, burst: 2 }, 0);
    for (let i = 0; i < 20; i += 1) bucket.slowDown(i);
    expect(bucket.ratePerSecond).toBeCloseTo(12.5, 1);
    bucket.slowDown(2000);
    expect(bucket.ratePerSecond).toBeLessThan(8);
    bucket.take(60_000);
    expect(bucket.ratePerSecond).toBe(25);
  });

  it('is never slowed below a tenth', () => {
    const bucket = new TokenBucket({ ratePerSecond: 25, burst: 2 }, 0);
    for (let i = 0; i < 50; i += 1) bucket.slowDown(i * 1001);
    expect(bucket.ratePerSecond).toBeGreaterThanOrEqual(2.5);
  });
});

describe('a limiter', () => {
  const A = { party: 'a' };
  const B = { party: 'b' };
  const start = (ratePerSecond = 10) => {
    const clock = createFakeClock(TEST_START);
    return { clock, limiter: new Limiter({ clock, operation: 'IssueCertificate', ratePerSecond, burst: 1 }) };
  };
  async function run(clock: ReturnType<typeof createFakeClock>, ms: number): Promise<void> {
    for (let i = 0; i < ms; i += 10) {
      clock.advance(10);
      await settle();
    }
  }

  it('serves in the order of asking, at its rate', async () => {
    const { clock, limiter } = start();
    const served: number[] = [];
    const all = [0, 1, 2, 3].map((i) => limiter.take(live(), A).then(() => served.push(i)));
    await settle();
    expect(served).toEqual([0]);
    await run(clock, 110);
    expect(served).toEqual([0, 1]);
    await run(clock, 200);
    await Promise.all(all);
    expect(served).toEqual([0, 1, 2, 3]);
  });

  it('rejects who gives up with the reason, and gives the turn to the next', async () => {
    const { clock, limiter } = start();
    await limiter.take(live(), A);
    const gaveUp = new AbortController();
    const lost = errorOf(limiter.take(gaveUp.signal, A));
    let isServed = false;
    const next = limiter.take(live(), A).then(() => (isServed = true));
    const reason = new Error('enough');
    gaveUp.abort(reason);
    expect(await lost).toBe(reason);
    await run(clock, 110);
    expect(isServed).toBe(true);
    await next;
    expect(clock.pending).toBe(0);
  });

  it('refuses who would wait too long, with the wait, but not who is patient', async () => {
    const { limiter } = start();
    const waiting = Array.from({ length: 101 }, () => errorOf(limiter.take(live(), A)));
    await settle();
    const refused = await errorOf(limiter.take(live(), A));
    expect(refused).toBeInstanceOf(RateLimitedError);
    expect(refused).toMatchObject({ retryAfterMs: 10_100 });
    waiting.push(errorOf(limiter.take(live(), { ...A, patient: true })));
    limiter.close();
    expect((await Promise.all(waiting)).filter((error) => error instanceof RateLimitedError)).toHaveLength(101);
  });

  it('serves parties in turn, however many calls one of them makes', async () => {
    const { clock, limiter } = start();
    const served: string[] = [];
    const turns = [...Array.from({ length: 20 }, () => A), B, B];
    const all = turns.map((turn) => limiter.take(live(), turn).then(() => served.push(turn.party)));
    await run(clock, 520);
    expect(served.join('')).toBe('aababa');
    await run(clock, 2000);
    await Promise.all(all);
    expect(clock.pending).toBe(0);
  });

  it('that is full sends away the last of the longest queue, not the first of another party', async () => {
    const { clock, limiter } = start();
    const ends: string[] = [];
    const ask = (turn: typeof A, name: string) =>
      limiter.take(live(), turn).then(
        () => ends.push(`${name} served`),
        (error: unknown) => ends.push(`${name} ${error instanceof RateLimitedError ? 'sent away' : error}`),
      );
    const all = Array.from({ length: 101 }, (_, i) => ask(A, `a${i}`));
    await settle();
    all.push(ask(B, 'b'));
    await settle();
    expect(ends).toEqual(['a0 served', 'a100 sent away']);
    await run(clock, 220);
    expect(ends).toContain('b served');
    limiter.close();
    await Promise.all(all);
  });

  it('tells each who is sent away a time of his own, a minute at most', async () => {
    const { limiter } = start();
    const waiting = Array.from({ length: 101 }, () => errorOf(limiter.take(live(), A)));
    const waits: number[] = [];
    for (let i = 0; i < 700; i += 1) {
      waits.push(Number(Object(await errorOf(limiter.take(live(), A))).retryAfterMs));
    }
    expect(waits.slice(0, 3)).toEqual([10_100, 10_200, 10_300]);
    expect(Math.max(...waits)).toBe(60_000);
    limiter.close();
    await Promise.all(waiting);
  });

  it('leaves no timer when it is closed', async () => {
    const { clock, limiter } = start();
    await limiter.take(live(), A);
    const waiting = errorOf(limiter.take(live(), A));
    await settle();
    expect(clock.pending).toBe(1);
    limiter.close();
    expect(await waiting).toBeInstanceOf(RateLimitedError);
    await settle();
    expect(clock.pending).toBe(0);
  });
});

describe('the time until a certificate is ready', () => {
  /** How often is looked, per certificate, once it is learnt. */
  function looksFor(readyMs: () => number, certificates = 300): number {
    const time = new ReadyTime();
    let looks = 0;
    for (let i = 0; i < certificates; i += 1) {
      const readyAt = readyMs();
      let elapsed = 0;
      for (let look = 0; ; look += 1) {
        elapsed += time.delayMs(look);
        if (i >= certificates / 3) looks += 1;
        if (elapsed < readyAt) continue;
        time.learn(look, elapsed);
        break;
      }
    }
    return looks / ((certificates * 2) / 3);
  }

  it.each([0, 5, 50, 300, 1200, 4000])(
    'is learnt: a CA that takes %i ms is looked at less than twice for each',
    (readyMs) => {
      expect(looksFor(() => readyMs)).toBeLessThan(readyMs > 2000 ? 5 : 2);
    },
  );

  it('is learnt where it varies, too', () => {
    let i = 0;
    expect(looksFor(() => [150, 400, 250, 700, 300][i++ % 5] ?? 0)).toBeLessThan(2.2);
  });

  it('never grows beyond what a caller would wait for', () => {
    const time = new ReadyTime();
    for (let i = 0; i < 50; i += 1) time.learn(3, 60_000);
    for (let look = 0; look < 30; look += 1) expect(time.delayMs(look)).toBeLessThanOrEqual(2000);
  });
});

describe('the life that is asked for', () => {
  const now = new Date('2026-09-01T12:00:00.700Z');
  const at = (text: string) => Date.parse(text) / 1000;
  const free = { notBefore: undefined, notAfter: undefined, maxLifeSeconds: undefined };

  it('begins 10 s ago and lasts as long as was wished, to the second', () => {
    const validity = validityOf(now, 90 * 60, free);
    expect(validity).toEqual({
      notBeforeSeconds: at('2026-09-01T11:59:50Z'),
      notAfterSeconds: at('2026-09-01T13:30:00Z'),
    });
  });

  it("stays within the CA's own", () => {
    const bounds = {
      ...free,
      notBefore: new Date('2026-09-01T11:59:55Z'),
      notAfter: new Date('2026-09-01T12:30:00.000Z'),
    };
    expect(validityOf(now, 90 * 60, bounds)).toEqual({
      notBeforeSeconds: at('2026-09-01T11:59:55Z'),
      notAfterSeconds: at('2026-09-01T12:30:00Z'),
    });
  });

  it('is at most what the mode of the CA allows, from its beginning', () => {
    const validity = validityOf(now, 30 * 86_400, { ...free, maxLifeSeconds: 7 * 86_400 });
    expect((validity?.notAfterSeconds ?? 0) - (validity?.notBeforeSeconds ?? 0)).toBe(7 * 86_400);
  });

  it('is none when the CA has ended', () => {
    expect(validityOf(now, 60, { ...free, notAfter: new Date('2026-09-01T12:00:00Z') })).toBeUndefined();
  });
});

describe("AWS's words in a message", () => {
  it('name no principal, no account and no key, and are one short line', () => {
    const cleaned = cleanText(
      `User: arn:aws:sts::123456789012:assumed-role/admin/alice is not allowed\r\n(account 123456789012, key ${'AKIA'}IOSFODNN7EXAMPLE) ${'x'.repeat(500)}`,
    );
    expect(cleaned).not.toMatch(/alice|123456789012|IOSFODNN7|[\r\n]/);
    expect(cleaned.length).toBeLessThanOrEqual(303);
  });
});

describe('attempts that did not come to an end', () => {
  const PLAN: Plan = {
    signingAlgorithm: 'SHA256WITHECDSA',
    validity: { notBeforeSeconds: at(-10), notAfterSeconds: at(3600) },
  };
  function at(seconds: number): number {
    return Math.floor(TEST_START.getTime() / 1000) + seconds;
  }
  const request = (changes: Partial<SignRequest> = {}): SignRequest => ({
    csrDer: Buffer.from('csr'),
    spkiDer: Buffer.from('key'),
    identity: {
      ...{ mesh: 'default', dataplane: 'web-1', tags: createTags([['kuma.io/service', 'web']]) },
      ...{ uriSans: ['spiffe://default/web'], dnsNames: [], commonName: '' },
    },
    ttlSeconds: 3600,
    requestId: 'r1',
    ...changes,
  });

  it('are gone on with by the next request for the same CSR and identity, whatever its id, by one only', () => {
    const attempts = createAttempts(createFakeClock(TEST_START));
    const attempt = attempts.take(request());
    attempt.plan = PLAN;
    attempts.keep(request(), attempt);
    expect(attempts.take(request({ requestId: 'r2' }))).toBe(attempt);
    expect(attempts.take(request({ requestId: 'r3' }))).not.toBe(attempt);
  });

  const OTHERS: readonly [string, Partial<SignRequest>][] = [
    ['another CSR', { csrDer: Buffer.from('other') }],
    ['another lifetime', { ttlSeconds: 60 }],
    ['another identity', { identity: { ...request().identity, uriSans: ['spiffe://default/api'] } }],
  ];
  it.each(OTHERS)('are not for %s', (_name, changes) => {
    const attempts = createAttempts(createFakeClock(TEST_START));
    const attempt = attempts.take(request());
    attempt.plan = PLAN;
    attempts.keep(request(), attempt);
    expect(attempts.take(request(changes))).not.toBe(attempt);
  });

  it('are forgotten after five minutes, and when half of the life has passed', () => {
    for (const [ms, ttl] of [
      [300_000, 3600],
      [40_000, 60],
    ] as const) {
      const clock = createFakeClock(TEST_START);
      const attempts = createAttempts(clock);
      const attempt = attempts.take(request({ ttlSeconds: ttl }));
      attempt.plan = { ...PLAN, validity: { notBeforeSeconds: at(-10), notAfterSeconds: at(ttl) } };
      attempts.keep(request({ ttlSeconds: ttl }), attempt);
      clock.advance(ms);
      expect(attempts.take(request({ ttlSeconds: ttl }))).not.toBe(attempt);
    }
  });

  it('that came to an end are told again to the very same request alone', () => {
    const attempts = createAttempts(createFakeClock(TEST_START));
    const attempt = attempts.take(request());
    attempt.plan = PLAN;
    attempt.isDone = true;
    attempts.keep(request(), attempt);
    expect(attempts.take(request({ requestId: 'forced anew' }))).not.toBe(attempt);
    expect(attempts.take(request())).toBe(attempt);
  });

  it('have a token of at most 36 characters that is another for everything that AWS would do otherwise', () => {
    type Parts = [
      Parameters<typeof idempotencyToken>[0],
      Plan,
      Parameters<typeof idempotencyToken>[2],
      Parameters<typeof idempotencyToken>[3],
    ];
    const usual: Parts = [{ caArn: 'arn', templateArn: 't' }, PLAN, { requestId: 'r1', round: 0 }, request()];
    const tokenOf = (place = -1, part?: Parts[number]) =>
      idempotencyToken(...(usual.map((one, i) => (i === place ? part : one)) as Parts));
    const longer = { ...PLAN.validity, notAfterSeconds: at(3601) };
    const tokens = [
      tokenOf(),
      tokenOf(0, { caArn: 'other', templateArn: 't' }),
      tokenOf(0, { caArn: 'arn', templateArn: 'other' }),
      tokenOf(1, { ...PLAN, signingAlgorithm: 'SHA256WITHRSA' }),
      tokenOf(1, { ...PLAN, validity: longer }),
      tokenOf(2, { requestId: 'r2', round: 0 }),
      tokenOf(2, { requestId: 'r1', round: 1 }),
      tokenOf(3, request({ csrDer: Buffer.from('other') })),
      tokenOf(3, request({ identity: { ...request().identity, commonName: 'other' } })),
    ];
    expect(new Set(tokens).size).toBe(tokens.length);
    for (const token of tokens) expect(token).toMatch(/^[0-9a-f]{1,36}$/);
    expect(tokenOf()).toBe(tokens[0]);
  });
});
