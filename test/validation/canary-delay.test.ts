import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canaryDelayMs } from '../../src/validation/canary-delay.ts';

const fraction = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const moment = fc.record({
  nowMs: fc.integer({ min: 1_700_000_000_000, max: 1_900_000_000_000 }),
  intervalMs: fc.integer({ min: 1, max: 86_400_000 }),
  phase: fraction,
  jitter: fraction,
});

describe('when a backend is proven next', () => {
  it('is within ten seconds and its interval when it never was', () => {
    fc.assert(
      fc.property(moment, (given) => {
        const delayMs = canaryDelayMs({ ...given, lastMs: undefined });
        expect(delayMs).toBeGreaterThanOrEqual(0);
        expect(delayMs).toBeLessThanOrEqual(Math.min(10_000, given.intervalMs));
      }),
    );
  });

  it('is the interval after the last proof, and at most a tenth of it later', () => {
    fc.assert(
      fc.property(moment, fraction, (given, age) => {
        const lastMs = given.nowMs - Math.floor(age * given.intervalMs);
        const sinceMs = given.nowMs + canaryDelayMs({ ...given, lastMs }) - lastMs;
        expect(sinceMs).toBeGreaterThanOrEqual(given.intervalMs - 0.001);
        expect(sinceMs).toBeLessThanOrEqual(given.intervalMs * 1.1 + 0.001);
      }),
    );
  });

  it('is within the interval when the last proof is older than that', () => {
    fc.assert(
      fc.property(moment, fc.integer({ min: 1, max: 1_000_000_000 }), (given, over) => {
        const delayMs = canaryDelayMs({ ...given, lastMs: given.nowMs - given.intervalMs - over });
        expect(delayMs).toBeGreaterThanOrEqual(0);
        expect(delayMs).toBeLessThanOrEqual(given.intervalMs);
      }),
    );
  });

  it('is not put off for years by a clock that was set back', () => {
    fc.assert(
      fc.property(moment, fc.integer({ min: 1, max: 1_000_000_000_000 }), (given, ahead) => {
        const delayMs = canaryDelayMs({ ...given, lastMs: given.nowMs + ahead });
        expect(delayMs).toBeLessThanOrEqual(given.intervalMs * 1.1 + 0.001);
      }),
    );
  });
});
