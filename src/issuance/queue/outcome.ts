import { CaError, IssuancePendingError, IssuerTimeoutError, RateLimitedError } from '../../issuer/errors.ts';

/** What a request that held a place has shown about the load of the backend. */
export type Outcome =
  /** It got its certificate; the time since the place was given counts. */
  | { readonly kind: 'served' }
  | { readonly kind: 'throttled'; readonly retryAfterMs: number | undefined }
  | { readonly kind: 'timed-out' }
  /** Nothing: refused, given up by its caller, never asked. */
  | { readonly kind: 'nothing' };

export const SERVED: Outcome = { kind: 'served' };
const TIMED_OUT: Outcome = { kind: 'timed-out' };
const NOTHING: Outcome = { kind: 'nothing' };

/** @param signal that of the request */
export function outcomeOf(error: unknown, signal: AbortSignal): Outcome {
  // An error with `hold` is that of an earlier request: the backend was not asked.
  if (error instanceof CaError && error.hold !== undefined) return NOTHING;
  if (error instanceof RateLimitedError) return { kind: 'throttled', retryAfterMs: error.retryAfterMs };
  if (error instanceof IssuancePendingError) return NOTHING;
  if (signal.aborted) return givenUp(signal);
  return error instanceof IssuerTimeoutError ? TIMED_OUT : NOTHING;
}

/** What a request has shown whose caller waits no longer. */
export function givenUp(signal: AbortSignal): Outcome {
  return isDeadline(signal.reason) ? TIMED_OUT : NOTHING;
}

/** Whether a signal fired because its time was over, not because somebody hung up. */
export function isDeadline(reason: unknown): boolean {
  return reason instanceof Error && reason.name === 'TimeoutError';
}
