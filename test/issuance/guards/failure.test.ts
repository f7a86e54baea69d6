import { describe, expect, it } from 'vitest';
import { effectOf, errorOf, HELD_CODES, LONGEST_TOLD_MS, readFailure } from '../../../src/issuance/guards/failure.ts';
import { isOutage } from '../../../src/issuance/renewal.ts';
import {
  BackendInvalidError,
  CaError,
  ConfigError,
  ConflictError,
  ERROR_CODES,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  NotFoundError,
  NotSupportedError,
  PolicyDeniedError,
  RateLimitedError,
  RequestInvalidError,
  StoreUnavailableError,
} from '../../../src/issuer/errors.ts';

class OddError extends CaError {
  readonly code = 'ERR_INTERNAL';
  readonly retry = false;
}

const held = { breaker: 'open', cause: { code: 'ERR_ISSUER_UNAVAILABLE', message: 'is sealed' } } as const;

describe('what a failure says about its backend', () => {
  const cases: readonly { error: unknown; says: string | undefined }[] = [
    { error: new IssuerUnavailableError('x'), says: 'backend' },
    { error: new IssuerDeniedError('x'), says: 'backend' },
    { error: new IssuerResponseError('x'), says: 'backend' },
    { error: new ConfigError('x'), says: 'backend' },
    { error: new RateLimitedError('x'), says: 'throttled' },
    { error: new IssuancePendingError('x'), says: 'pending' },
    { error: new RequestInvalidError('x'), says: 'refused' },
    { error: new PolicyDeniedError('x'), says: 'refused' },
    { error: new IssuerDeniedError('x', { ofRequest: true }), says: 'refused' },
    { error: new NotSupportedError('x'), says: 'refused' },
    { error: new NotFoundError('x'), says: undefined },
    { error: new ConflictError('x'), says: undefined },
    { error: new StoreUnavailableError('x'), says: undefined },
    { error: new BackendInvalidError('x', { retry: false, checks: [] }), says: undefined },
    { error: new OddError('x'), says: undefined },
    { error: new TypeError('x'), says: undefined },
    { error: 'x', says: undefined },
    { error: undefined, says: undefined },
  ];
  for (const { error, says } of cases) {
    const which = error instanceof CaError && error.ofRequest ? ' that is about what was asked for' : '';
    const name = `${error instanceof Error ? error.constructor.name : String(error)}${which}`;
    it(`of ${name} is ${says ?? 'nothing'}`, () => expect(readFailure(error)?.effect).toBe(says));
  }

  it('is nothing when the backend was not asked', () => {
    expect(readFailure(new IssuerUnavailableError('x', { hold: held }))).toBeUndefined();
  });

  it('agrees with what counts as a failure of a backend elsewhere', () => {
    for (const code of HELD_CODES) {
      const isRefusal = effectOf(code) === 'refused';
      expect(isOutage(errorOf(code, 'x', {})), code).toBe(!isRefusal);
    }
  });

  it('is kept short, and its wait within a day', () => {
    const long = 'x'.repeat(5000);
    expect(readFailure(new RateLimitedError(long, { fix: long, retryAfterMs: 1e12 }))).toEqual({
      effect: 'throttled',
      cause: { code: 'ERR_ISSUER_RATE_LIMITED', message: 'x'.repeat(1000), fix: 'x'.repeat(1000) },
      toldMs: LONGEST_TOLD_MS,
    });
  });

  for (const retryAfterMs of [0, -1, Number.NaN]) {
    it(`tells no time when that is ${retryAfterMs}`, () =>
      expect(readFailure(new RateLimitedError('x', { retryAfterMs }))?.toldMs).toBeUndefined());
  }
});

describe('an error made from a code', () => {
  for (const code of HELD_CODES) {
    it(`has the code ${code}`, () => {
      expect(ERROR_CODES).toContain(code);
      expect(errorOf(code, 'x', { retryAfterMs: 5 })).toMatchObject({ code, message: 'x', retryAfterMs: 5 });
    });
  }
});
