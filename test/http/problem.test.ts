import { describe, expect, it } from 'vitest';
import { problemOf, problemReply } from '../../src/http/problem.ts';
import {
  BackendInvalidError,
  type CaErrorOptions,
  ConflictError,
  IssuerDeniedError,
  IssuerUnavailableError,
} from '../../src/issuer/errors.ts';
import { ResourceError } from '../../src/resources/resource-error.ts';

const FAILED = { backend: 'ca', name: 'fake.login', status: 'failed', durationMs: 3, message: 'is refused' } as const;

describe('the problem of an error', () => {
  const waits: readonly { name: string; error: Error; seconds: number | undefined }[] = [
    { name: 'that knows when', error: new IssuerUnavailableError('x', { retryAfterMs: 4000 }), seconds: 4 },
    { name: 'a little later than a whole second', error: unavailable({ retryAfterMs: 4001 }), seconds: 5 },
    { name: 'in a moment', error: unavailable({ retryAfterMs: 1 }), seconds: 1 },
    { name: 'that does not know when', error: unavailable({}), seconds: 5 },
    { name: 'that nobody waits for', error: new ConflictError('x'), seconds: undefined },
    {
      name: 'that does not pass by itself, of a backend that is held back',
      error: new IssuerDeniedError('x', { retryAfterMs: 299_001 }),
      seconds: 300,
    },
  ];
  it.each(waits)('$name tells $seconds, in JSON and in the header', ({ error, seconds }) => {
    const problem = problemOf(error, 'id');
    expect(problem.retryAfterSeconds).toBe(seconds);
    expect(problemReply(problem).headers?.['retry-after']).toBe(seconds === undefined ? undefined : String(seconds));
  });

  it.each(['closed', 'half-open', 'open'] as const)(
    'of a backend that was not asked tells that it is %s',
    (breaker) => {
      const cause = { code: 'ERR_ISSUER_DENIED', message: 'permission denied' } as const;
      const problem = problemOf(unavailable({ hold: { breaker, cause } }), 'id');
      expect([problem.breaker, problem.cause]).toEqual([
        breaker,
        { code: 'ERR_ISSUER_DENIED', detail: 'permission denied' },
      ]);
    },
  );

  it('of a backend that was asked tells neither', () => {
    const problem = problemOf(unavailable({}), 'id');
    expect([problem.breaker, problem.cause, problem.checks]).toEqual([undefined, undefined, undefined]);
  });

  it('of a Mesh whose backends fail lists their failed checks, in the frame of Kuma, too', () => {
    const error = new BackendInvalidError('no proxy could work with it', { retry: true, checks: [FAILED] });
    const plain = problemOf(error, 'id');
    expect(plain).toMatchObject({ status: 400, code: 'ERR_BACKEND_INVALID', retry: true, checks: [FAILED] });
    const framed = problemOf(new ResourceError('create', 'Resource is not valid', error), 'id');
    expect(framed).toMatchObject({ title: 'Failed to create a resource', detail: 'Resource is not valid' });
    expect(framed).toMatchObject({ status: 400, code: 'ERR_BACKEND_INVALID', checks: [FAILED] });
  });
});

function unavailable(options: CaErrorOptions): IssuerUnavailableError {
  return new IssuerUnavailableError('is down', options);
}
