import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BACKOFF_MAX_MS,
  backoffMs,
  type Life,
  lifeAfterRenewal,
  lifeFromLogin,
  lifeFromLookup,
  MIN_STEP_MS,
  nextStep,
  UNKNOWN_LIFE,
  UNTOLD_LIFE,
} from '../../adapters/vault/token-life.ts';

const HOUR_MS = 3_600_000;
const NOT_TRIED = { failures: 0, lastMs: 0, retryAfterMs: 0 };
const service = (ttlSeconds: number, renewable = true) => lifeFromLogin({ ttlSeconds, renewable, type: 'service' }, 0);

describe('the next step in the life of a vault token', () => {
  const CASES: readonly [string, Life, boolean, 'look-up' | 'renew' | 'replace' | undefined][] = [
    ['one that was only read is looked up', UNTOLD_LIFE, false, 'look-up'],
    ['one that may not look itself up is left alone', UNKNOWN_LIFE, false, undefined],
    ['a root token is left alone', service(0), true, undefined],
    ['a renewable one is renewed', service(3600), false, 'renew'],
    ['a renewable one of a login is renewed', service(3600), true, 'renew'],
    ['one that cannot be renewed is read again before its end', service(3600, false), false, 'replace'],
    ['one that cannot be renewed makes us log in again', service(3600, false), true, 'replace'],
    [
      'a batch token is never renewed, even when Vault calls it renewable',
      lifeFromLogin({ ttlSeconds: 3600, renewable: true, type: 'batch' }, 0),
      true,
      'replace',
    ],
    [
      'a login token at its maximum makes us log in again',
      lifeAfterRenewal(service(3600), { ttlSeconds: 1200, renewable: true, type: 'service' }, 2_400_000),
      true,
      'replace',
    ],
    [
      "somebody else's token at its maximum is still renewed",
      lifeAfterRenewal(service(3600), { ttlSeconds: 1200, renewable: true, type: 'service' }, 2_400_000),
      false,
      'renew',
    ],
  ];
  it.each(CASES)('%s', (_what, life, logsIn, kind) => {
    expect(nextStep(life, NOT_TRIED, logsIn, 0, 0.5)?.kind).toBe(kind);
  });

  it('comes at about two thirds of what is left, spread at random', () => {
    const at = (uniform: number) => (nextStep(service(3600), NOT_TRIED, false, 0, uniform)?.atMs ?? 0) / HOUR_MS;
    expect(at(0)).toBeCloseTo(0.62);
    expect(at(0.5)).toBeCloseTo(2 / 3, 2);
    expect(at(0.999)).toBeCloseTo(0.71);
  });

  it('waits longer after each failure, from a second to five minutes, and as long as Vault asks', () => {
    const waits = [1, 2, 3, 8, 9, 10, 50].map((failures) => backoffMs({ ...NOT_TRIED, failures }, 0));
    expect(waits).toEqual([1000, 2000, 4000, 128_000, 256_000, 300_000, 300_000]);
    expect(backoffMs({ ...NOT_TRIED, failures: 3 }, 0.999)).toBeGreaterThanOrEqual(3000);
    expect(backoffMs({ failures: 1, lastMs: 0, retryAfterMs: 60_000 }, 0)).toBe(60_000);
  });

  it('is a last attempt before the end when the whole wait does not fit', () => {
    const lastMs = HOUR_MS - 60_000;
    const step = nextStep(service(3600), { failures: 8, lastMs, retryAfterMs: 0 }, false, lastMs, 0);
    expect(step?.atMs).toBe(HOUR_MS - 10_000);
  });

  it('comes after the end once the last attempt failed: a login is wanted, another reading is not', () => {
    const lastMs = HOUR_MS - 5_000;
    const tries = { failures: 8, lastMs, retryAfterMs: 0 };
    expect(nextStep(service(3600), tries, true, lastMs, 0)?.atMs).toBe(lastMs + 128_000);
    expect(nextStep(service(3600), tries, true, HOUR_MS + 1, 0)).toEqual({ kind: 'replace', atMs: lastMs + 128_000 });
    expect(nextStep(service(3600), tries, false, HOUR_MS + 1, 0)).toBeUndefined();
  });

  it('takes a period, or the life that the token was made with, as what a renewal should give', () => {
    const told = { ttlSeconds: 100, renewable: true, type: 'service', neverExpires: false } as const;
    const life = lifeFromLookup({ ...told, grantedSeconds: 3600 }, 0);
    const renewed = (ttlSeconds: number) => lifeAfterRenewal(life, { ...told, ttlSeconds }, 50_000).isAtMaximum;
    expect([renewed(3600), renewed(1801), renewed(1000), renewed(50)]).toEqual([false, false, true, true]);
  });

  it('is never sooner than two seconds after the last, whatever is known, and never far beyond the end', () => {
    const number = fc.oneof(fc.integer({ min: 0, max: 100 }), fc.integer({ min: 0, max: 3_000_000_000 }));
    const inputs = fc.record({
      ttlSeconds: number,
      renewedTo: number,
      renewable: fc.boolean(),
      logsIn: fc.boolean(),
      failures: fc.nat(60),
      retryAfterMs: fc.nat(3_600_000),
      lastMs: number,
      sinceMs: fc.nat(10_000_000),
      uniform: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    });
    fc.assert(
      fc.property(inputs, (given) => {
        const { ttlSeconds, renewable, lastMs } = given;
        const first = lifeFromLogin({ ttlSeconds, renewable, type: 'service' }, lastMs);
        const told = { ttlSeconds: given.renewedTo, renewable, type: 'service' } as const;
        for (const life of [first, lifeAfterRenewal(first, told, lastMs)]) {
          const nowMs = lastMs + given.sinceMs;
          const step = nextStep(life, given, given.logsIn, nowMs, given.uniform);
          if (step === undefined) continue;
          expect(step.atMs).toBeGreaterThanOrEqual(Math.max(lastMs + MIN_STEP_MS, nowMs));
          const latest = Math.max(life.endsAtMs, lastMs + Math.max(BACKOFF_MAX_MS, given.retryAfterMs), nowMs);
          expect(step.atMs).toBeLessThanOrEqual(latest + MIN_STEP_MS);
        }
      }),
    );
  });
});
