import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attempt, type Checks, createChecks } from '../../adapters/shared/checks.ts';
import { ConfigError, IssuerDeniedError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import type { Check } from '../../src/issuer/issuer.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';

function start() {
  const clock = createFakeClock(TEST_START);
  const caller = new AbortController();
  const told: Check[] = [];
  const checks = createChecks('some', { clock, signal: caller.signal, report: (check) => void told.push(check) });
  return { clock, caller, told, checks };
}

/** What one call tells. */
function toldBy(tell: (checks: Checks) => void): Check | undefined {
  const { checks, told } = start();
  tell(checks);
  return told.at(-1);
}

describe('the findings of an inspection', () => {
  it('are told at once, each with the time since the one before', () => {
    const { clock, checks, told } = start();
    clock.advance(30);
    checks.pass('first', 'is there');
    expect(told).toEqual([{ name: 'some.first', status: 'passed', message: 'is there', durationMs: 30 }]);
    clock.advance(12);
    checks.warn('second', { message: 'ends', cause: 'time', fix: 'renew it' });
    const warning = { name: 'some.second', status: 'warning', message: 'ends', cause: 'time', fix: 'renew it' };
    expect(told.at(-1)).toEqual({ ...warning, durationMs: 12 });
  });

  it('tell whether one has failed: warnings are none', () => {
    const { checks } = start();
    checks.warn('first', { message: 'ends' });
    expect(checks.failed).toBe(false);
    checks.fail('second', { message: 'is gone' });
    checks.pass('third', 'is there');
    expect(checks.failed).toBe(true);
  });

  it('are told no more once the signal has fired, whose reason is thrown', () => {
    const { caller, checks, told } = start();
    const reason = new Error('the caller hung up');
    caller.abort(reason);
    const ways = [
      () => checks.pass('a', ''),
      () => checks.warn('a', { message: '' }),
      () => checks.fail('a', { message: '' }),
      () => checks.clock(0, { maxMs: 1 }, "AWS's"),
    ];
    for (const way of ways) expect(way).toThrow(reason);
    expect(told).toEqual([]);
  });

  it('take message, fix and retry of an error of ours, and nothing of what lies behind it', () => {
    const cause = new Error('s.secret');
    const away = new IssuerUnavailableError('nobody is there', { fix: 'start it', cause });
    expect(toldBy((checks) => checks.fail('a', away))).toEqual({
      ...{ name: 'some.a', status: 'failed', message: 'nobody is there', fix: 'start it', retry: true, durationMs: 0 },
    });
    const denied = toldBy((checks) =>
      checks.fail('a', new IssuerDeniedError('no'), { cause: 'a policy', field: 'role' }),
    );
    expect(denied).toMatchObject({ retry: false, cause: 'a policy', field: 'role' });
    expect(toldBy((checks) => checks.fail('a', away, { retry: false }))).toMatchObject({ retry: false });
  });

  it('blame the key of the conf that all violations of an error name', () => {
    const error = (...fields: string[]) =>
      new ConfigError('wrong', { violations: fields.map((field) => ({ field, message: 'is wrong' })) });
    const fieldOf = (...fields: string[]) => toldBy((checks) => checks.fail('a', error(...fields)))?.field;
    expect(fieldOf('cert')).toBe('cert');
    expect(fieldOf('cert', 'cert')).toBe('cert');
    expect(fieldOf('cert', 'key')).toBeUndefined();
    expect(fieldOf()).toBeUndefined();
  });
});

describe('the clocks', () => {
  const CASES: readonly [skewMs: number, limits: Parameters<Checks['clock']>[1], status: string, message: RegExp][] = [
    [0, { maxMs: 60_000 }, 'passed', /agree/],
    [5_000, { maxMs: 60_000 }, 'passed', /agree/],
    [5_001, { maxMs: 60_000 }, 'warning', /5 s ahead of ours/],
    [-60_000, { maxMs: 60_000 }, 'warning', /60 s behind ours/],
    [60_001, { maxMs: 60_000 }, 'failed', /60 s ahead of ours/],
    [8_000, { warnMs: 10_000, maxMs: 60_000 }, 'passed', /agree/],
    [2_000, { maxMs: 1_000 }, 'failed', /2 s ahead/],
    [-2_000, { maxMs: 1_000, maxBehindMs: 60_000 }, 'passed', /agree/],
    [-20_000, { maxMs: 1_000, maxBehindMs: 60_000 }, 'warning', /20 s behind/],
  ];
  it.each(CASES)('that are %i ms apart, with the limits %o: %s', (skewMs, limits, status, message) => {
    const check = toldBy((checks) => checks.clock(skewMs, limits, "AWS's"));
    expect(check).toMatchObject({ name: 'some.clock', status, message: expect.stringMatching(message) });
    expect(check?.fix ?? '').toContain(status === 'passed' ? '' : 'NTP');
  });

  it('are never worse for being closer', () => {
    const RANK = { skipped: 0, passed: 0, warning: 1, failed: 2 };
    const rankOf = (skewMs: number, maxMs: number) =>
      RANK[toldBy((checks) => checks.clock(skewMs, { maxMs }, "AWS's"))?.status ?? 'failed'];
    const skew = fc.integer({ min: 0, max: 1_000_000 });
    fc.assert(
      fc.property(
        skew,
        skew,
        fc.constantFrom(1, -1),
        fc.integer({ min: 0, max: 100_000 }),
        (one, other, sign, maxMs) => {
          const [near, far] = [Math.min(one, other), Math.max(one, other)];
          expect(rankOf(sign * near, maxMs)).toBeLessThanOrEqual(rankOf(sign * far, maxMs));
        },
      ),
    );
  });
});

describe('an attempt', () => {
  const live = new AbortController().signal;
  const denied = new IssuerDeniedError('no');
  const foreign = new TypeError('a mistake of ours');

  it('gives the value, or the error of ours', async () => {
    expect(await attempt(() => 1, live)).toBe(1);
    expect(await attempt(() => Promise.reject(denied), live)).toBe(denied);
  });

  it('rejects with what is no error of ours, and with the reason of a signal that fired meanwhile', async () => {
    await expect(attempt(() => Promise.reject(foreign), live)).rejects.toBe(foreign);
    const reason = new Error('the caller hung up');
    const late = attempt(() => Promise.reject(denied), AbortSignal.abort(reason));
    await expect(late).rejects.toBe(reason);
  });
});
