import { describe, expect, it } from 'vitest';
import { IssuerUnavailableError, RateLimitedError, withIssuerPrefix, withNextTry } from '../../src/issuer/errors.ts';

describe('an error that an issuer remembers', () => {
  it('is not changed by what is told of it to one caller', () => {
    const remembered = new IssuerUnavailableError('is sealed', { fix: 'unseal it', retryAfterMs: 1000 });
    const told = withNextTry(Object(withIssuerPrefix(remembered, 'vault', 'v1')), 5000, 'open');
    expect(told).toBeInstanceOf(IssuerUnavailableError);
    expect(told).toMatchObject({
      name: 'IssuerUnavailableError',
      code: 'ERR_ISSUER_UNAVAILABLE',
      message: 'issuer(vault v1): is sealed',
      fix: 'unseal it',
      retryAfterMs: 5000,
      breaker: 'open',
      stack: remembered.stack,
    });
    expect(remembered).toMatchObject({ message: 'is sealed', retryAfterMs: 1000 });
  });

  it('gets its prefix once, and keeps the longer wait', () => {
    const once = withIssuerPrefix(new IssuerUnavailableError('is sealed', { retryAfterMs: 9000 }), 'vault', 'v1');
    expect(withIssuerPrefix(once, 'vault', 'v1')).toBe(once);
    expect(withNextTry(Object(once), 5000, 'open')).toMatchObject({ retryAfterMs: 9000, breaker: 'open' });
  });
});

describe('when to try again, as a server may say it', () => {
  const DAY_MS = 24 * 3600 * 1000;
  it.each([
    [1e18, DAY_MS],
    [Number.POSITIVE_INFINITY, DAY_MS],
    [DAY_MS, DAY_MS],
    [1500, 1500],
    [0, 0],
    [-1, undefined],
    [Number.NEGATIVE_INFINITY, undefined],
    [Number.NaN, undefined],
  ])('is a time that people can wait: %d ms is %s', (retryAfterMs, told) => {
    expect(new RateLimitedError('slow down', { retryAfterMs }).retryAfterMs).toBe(told);
    const later = withNextTry(new RateLimitedError('slow down'), retryAfterMs, 'open').retryAfterMs ?? 0;
    expect(later).toBe(told ?? 0);
  });
});
