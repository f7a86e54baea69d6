import {
  CaError,
  type CaErrorOptions,
  ConfigError,
  type ErrorCode,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  NotSupportedError,
  PolicyDeniedError,
  RateLimitedError,
  RequestInvalidError,
} from '../../issuer/errors.ts';

/**
 * What a failed request says about its backend:
 * - `backend`: it fails, or what stands between. Counts for the data plane's back-off and for the breaker.
 * - `throttled`, `pending`: it lives, but this data plane has to wait. Counts for its back-off only.
 * - `refused`: it refuses this one request. The same, until the request is another one.
 */
export type Effect = 'backend' | 'throttled' | 'pending' | 'refused';

interface FailureRule {
  readonly effect: Effect;
  /** What is thrown instead of asking again. */
  readonly error: new (
    message: string,
    options?: CaErrorOptions,
  ) => CaError;
}

/** Codes that do not stand here say nothing about a backend: they are about our store, our callers, or ourselves. */
const FAILURES = {
  ERR_CONFIG_INVALID: { effect: 'backend', error: ConfigError },
  ERR_ISSUER_UNAVAILABLE: { effect: 'backend', error: IssuerUnavailableError },
  ERR_ISSUER_DENIED: { effect: 'backend', error: IssuerDeniedError },
  ERR_ISSUER_RESPONSE: { effect: 'backend', error: IssuerResponseError },
  ERR_ISSUER_RATE_LIMITED: { effect: 'throttled', error: RateLimitedError },
  ERR_ISSUANCE_PENDING: { effect: 'pending', error: IssuancePendingError },
  ERR_REQUEST_INVALID: { effect: 'refused', error: RequestInvalidError },
  ERR_POLICY_DENIED: { effect: 'refused', error: PolicyDeniedError },
  ERR_NOT_SUPPORTED: { effect: 'refused', error: NotSupportedError },
} as const satisfies Partial<Record<ErrorCode, FailureRule>>;

export type HeldCode = keyof typeof FAILURES;
export const HELD_CODES = Object.keys(FAILURES) as readonly HeldCode[];

/** What is remembered of a failure, and told to those who are not let through because of it. */
export interface Cause {
  readonly code: HeldCode;
  /** With the prefix `issuer(<type> <backend>): `; at most `MOST_TEXT` characters, as `fix`. */
  readonly message: string;
  readonly fix: string | undefined;
}

export interface Failure {
  readonly effect: Effect;
  readonly cause: Cause;
  /** The backend's own word on when to come back, in milliseconds from now. */
  readonly toldMs: number | undefined;
}

export const MOST_TEXT = 1000;
/** No backend is believed that it wants to be left alone for longer. */
export const LONGEST_TOLD_MS = 24 * 60 * 60 * 1000;

/** Undefined: it says nothing about the backend, or is itself only the memory of an earlier failure. */
export function readFailure(error: unknown): Failure | undefined {
  if (!(error instanceof CaError) || error.hold !== undefined || !isHeldCode(error.code)) return undefined;
  const { code, message, fix, retryAfterMs, ofRequest } = error;
  return {
    // Else ten data planes with names that nobody may have would hold back all others.
    effect: ofRequest ? 'refused' : effectOf(code),
    cause: { code, message: message.slice(0, MOST_TEXT), fix: fix?.slice(0, MOST_TEXT) },
    toldMs:
      retryAfterMs !== undefined && retryAfterMs > 0 ? Math.min(Math.ceil(retryAfterMs), LONGEST_TOLD_MS) : undefined,
  };
}

export function effectOf(code: HeldCode): Effect {
  return FAILURES[code].effect;
}

/** An error of the class that belongs to the code. */
export function errorOf(code: HeldCode, message: string, options: CaErrorOptions): CaError {
  return new FAILURES[code].error(message, options);
}

function isHeldCode(code: ErrorCode): code is HeldCode {
  return Object.hasOwn(FAILURES, code);
}
