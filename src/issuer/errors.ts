/**
 * The errors a caller must act on: few, named, stable. Everything else is a plain `Error` and becomes a bland 500.
 *
 * Messages are lower case without a full stop, name the thing and give the value; the prefix `issuer(<type> <backend>): ` is added once,
 * by `withIssuerPrefix`, never by an adapter. The HTTP status and the CLI's exit code of each code stand in one table each
 * (`http/problem.ts`, `cli/exit-code.ts`); a test walks `ERROR_CODES` and wants every code in both.
 */
export const ERROR_CODES = [
  'ERR_CONFIG_INVALID',
  'ERR_BACKEND_INVALID',
  'ERR_ROTATION_NOT_READY',
  'ERR_REQUEST_INVALID',
  'ERR_POLICY_DENIED',
  'ERR_NOT_FOUND',
  'ERR_CONFLICT',
  'ERR_NOT_SUPPORTED',
  'ERR_ISSUANCE_PENDING',
  'ERR_ISSUER_RATE_LIMITED',
  'ERR_ISSUER_UNAVAILABLE',
  'ERR_ISSUER_DENIED',
  'ERR_ISSUER_RESPONSE',
  'ERR_STORE_UNAVAILABLE',
  'ERR_UNAUTHENTICATED',
  'ERR_ACCESS_DENIED',
  'ERR_TOO_LARGE',
  'ERR_INTERNAL',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** One mistake in what was configured or asked: `field` is a path such as `mtls.backends[0].conf.cert`. */
export interface Violation {
  readonly field: string;
  readonly message: string;
}

/** Why a backend was not asked. */
export interface Hold {
  /** Of the backend: `open` means that nobody may ask it now, `half-open` that one request is trying whether it is well again. */
  readonly breaker: 'closed' | 'open' | 'half-open';
  /** The failure that led to it. */
  readonly cause: { readonly code: ErrorCode; readonly message: string };
}

export interface CaErrorOptions {
  /** What to do about it: one sentence, with the command to type where there is one. */
  readonly fix?: string;
  readonly cause?: unknown;
  readonly retryAfterMs?: number;
  readonly violations?: readonly Violation[];
  readonly hold?: Hold;
  readonly ofRequest?: boolean;
}

/** Nobody is believed that it wants to be left alone for longer. */
const LONGEST_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** What a server says is a number at best. */
function bearable(retryAfterMs: number | undefined): number | undefined {
  return retryAfterMs !== undefined && retryAfterMs >= 0 ? Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS) : undefined;
}

export abstract class CaError extends Error {
  abstract readonly code: ErrorCode;
  /** Whether the same request may succeed later without anybody changing anything. */
  abstract readonly retry: boolean;
  readonly fix: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly violations: readonly Violation[];
  /** Set when the backend was not asked at all: the error is that of an earlier request. */
  readonly hold: Hold | undefined;
  /** Of the backend that has just failed with this error. */
  readonly breaker: Hold['breaker'] | undefined;
  /** It is about what this one request asks for, such as its names: others may well be served. */
  readonly ofRequest: boolean;

  constructor(message: string, options: CaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.fix = options.fix;
    this.retryAfterMs = bearable(options.retryAfterMs);
    this.violations = options.violations ?? [];
    this.hold = options.hold;
    this.breaker = undefined;
    this.ofRequest = options.ofRequest === true;
  }
}

/** What was configured has mistakes; `violations` holds all of them. Acts: operator. */
export class ConfigError extends CaError {
  readonly code = 'ERR_CONFIG_INVALID';
  readonly retry = false;
}

/** A backend of a Mesh that is to be stored does not prove itself; `violations` name the keys to blame. Acts: operator. */
export class BackendInvalidError extends CaError {
  readonly code = 'ERR_BACKEND_INVALID';
  /** True when every fault may pass without anybody changing anything: a backend that is down or sealed. */
  readonly retry: boolean;
  /** What has failed, by backend; in the shape of API.md. */
  readonly checks: readonly FailedCheck[];

  constructor(
    message: string,
    options: CaErrorOptions & { readonly retry: boolean; readonly checks: readonly FailedCheck[] },
  ) {
    super(message, options);
    this.retry = options.retry;
    this.checks = options.checks;
  }
}

export interface FailedCheck {
  readonly backend: string;
  readonly name: string;
  readonly status: 'failed';
  readonly durationMs: number;
  readonly message: string;
  readonly cause?: string;
  readonly fix?: string;
}

/** Who stands in the way of the next step of a rotation (API.md). */
export interface Blocker {
  /** '': it is no single data plane, such as a backend that does not prove itself. */
  readonly dataplane: string;
  readonly zone: string;
  /** Such as `trust bundle 7 (has 6)`. */
  readonly waitingFor: string;
  /** Since when it is known to stand in the way. */
  readonly since: Date;
}

