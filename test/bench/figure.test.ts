import { describe, expect, it } from 'vitest';
import { type Comparison, type Figure, shareOf, timesOf, verdictOf } from '../../bench/figure.ts';
import { formatFigures } from '../../bench/report.ts';

const of = (value: number, target?: Comparison['target']): Comparison => ({
  name: 'x',
  value,
  unit: 'times',
  ...(target === undefined ? {} : { target }),
});

describe('a comparison', () => {
  it.each([
    [2.1, { over: 2 }, 'met'],
    [2, { over: 2 }, 'missed'],
    [119, { under: 120 }, 'met'],
    [120, { under: 120 }, 'missed'],
    [Number.NaN, { over: 2 }, 'missed'],
  ] as const)('of %d against %j is %s', (value, target, verdict) => {
    expect(verdictOf(of(value, target))).toBe(verdict);
  });

  it('without a target has no verdict', () => expect(verdictOf(of(1))).toBeUndefined());

  it('is left out when a part was not measured', () => {
    expect(shareOf('x', undefined, 1)).toEqual([]);
    expect(timesOf('x', 1, undefined)).toEqual([]);
  });
});

describe('the table', () => {
  it('shows what was measured, then what follows from it', () => {
    const figure: Figure = {
      name: 'builtin',
      measurements: [{ name: 'builtin', certificatesPerSecond: 2345.6, p50Ms: 1.26, cpuSecondsPer1000: 0.41234 }],
      comparisons: [
        ...shareOf('of the ceiling', 0.2, 0.4, { over: 60 }),
        ...timesOf('over OpenBao', 0.9, 0.4, { over: 2 }),
      ],
    };
    const rows = formatFigures([figure])
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ {3,}/));
    expect(rows).toEqual([
      ['builtin', '2,346', '1.3', '0.412'],
      ['- of the ceiling', '50 %', '> 60 %', 'missed'],
      ['- over OpenBao', '2.25 times', '> 2 times', 'met'],
    ]);
  });
});
