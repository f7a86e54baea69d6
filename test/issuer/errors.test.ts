import { describe, expect, it } from 'vitest';
import { IssuerUnavailableError, withIssuerPrefix, withRetryAfter } from '../../src/issuer/errors.ts';

describe('an error that an issuer remembers', () => {
  it('is not changed by what is told of it to one caller', () => {
    const remembered = new IssuerUnavailableError('is sealed', { fix: 'unseal it', retryAfterMs: 1000 });
    const told = withRetryAfter(Object(withIssuerPrefix(remembered, 'vault', 'v1')), 5000);
    expect(told).toBeInstanceOf(IssuerUnavailableError);
    expect(told).toMatchObject({
      name: 'IssuerUnavailableError',
      code: 'ERR_ISSUER_UNAVAILABLE',
      message: 'issuer(vault v1): is sealed',
      fix: 'unseal it',
      retryAfterMs: 5000,
      stack: remembered.stack,
    });
    expect(remembered).toMatchObject({ message: 'is sealed', retryAfterMs: 1000 });
  });

  it('gets its prefix once, and keeps the longer wait', () => {
    const once = withIssuerPrefix(new IssuerUnavailableError('is sealed', { retryAfterMs: 9000 }), 'vault', 'v1');
    expect(withIssuerPrefix(once, 'vault', 'v1')).toBe(once);
    expect(withRetryAfter(Object(once), 5000)).toBe(once);
  });
});
