import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAdaptiveLimit } from '../../../src/issuance/queue/adaptive-limit.ts';
import { nextLimit } from '../../../src/issuance/queue/next-limit.ts';
import { createServiceTimes, noteTime } from '../../../src/issuance/queue/service-times.ts';
import { type ModelRun, type ModelServer, runModel } from './model-server.ts';

const VAULT = { start: 16, max: 256, targetDelayMs: 50 };
const CERT_MANAGER = { start: 8, max: 256, targetDelayMs: 750 };

const exponential = (meanMs: number, chance: number) => -meanMs * Math.log(1 - chance);
const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
const late = <T>(all: readonly T[]) => all.slice(all.length / 2);

/** What is served, as a part of what is served with as many in flight as may be: in all, and in the second half. */
function shareOfBest(run: ModelRun) {
  const max = typeof run.concurrency === 'number' ? run.concurrency : run.concurrency.max;
  const [shown, best] = [runModel(run), runModel({ ...run, concurrency: max })];
  return {
    ...shown,
    inAll: sum(shown.perSecond) / sum(best.perSecond),
    inTheEnd: sum(late(shown.perSecond)) / sum(late(best.perSecond)),
  };
}

/** The whole process stands still for the first `forMs` of each `everyMs`. */
const pausedFor = (forMs: number, everyMs: number) => (atMs: number) =>
  atMs % everyMs < forMs ? atMs - (atMs % everyMs) + forMs : atMs;

describe('the limit of a quick backend', () => {
  const cases: readonly (readonly [name: string, server: ModelServer, seconds: number, leastInAll: number])[] = [
    ['eight at a time, 2 ms each', { parallel: 8, serviceMs: () => 2 }, 2, 0.95],
    ['2 ms each on average', { parallel: 8, serviceMs: (_now, chance) => 0.5 + exponential(1.5, chance) }, 2, 0.95],
    ['one at a time', { parallel: 1, serviceMs: () => 3 }, 4, 0.95],
    ['two hundred at a time, 20 ms each: it has to grow', { parallel: 200, serviceMs: () => 20 }, 4, 0.9],
    [
      'and this process pauses 150 ms twice a second',
      { parallel: 8, serviceMs: () => 2, seenAtMs: pausedFor(150, 500) },
      8,
      0.95,
    ],
    [
      'and this process pauses 250 ms of 700',
      { parallel: 64, serviceMs: () => 20, seenAtMs: pausedFor(250, 700) },
      10,
      0.95,
    ],
    [
      'and this process becomes busy: 50 ms late on average',
      {
        parallel: 64,
        serviceMs: () => 2,
        seenAtMs: (now, chance) => (now < 2_000 ? now : now + exponential(50, chance)),
      },
      8,
      0.9,
    ],
    [
      'and this process becomes very busy: all of it 200 ms late',
      { parallel: 64, serviceMs: () => 2, seenAtMs: (now) => (now < 2_000 ? now : now + 200) },
      10,
      0.9,
    ],
    ['and it becomes slower for good', { parallel: 64, serviceMs: (now) => (now < 2_000 ? 2 : 300) }, 24, 0.9],
  ];
  it.each(cases)('lets it do what it can: %s', (_name, server, seconds, leastInAll) => {
    const { inAll, inTheEnd } = shareOfBest({ server, forMs: seconds * 1000, concurrency: VAULT });
    expect(inAll).toBeGreaterThan(leastInAll);
    expect(inTheEnd).toBeGreaterThan(0.95);
  });

  it('does not collapse for good when this process is late by any time, 200 ms on average', () => {
    const seenAtMs = (now: number, chance: number) => (now < 2_000 ? now : now + exponential(200, chance));
    const server = { parallel: 64, serviceMs: () => 2, seenAtMs };
    const { inTheEnd } = shareOfBest({ server, forMs: 30_000, concurrency: VAULT });
    expect(inTheEnd).toBeGreaterThan(0.7);
  });

  it('keeps what waits there short', () => {
    const { inFlight } = runModel({ server: { parallel: 2, serviceMs: () => 4 }, forMs: 5_000, concurrency: VAULT });
    // 500 a second: so many wait for twice the target at most.
    expect(Math.max(...late(inFlight))).toBeLessThanOrEqual(50);
  });

  it('stays within its bounds', () => {
    const server = { parallel: 200, serviceMs: () => 20 };
    const { limits } = runModel({ server, forMs: 3_000, concurrency: { ...VAULT, max: 50 } });
    expect(limits.at(-1)).toBe(50);
  });
});

