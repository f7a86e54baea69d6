import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatProtobufDuration,
  parseDuration,
  parseProtobufDuration,
  protobufDurationMs,
  protobufDurationOf,
  readProtobufDuration,
} from '../../src/mesh/duration.ts';

const DAY = 86_400_000;

describe("Kuma's durations", () => {
  it.each([
    ['0', 0],
    ['0s', 0],
    ['15ms', 15],
    ['30s', 30_000],
    ['5m', 300_000],
    ['24h', DAY],
    ['1d', DAY],
    ['2w', 14 * DAY],
    ['2y', 730 * DAY],
    ['10y', 3650 * DAY],
    ['007d', 7 * DAY],
  ])('reads %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each([
    '',
    '1',
    '1h30m',
    '1.5h',
    '-1d',
    '+1d',
    ' 1d',
    '1d ',
    '1 d',
    'd',
    '1D',
    '1us',
    '1M',
    '293y',
    '9'.repeat(30),
    '1d\n',
    '١d',
  ])('refuses %j', (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it('reads every integer with every unit, and never anything negative', () => {
    const units = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: DAY, w: 7 * DAY, y: 365 * DAY };
    fc.assert(
      fc.property(fc.nat({ max: 292 }), fc.constantFrom(...Object.entries(units)), (count, [unit, ms]) => {
        expect(parseDuration(`${count}${unit}`)).toBe(count * ms);
      }),
    );
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(parseDuration(text) ?? 0).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe('protobuf durations', () => {
  it.each([
    ['10s', 10_000],
    ['0.5s', 500],
    ['1.000000001s', 1000.000001],
    ['-3s', -3000],
    ['-0.25s', -250],
  ])('reads %s', (text, ms) => {
    expect(parseProtobufDuration(text)).toBeCloseTo(ms, 6);
  });

  it.each(['', '10', 's', '1m', '1.s', '.5s', '1e3s', '0.1234567890s', '999999999999s', ' 1s'])(
    'refuses %j',
    (text) => {
      expect(parseProtobufDuration(text)).toBeUndefined();
    },
  );

  it.each<[unknown, string]>([
    [{ seconds: 10 }, '10s'],
    [{ seconds: '10', nanos: 0 }, '10s'],
    [{ nanos: 500_000_000 }, '0.500s'],
    [{ seconds: 1, nanos: 1 }, '1.000000001s'],
    [{ seconds: -1, nanos: -250_000_000 }, '-1.250s'],
    ['1.500000s', '1.500s'],
    ['0s', '0s'],
  ])('writes %j in the canonical form', (input, text) => {
    const duration = readProtobufDuration(input);
    expect(duration && formatProtobufDuration(duration)).toBe(text);
  });

  it.each<[unknown]>([
    [10],
    [null],
    [[]],
    [{ seconds: 1.5 }],
    [{ seconds: 1, nanos: -1 }],
    [{ nanos: 1e9 }],
    [{ second: 1 }],
    [{ seconds: 1e15 }],
  ])('refuses %j', (input) => {
    expect(readProtobufDuration(input)).toBeUndefined();
  });

  it('comes back from its text as it was', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), fc.integer({ min: 0, max: 999 }), (seconds, millis) => {
        const ms = seconds * 1000 + millis;
        const text = formatProtobufDuration(protobufDurationOf(ms));
        const again = readProtobufDuration(text);
        expect(again && protobufDurationMs(again)).toBe(ms);
      }),
    );
  });
});
