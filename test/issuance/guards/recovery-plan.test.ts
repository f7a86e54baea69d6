import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRecoveryPlan, SLOTS_PER_SECOND } from '../../../src/issuance/guards/recovery-plan.ts';

const START = 1000;
const names = (count: number, prefix = 'dp') => Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
/** The later the name the sooner the end of its certificate. */
const refused = (count: number) => new Map(names(count).map((name, i) => [name, 1e12 - i * 1000]));

function plan(count: number, spreadMs = 60_000, most?: number) {
  return createRecoveryPlan({ startMs: START, spreadMs, refused: refused(count), ...(most !== undefined && { most }) });
}

/** How many of the times fall into each stretch. */
function counts(times: readonly number[], stretchMs: number): number[] {
  const found = new Map<number, number>();
  for (const time of times) {
    const stretch = Math.floor((time - START) / stretchMs);
    found.set(stretch, (found.get(stretch) ?? 0) + 1);
  }
  return [...found.values()];
}

describe('those that were refused', () => {
  it('come evenly, the most urgent first', () => {
    const { slot } = plan(4);
    expect(names(4).map((name) => slot(name, 0, START))).toEqual([46_000, 31_000, 16_000, 1000]);
  });

  it('come in any order that their certificates end in, which may be no time at all', () => {
    const ends = fc.array(fc.oneof(fc.integer({ min: -5, max: 2e10 }), fc.constant(Number.NaN)), {
      minLength: 1,
      maxLength: 50,
    });
    fc.assert(
      fc.property(ends, (seconds) => {
        const known = new Map(seconds.map((second, i) => [`dp-${i}`, second * 1000]));
        const { slot } = createRecoveryPlan({ startMs: START, spreadMs: 60_000, refused: known });
        const order = [...known].sort(([a], [b]) => slot(a, 0, START) - slot(b, 0, START));
        const inOrder = order.map(([, atMs]) => Math.max(0, atMs || 0));
        expect(inOrder).toEqual([...inOrder].sort((a, b) => a - b));
        expect(new Set(order.map(([name]) => slot(name, 0, START))).size).toBe(known.size);
      }),
    );
  });

  it('do not wait when there is only one', () => expect(plan(1).slot('dp-0', 0, START)).toBe(START));

  it('take longer when they are many, so that no second gets more than it may', () => {
    const { slot, endsAtMs } = plan(6000);
    const times = names(6000).map((name) => slot(name, 0, START));
    expect(endsAtMs).toBe(START + 120_000);
    expect(Math.max(...counts(times, 1000))).toBeLessThanOrEqual(SLOTS_PER_SECOND + 1);
  });

  it('wait no more when the time is over', () => {
    const { slot, endsAtMs } = plan(3);
    expect(slot('dp-0', 0, endsAtMs)).toBe(endsAtMs);
    expect(slot('stranger', 0, endsAtMs + 5)).toBe(endsAtMs + 5);
  });

  it('are known as long as they wait', () => {
    const { waiting } = plan(3);
    expect([...waiting(START)]).toEqual([
      ['dp-1', 1e12 - 1000],
      ['dp-0', 1e12],
    ]);
    expect([...waiting(START + 60_000)]).toEqual([]);
  });
});

describe('those that come unexpected', () => {
  it('are spread over what is left, and told the same when they ask again', () => {
    const { slot } = plan(0);
    const strangers = names(600);
    const times = strangers.map((name) => slot(name, 0, START + 30_000));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(START + 30_000);
    expect(Math.max(...times)).toBeLessThan(START + 60_000);
    // 600 in 6 stretches.
    expect(Math.max(...counts(times, 5000))).toBeLessThan(200);
    expect(strangers.map((name) => slot(name, 0, START + 31_000))).toEqual(times);
  });

  it('are let in later when there is no room', () => {
    const planned = plan(0, 10_000);
    const times = names(2000).map((name) => planned.slot(name, 0, START + 9000));
    expect(Math.max(...counts(times, 1000))).toBeLessThanOrEqual(SLOTS_PER_SECOND);
    expect(planned.endsAtMs).toBe(Math.max(...times));
    expect(planned.endsAtMs).toBeLessThan(START + 52_000);
  });

  it('come by chance of their names when more come than can be remembered', () => {
    const planned = plan(0, 60_000, 10);
    const times = names(300).map((name) => planned.slot(name, 0, START));
    expect(names(300).map((name) => planned.slot(name, 0, START))).toEqual(times);
    expect(Math.max(...times)).toBeLessThan(START + 60_000);
    expect(Math.max(...counts(times, 5000))).toBeLessThan(50);
  });

  it('and those that were refused never are more than a second may have, nor told two times', () => {
    const come = fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 200 }));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1000 }), fc.array(come, { maxLength: 6 }), (known, groups) => {
        const planned = plan(known, 20_000);
        const slots = new Map(names(known).map((name) => [name, planned.slot(name, 0, START)]));
        let nowMs = START;
        for (const [index, [afterMs, count]] of groups.entries()) {
          nowMs += afterMs;
          for (const name of names(count, `late-${index}`)) {
            const atMs = planned.slot(name, 0, nowMs);
            if (atMs < nowMs) throw new Error(`${name} came at ${nowMs} and was told ${atMs}`);
            if (nowMs < planned.endsAtMs) slots.set(name, atMs);
          }
        }
        expect(Math.max(0, ...counts([...slots.values()], 1000))).toBeLessThanOrEqual(SLOTS_PER_SECOND + 1);
        if (nowMs >= planned.endsAtMs) return;
        const again = [...slots.keys()].map((name) => planned.slot(name, 0, nowMs));
        expect(again).toEqual([...slots.values()]);
      }),
      { numRuns: 15 },
    );
  });
});
