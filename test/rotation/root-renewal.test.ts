import { describe, expect, it } from 'vitest';
import { isNearItsEnd } from '../../src/rotation/root-renewal.ts';

describe('the end of a root', () => {
  const years = (from: number, to: number) => ({
    notBefore: new Date(`${from}-01-01T00:00:00Z`),
    notAfter: new Date(`${to}-01-01T00:00:00Z`),
  });

  it.each([
    ['far', years(2020, 2030), '2027-12-01T00:00:00Z', false],
    ['near in the last fifth', years(2020, 2030), '2028-01-02T00:00:00Z', true],
    ['over', years(2020, 2030), '2031-01-01T00:00:00Z', true],
  ])('is %s', (_, root, now, isNear) => {
    expect(isNearItsEnd(root, new Date(now))).toBe(isNear);
  });
});