describe('the limit of cert-manager', () => {
  const STOCK = { parallel: 1, serviceMs: () => 1000 / 7 };

  it('keeps one of 7 a second busy and does not flood it', () => {
    const { inTheEnd, inFlight } = shareOfBest({ server: STOCK, forMs: 600_000, concurrency: CERT_MANAGER });
    const mean = sum(late(inFlight)) / late(inFlight).length;
    expect(inTheEnd).toBeGreaterThan(0.99);
    expect(mean).toBeGreaterThan(3);
    expect(Math.max(...late(inFlight))).toBeLessThanOrEqual(14);
  });

  it('does so, too, for a thousand backends of one request each', () => {
    const { inFlight } = runModel({ server: STOCK, forMs: 300_000, concurrency: CERT_MANAGER, backends: 1000 });
    expect(Math.max(...late(inFlight))).toBeLessThanOrEqual(14);
  });

  it('grows for a quick one', () => {
    const { limits } = runModel({
      server: { parallel: 1, serviceMs: () => 0.5 },
      forMs: 3_000,
      concurrency: CERT_MANAGER,
    });
    expect(limits.at(-1)).toBeGreaterThan(64);
  });

  it('is at what one that has become slow can do when its queue has drained', () => {
    const serviceMs = (now: number) => (now < 60_000 ? 2.5 : 1000 / 7);
    const { inFlight } = runModel({ server: { parallel: 1, serviceMs }, forMs: 180_000, concurrency: CERT_MANAGER });
    expect(inFlight.at(-1)).toBeLessThanOrEqual(14);
  });

  it('takes the time that an issuer always needs for no queue', () => {
    const server = { parallel: 64, serviceMs: () => 6_000 };
    const { inTheEnd } = shareOfBest({ server, forMs: 300_000, concurrency: CERT_MANAGER });
    expect(inTheEnd).toBeGreaterThan(0.95);
  });
});

describe('the limit', () => {
  function create(concurrency = CERT_MANAGER) {
    let nowMs = 0;
    const limit = createAdaptiveLimit({ monotonicMs: () => nowMs, concurrency });
    return { limit, pass: (ms: number) => (nowMs += ms) };
  }

  it.each(['throttled', 'timed-out'] as const)(
    'halves when a request was %s, once for one cause, and never stops',
    (how) => {
      const { limit, pass } = create();
      for (let i = 0; i < 8; i += 1) limit.congested(how);
      expect(limit.limit).toBe(4);
      for (let i = 0; i < 10; i += 1) {
        pass(1_001);
        limit.congested(how);
      }
      expect(limit.limit).toBe(1);
    },
  );

  it('grows by one at a time where the backend was found to throttle', () => {
    const before = { pressure: 0, max: 256, throttledAt: 20 };
    expect([8, 16, 20, 21].map((limit) => nextLimit(limit, before))).toEqual([16, 20, 21, 22]);
  });

  it('does not grow while nobody waits for a place', () => {
    const { limit, pass } = create();
    const times = createServiceTimes();
    for (let i = 0; i < 1000; i += 1) {
      limit.enter();
      pass(10);
      limit.leave();
      limit.served(times, i * 10);
    }
    expect(limit.limit).toBe(8);
  });

  it('takes what grows with nobody waiting for no queue', () => {
    const { limit, pass } = create({ ...VAULT, start: 64 });
    const times = createServiceTimes();
    let nowMs = 0;
    for (let round = 0; round < 60; round += 1) {
      const tookMs = round < 30 ? 20 : 400;
      for (let i = 0; i < 64; i += 1) limit.enter();
      pass(tookMs);
      for (let i = 0; i < 64; i += 1) {
        limit.leave();
        limit.served(times, nowMs);
      }
      nowMs += tookMs;
    }
    expect(limit.limit).toBe(64);
  });

  it('is within bounds whatever is told', () => {
    const step = fc.record({
      do: fc.constantFrom('enter', 'served', 'wanted', 'throttled', 'timed-out'),
      afterMs: fc.nat(2_000),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const { limit, pass } = create({ start: 8, max: 40, targetDelayMs: 50 });
        const times = createServiceTimes();
        const given: number[] = [];
        let nowMs = 0;
        for (const { do: what, afterMs } of steps) {
          nowMs += afterMs;
          pass(afterMs);
          if (what === 'enter') {
            limit.enter();
            given.push(nowMs);
          } else if (what === 'served') {
            const givenMs = given.shift();
            if (givenMs === undefined) continue;
            limit.leave();
            limit.served(times, givenMs);
          } else if (what === 'wanted') limit.wanted();
          else limit.congested(what);
          expect(limit.limit).toBeGreaterThanOrEqual(1);
          expect(limit.limit).toBeLessThanOrEqual(40);
          expect(Number.isInteger(limit.limit)).toBe(true);
          expect(limit.inFlight).toBe(given.length);
        }
      }),
    );
  });
});

describe('service times', () => {
  it('are calm at the least mean, not at one lucky request', () => {
    const times = createServiceTimes();
    for (let i = 0; i < 100; i += 1) noteTime(times, i % 10 === 0 ? 1 : 100, 0);
    expect(times.calmMs).toBeGreaterThan(75);
  });

  it('are forgotten with a new measurement', () => {
    const times = createServiceTimes();
    for (let i = 0; i < 20; i += 1) noteTime(times, 2, 0);
    noteTime(times, 300, 1);
    expect(times).toEqual({ usualMs: 300, calmMs: 300, count: 1, measurement: 1 });
  });
});
