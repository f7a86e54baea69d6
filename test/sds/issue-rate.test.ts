import { describe, expect, it } from 'vitest';
import { IssueRate } from '../../src/sds/issue-rate.ts';

const web = { mesh: 'default', dataplane: 'web-1' };

function createRate(most?: number) {
  const time = { ms: 1_000_000 };
  return { time, rate: new IssueRate({ monotonicMs: () => time.ms }, most) };
}

describe('new certificates of one data plane', () => {
  it('are ten at once, and then one in ten seconds', () => {
    const { rate, time } = createRate();
    for (let i = 0; i < 10; i += 1) {
      expect(rate.waitMs(web)).toBe(0);
      rate.note(web);
    }
    expect(rate.waitMs(web)).toBe(10_000);
    time.ms += 4_000;
    expect(rate.waitMs(web)).toBe(6_000);
    time.ms += 6_000;
    expect(rate.waitMs(web)).toBe(0);
    rate.note(web);
    expect(rate.waitMs(web)).toBe(10_000);
  });

  it('are ten again after a while', () => {
    const { rate, time } = createRate();
    for (let i = 0; i < 10; i += 1) rate.note(web);
    time.ms += 100_000;
    for (let i = 0; i < 10; i += 1) {
      expect(rate.waitMs(web)).toBe(0);
      rate.note(web);
    }
    expect(rate.waitMs(web)).toBe(10_000);
  });

  it('do not count for another one', () => {
    const { rate } = createRate();
    for (let i = 0; i < 20; i += 1) rate.note(web);
    expect(rate.waitMs({ mesh: 'default', dataplane: 'web-2' })).toBe(0);
    expect(rate.waitMs({ mesh: 'other', dataplane: 'web-1' })).toBe(0);
  });

  it('are forgotten when they count no longer, and when there are too many data planes', () => {
    const { rate, time } = createRate(3);
    for (let i = 0; i < 10; i += 1) rate.note({ mesh: 'default', dataplane: `d-${i}` });
    expect(rate.size).toBe(3);
    time.ms += 10_001;
    rate.note(web);
    expect(rate.size).toBe(1);
  });
});