/** A step of a rotation comes too soon: connections would break; `violations` name the field of the Mesh. Acts: operator, by waiting or by what `fix` says. */
export class RotationNotReadyError extends CaError {
  readonly code = 'ERR_ROTATION_NOT_READY';
  /** Data planes get ready by themselves. */
  readonly retry = true;
  /** The first of them, sorted by name. */
  readonly blockers: readonly Blocker[];
  readonly blockersTotal: number;

  constructor(
    message: string,
    options: CaErrorOptions & { readonly blockers: readonly Blocker[]; readonly blockersTotal: number },
  ) {
    super(message, options);
    this.blockers = options.blockers;
    this.blockersTotal = options.blockersTotal;
  }
}

/** The request itself cannot be served: malformed CSR, impossible identity. Acts: caller. */
export class RequestInvalidError extends CaError {
  readonly code = 'ERR_REQUEST_INVALID';
  readonly retry = false;
}

/** A rule of ours says no. Acts: caller. */
export class PolicyDeniedError extends CaError {
  readonly code = 'ERR_POLICY_DENIED';
  readonly retry = false;
}

export class NotFoundError extends CaError {
  readonly code = 'ERR_NOT_FOUND';
  readonly retry = false;
}

/** Somebody else was first: read again, then decide. */
export class ConflictError extends CaError {
  readonly code = 'ERR_CONFLICT';
  readonly retry = true;
}

/** The backend lacks this capability. */
export class NotSupportedError extends CaError {
  readonly code = 'ERR_NOT_SUPPORTED';
  readonly retry = false;
}

/** The backend still works on it. */
export class IssuancePendingError extends CaError {
  readonly code = 'ERR_ISSUANCE_PENDING';
  readonly retry = true;
}

/** The backend, or our own limit before it, throttles. */
export class RateLimitedError extends CaError {
  readonly code = 'ERR_ISSUER_RATE_LIMITED';
  readonly retry = true;
}

/** Network, 5xx, sealed, time-out. */
export class IssuerUnavailableError extends CaError {
  readonly code = 'ERR_ISSUER_UNAVAILABLE';
  readonly retry = true;
}

/** It was reached, and did not answer in the time that one call has: perhaps too much is asked of it at once. */
export class IssuerTimeoutError extends IssuerUnavailableError {}

/** The backend refuses our credentials or our request. Acts: operator. */
export class IssuerDeniedError extends CaError {
  readonly code = 'ERR_ISSUER_DENIED';
  readonly retry = false;
}

/** The backend's answer is not usable: empty chain, wrong key, foreign root. */
export class IssuerResponseError extends CaError {
  readonly code = 'ERR_ISSUER_RESPONSE';
  readonly retry = false;
}

/** Our own store cannot take or give anything now: too many writes wait, its lock is held, its disk is full or fails. */
export class StoreUnavailableError extends CaError {
  readonly code = 'ERR_STORE_UNAVAILABLE';
  readonly retry = true;
}

/** The caller is not who it says, or says nothing. */
export class UnauthenticatedError extends CaError {
  readonly code = 'ERR_UNAUTHENTICATED';
  readonly retry = false;
}

export class AccessDeniedError extends CaError {
  readonly code = 'ERR_ACCESS_DENIED';
  readonly retry = false;
}

/** A body, list or name is over its cap. */
export class TooLargeError extends CaError {
  readonly code = 'ERR_TOO_LARGE';
  readonly retry = false;
}

/** Adds `issuer(<type> <backend>): ` to an issuer's error, once, keeping class, code and stack. */
export function withIssuerPrefix(error: unknown, type: string, backend: string): unknown {
  if (!(error instanceof CaError) || error.message.startsWith('issuer(')) return error;
  return changed(error, { message: `issuer(${type} ${backend}): ${error.message}` });
}

/**
 * Tells when the same request makes sense again, and how the backend stands by then, keeping class, code and stack. A longer wait that was told
 * before stands.
 */
export function withNextTry(error: CaError, retryAfterMs: number | undefined, breaker: Hold['breaker']): CaError {
  const longer = Math.max(bearable(retryAfterMs) ?? 0, error.retryAfterMs ?? 0);
  return changed(error, { breaker, ...(longer > 0 && { retryAfterMs: longer }) });
}

/** A copy: an issuer may remember an error, and throw it to several callers. */
function changed(error: CaError, changes: Partial<Pick<CaError, 'message' | 'retryAfterMs' | 'breaker'>>): CaError {
  const copy: CaError = Object.create(Object.getPrototypeOf(error), Object.getOwnPropertyDescriptors(error));
  return Object.assign(copy, changes);
}
