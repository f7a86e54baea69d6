import { describe, expect, it } from 'vitest';
import { countText } from '../../src/text/count-text.ts';
import { spanText } from '../../src/text/span-text.ts';

describe('spans', () => {
  it.each([
    [-1, '0 s'],
    [0, '0 s'],
    [0.4, '0 s'],
    [1, '1 s'],
    [59.4, '59 s'],
    [59.5, '1 min'],
    [60, '1 min'],
    [90, '1 min 30 s'],
    [3599, '59 min 59 s'],
    [3600, '1 h'],
    [3605, '1 h'],
    [7500, '2 h 5 min'],
    [86_399, '23 h 59 min'],
    [86_400, '1 d'],
    [363_600, '4 d 5 h'],
    [90 * 86_400, '90 d'],
  ])('of %d seconds read as %s', (seconds, text) => {
    expect(spanText(seconds * 1000)).toBe(text);
  });
});

describe('counts', () => {
  it.each([
    [0, '0 checks'],
    [1, '1 check'],
    [2, '2 checks'],
  ])('of %d read as %s', (count, text) => {
    expect(countText(count, 'check')).toBe(text);
  });
});
