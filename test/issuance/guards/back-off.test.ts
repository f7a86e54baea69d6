import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { waitAfter } from '../../../src/issuance/guards/back-off.ts';
import type { Effect, Failure } from '../../../src/issuance/guards/failure.ts';
import { createHeldDataplanes } from '../../../src/issuance/guards/held-dataplanes.ts';

const RULES = { backoffBaseMs: 5000, backoffMaxMs: 300_000 };

const CODES = {
  backend: 'ERR_ISSUER_UNAVAILABLE',
  throttled: 'ERR_ISSUER_RATE_LIMITED',
  pending: 'ERR_ISSUANCE_PENDING',
  refused: 'ERR_REQUEST_INVALID',
} as const satisfies Record<Effect, string>;

function failure(effect: Effect, toldMs?: number): Failure {
  return { effect, cause: { code: CODES[effect], message: 'm', fix: undefined }, toldMs };
}

describe('the wait', () => {
  const cases: readonly {
    name: string;
    failures: number;
    of?: Failure;
    chance?: number;
    gives: number;
  }[] = [
    { name: 'after the first failure is the base', failures: 1, gives: 5000 },
    { name: 'doubles', failures: 2, gives: 10_000 },
    { name: 'doubles each time', failures: 6, gives: 160_000 },
    { name: 'ends at the most', failures: 7, gives: 300_000 },
    { name: 'stays at the most', failures: 5000, gives: 300_000 },
    { name: 'is shorter by chance', failures: 2, chance: 0.5, gives: 8750 },
    { name: 'of the most is shorter by chance, too', failures: 9, chance: 0.5, gives: 262_500 },
    { name: 'is as long as the backend says', failures: 1, of: failure('backend', 60_000), gives: 60_000 },
    { name: 'is longer than the most when the backend says so', failures: 1, of: failure('backend', 1e6), gives: 1e6 },
    { name: 'is not as short as a failing backend says', failures: 3, of: failure('backend', 1000), gives: 20_000 },
    {
      name: 'is exactly what a throttling backend says',
      failures: 7,
      chance: 0.9,
      of: failure('throttled', 1),
      gives: 1,
    },
    { name: 'grows when a throttling backend says nothing', failures: 3, of: failure('throttled'), gives: 20_000 },
    { name: 'for what is worked on is as long as it says', failures: 1, of: failure('pending', 7000), gives: 7000 },
  ];
  for (const { name, failures, of = failure('backend'), chance = 0, gives } of cases) {
    it(name, () => expect(waitAfter(failures, of, RULES, { nowMs: 7, chance }).untilMs).toBe(7 + gives));
  }

  it('is from three quarters to the whole, and never over the most', () => {
    const ms = fc.integer({ min: 100, max: 86_400_000 });
    const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(ms, ms, fc.integer({ min: 1, max: 100 }), chance, (base, most, failures, by) => {
        const rules = { backoffBaseMs: base, backoffMaxMs: most };
        const full = waitAfter(failures, failure('backend'), rules, { nowMs: 0, chance: 0 }).untilMs;
        const { untilMs } = waitAfter(failures, failure('backend'), rules, { nowMs: 0, chance: by });
        expect(full).toBeLessThanOrEqual(most);
        expect(untilMs).toBeLessThanOrEqual(full);
        expect(untilMs).toBeGreaterThanOrEqual(full * 0.75);
      }),
    );
  });
});

describe('held data planes', () => {
  const at = (nowMs: number) => ({ nowMs, chance: 0 });
  const start = (most?: number) => createHeldDataplanes(RULES, most);

  it('are held until their wait is over, and no longer', () => {
    const held = start();
    held.failed('a', 'f', failure('backend'), at(0));
    expect(held.find('a', 'f', 4999)).toMatchObject({ failures: 1, wait: { untilMs: 5000 } });
    expect(held.find('a', 'f', 5000)).toBeUndefined();
    expect(held.find('b', 'f', 1)).toBeUndefined();
    expect([held.count(4999), held.count(5000)]).toEqual([1, 0]);
  });

  it('that were refused may correct their request once, and their failures count on', () => {
    const held = start();
    held.failed('a', 'f', failure('refused'), at(0));
    held.failed('a', 'f', failure('refused'), at(0));
    expect(held.find('a', 'other', 1)).toBeUndefined();
    held.failed('a', 'other', failure('refused'), at(0));
    expect(held.find('a', 'other', 1)?.failures).toBe(3);
    expect(held.find('a', 'and another', 1)?.failures).toBe(3);
  });

  it('start anew after a success', () => {
    const held = start();
    held.failed('a', 'f', failure('backend'), at(0));
    expect([held.succeeded('a'), held.succeeded('a')]).toEqual([true, false]);
    held.failed('a', 'f', failure('backend'), at(0));
    expect(held.find('a', 'f', 1)?.failures).toBe(1);
  });

  it('start anew when the last failure is long past', () => {
    const held = start();
    held.failed('a', 'f', failure('backend'), at(0));
    held.failed('a', 'f', failure('backend'), at(304_999));
    expect(held.find('a', 'f', 305_000)?.failures).toBe(2);
    held.failed('a', 'f', failure('backend'), at(614_999 - 5000 + 5000 + 300_000));
    expect(held.find('a', 'f', 915_000)?.failures).toBe(1);
  });

  it('are dropped when their wait is over for the longest wait', () => {
    const held = start();
    held.failed('a', 'f', failure('backend'), at(0));
    expect([held.prune(304_999), held.size, held.prune(305_000), held.size]).toEqual([false, 1, true, 0]);
  });

  it('are not more than there may be: who failed least recently goes', () => {
    const held = start(2);
    for (const name of ['a', 'b', 'a', 'c']) held.failed(name, 'f', failure('backend'), at(0));
    expect([...held.entries()].map(([name]) => name)).toEqual(['a', 'c']);
  });

  it('are let go when the backend is well again, but for what it told them itself', () => {
    const held = start();
    for (const effect of ['backend', 'pending', 'throttled', 'refused'] as const) {
      held.failed(effect, 'f', failure(effect, 60_000), at(0));
    }
    held.lift();
    expect([...held.entries()].map(([name]) => name)).toEqual(['throttled', 'refused']);
  });
});
