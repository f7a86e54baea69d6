import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseGoDuration } from '../../src/mesh/go-duration.ts';

const H = 3_600_000;

describe('a Go duration', () => {
  it.each([
    ['24h', 24 * H],
    ['24h30m', 24.5 * H],
    ['24h0m0s', 24 * H],
    ['87600h', 87_600 * H],
    ['1.5h', 1.5 * H],
    ['.5s', 500],
    ['1.s', 1000],
    ['1h1h', 2 * H],
    ['30s1m', 90_000],
    ['500ms', 500],
    ['1us', 0.001],
    ['1µs', 0.001],
    ['1μs', 0.001],
    ['1ns', 0.000_001],
    ['0', 0],
    ['-0', 0],
    ['+0', 0],
    ['0s', 0],
    ['-2m', -120_000],
    ['+2m', 120_000],
    ['0.000000001s', 0.000_001],
    ['2562047h', 2_562_047 * H],
  ])('%s is read', (text, ms) => expect(parseGoDuration(text)).toBe(ms));

  it.each([
    { why: 'nothing', text: '' },
    { why: 'a sign alone', text: '+' },
    { why: 'no unit', text: '24' },
    { why: 'no number', text: 'h' },
    { why: 'a point alone', text: '.h' },
    { why: 'days', text: '1d' },
    { why: 'weeks', text: '1w' },
    { why: 'another case', text: '1H' },
    { why: 'a blank', text: '1 h' },
    { why: 'a blank before', text: ' 1h' },
    { why: 'a blank after', text: '1h ' },
    { why: 'a number without unit at the end', text: '1h30' },
    { why: 'two points', text: '1..5h' },
    { why: 'two signs', text: '--1h' },
    { why: 'a sign in the middle', text: '1h-30m' },
    { why: 'an exponent', text: '1e3h' },
    { why: 'a hexadecimal number', text: '0x1h' },
    { why: 'digits of other scripts', text: '٣h' },
    { why: 'more than 63 bits of nanoseconds', text: '2562048h' },
    { why: 'far more than that', text: `${'9'.repeat(99)}h` },
    { why: 'more than 100 characters', text: '0h'.repeat(51) },
    { why: 'an end of line', text: '1h\n' },
  ])('is not $why', ({ text }) => expect(parseGoDuration(text)).toBeUndefined());

  it('is the sum of its parts, in any order', () => {
    const units = { h: H, m: 60_000, s: 1000, ms: 1 } as const;
    const part = fc.record({
      count: fc.nat(10_000),
      unit: fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[])),
    });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 8 }), fc.boolean(), (parts, negative) => {
        const sum = parts.reduce((ms, { count, unit }) => ms + count * units[unit], 0);
        const text = parts.map(({ count, unit }) => `${count}${unit}`).join('');
        expect(parseGoDuration(negative ? `-${text}` : text)).toBe(negative && sum > 0 ? -sum : sum);
      }),
    );
  });

  it('is undefined or a number for whatever is written, and never a throw', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[-+]?([0-9]*\.?[0-9]*(h|m|s|ms|us|d)?){0,5}$/));
    fc.assert(
      fc.property(text, (any) => {
        const ms = parseGoDuration(any);
        expect(ms === undefined || Number.isFinite(ms)).toBe(true);
      }),
    );
  });
});
