import {
  BackendInvalidError,
  type Blocker,
  CaError,
  type ErrorCode,
  type FailedCheck,
  type Hold,
  RotationNotReadyError,
  type Violation,
} from '../issuer/errors.ts';
import { ResourceError } from '../resources/resource-error.ts';
import type { Reply } from './route.ts';

/** The one table code -> status and default title. Kuma's titles of resource calls come with `ResourceError`. */
export const PROBLEMS: Readonly<Record<ErrorCode, { readonly status: number; readonly title: string }>> = {
  ERR_CONFIG_INVALID: { status: 400, title: 'Configuration is not valid' },
  ERR_BACKEND_INVALID: { status: 400, title: 'Backend does not prove itself' },
  ERR_ROTATION_NOT_READY: { status: 400, title: 'Too soon for this step of the rotation' },
  ERR_REQUEST_INVALID: { status: 400, title: 'Bad Request' },
  ERR_POLICY_DENIED: { status: 403, title: 'Refused by a rule' },
  ERR_NOT_FOUND: { status: 404, title: 'Not Found' },
  ERR_CONFLICT: { status: 409, title: 'Conflict' },
  ERR_NOT_SUPPORTED: { status: 501, title: 'Not supported by the backend' },
  ERR_ISSUANCE_PENDING: { status: 503, title: 'Certificate not ready yet' },
  ERR_ISSUER_RATE_LIMITED: { status: 429, title: 'Backend throttles' },
  ERR_ISSUER_UNAVAILABLE: { status: 503, title: 'Backend not available' },
  ERR_ISSUER_DENIED: { status: 502, title: 'Backend refused' },
  ERR_ISSUER_RESPONSE: { status: 502, title: 'Backend gave an unusable answer' },
  ERR_STORE_UNAVAILABLE: { status: 503, title: 'Store not available' },
  ERR_UNAUTHENTICATED: { status: 401, title: 'Invalid authentication data' },
  ERR_ACCESS_DENIED: { status: 403, title: 'Access Denied' },
  ERR_TOO_LARGE: { status: 413, title: 'Too large' },
  ERR_INTERNAL: { status: 500, title: 'Internal Server Error' },
};

/** Kuma's first back-off for a data plane after a failure (2.14.2). */
const RETRY_AFTER_SECONDS = 5;

/** Kuma's problem JSON with our additions (API.md). */
export interface Problem {
  readonly type: '/std-errors';
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly instance?: string;
  readonly invalid_parameters?: readonly { readonly field: string; readonly reason: string }[];
  /** Deprecated twin of `detail`; Kuma always sends it. */
  readonly details: string;
  /** Deprecated twin of `invalid_parameters`. */
  readonly causes?: readonly Violation[];
  readonly code: ErrorCode;
  readonly retry: boolean;
  readonly retryAfterSeconds?: number;
  /** Of the backend that failed; with `cause` when it was not asked because of an earlier failure. */
  readonly breaker?: Hold['breaker'];
  readonly cause?: ProblemCause;
  readonly fix?: string;
  /** With ERR_BACKEND_INVALID: what failed, of all backends. */
  readonly checks?: readonly FailedCheck[];
  /** With ERR_ROTATION_NOT_READY: the first of those who are not ready, and how many there are. */
  readonly blockers?: readonly Blocker[];
  readonly blockersTotal?: number;
}

/** The failure behind the one that is told. */
export interface ProblemCause {
  readonly code: ErrorCode;
  readonly detail: string;
}

/** Statuses that belong to HTTP itself, without an error class of ours. */
export class HttpError extends Error {
  readonly status: number;
  readonly title: string;
  readonly fix: string | undefined;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    title: string,
    detail: string,
    fix?: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(detail);
    this.status = status;
    this.title = title;
    this.fix = fix;
    this.headers = headers;
  }
}

/**
 * What a caller is told about an error. An unexpected one is told blandly: its text may hold anything.
 * @param requestId stands in the log beside the real error
 */
export function problemOf(error: unknown, requestId: string): Problem {
  if (error instanceof ResourceError) return problemOfCaError(error.reason, error);
  if (error instanceof CaError) return problemOfCaError(error, {});
  if (error instanceof HttpError) {
    const code: ErrorCode =
      error.status === 404 ? 'ERR_NOT_FOUND' : error.status === 413 ? 'ERR_TOO_LARGE' : 'ERR_REQUEST_INVALID';
    return compose(error.title, error.message, error.status, {
      code,
      retry: false,
      fix: error.fix,
      violations: [],
      retryAfterMs: undefined,
    });
  }
  const { status, title } = PROBLEMS.ERR_INTERNAL;
  return {
    ...compose(title, 'Internal Server Error', status, {
      code: 'ERR_INTERNAL',
      retry: false,
      fix: `look for request ${requestId} in the log of mesh-ca`,
      violations: [],
      retryAfterMs: undefined,
    }),
    instance: requestId,
  };
}

/** @param frame Kuma's title and detail, where it has them */
function problemOfCaError(
  error: CaError,
  frame: { readonly title?: string; readonly detail?: string | undefined },
): Problem {
  const { status, title } = PROBLEMS[error.code];
  const { hold, breaker = hold?.breaker } = error;
  return {
    ...compose(frame.title ?? title, frame.detail ?? error.message, status, error),
    ...(breaker === undefined ? {} : { breaker }),
    ...(hold === undefined ? {} : { cause: causeJson(hold.cause) }),
    ...(error instanceof BackendInvalidError ? { checks: error.checks } : {}),
    ...(error instanceof RotationNotReadyError ? { blockers: error.blockers, blockersTotal: error.blockersTotal } : {}),
  };
}

export function causeJson({ code, message }: Hold['cause']): ProblemCause {
  return { code, detail: message };
}

function compose(
  title: string,
  detail: string,
  status: number,
  {
    code,
    retry,
    fix,
    violations,
    retryAfterMs,
  }: Pick<CaError, 'code' | 'retry' | 'fix' | 'violations' | 'retryAfterMs'>,
): Problem {
  return {
    type: '/std-errors',
    status,
    title,
    detail,
    details: detail,
    ...(violations.length === 0
      ? {}
      : {
          invalid_parameters: violations.map(({ field, message }) => ({ field, reason: message })),
          causes: violations,
        }),
    code,
    retry,
    ...retryAfter(status, retry, retryAfterMs),
    ...(fix === undefined ? {} : { fix }),
  };
}

/** The answer to an error: problem JSON, Retry-After where it helps. */
export function problemReply(problem: Problem, headers: Readonly<Record<string, string>> = {}): Reply {
  return {
    status: problem.status,
    contentType: 'application/json',
    headers: {
      ...headers,
      ...(problem.retryAfterSeconds === undefined ? {} : { 'retry-after': String(problem.retryAfterSeconds) }),
      ...(problem.status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    },
    body: JSON.stringify(problem),
  };
}

/** Who is told to try again is told when, so that a failing backend is not asked at once by everybody. */
function retryAfter(status: number, retry: boolean, ms: number | undefined): Pick<Problem, 'retryAfterSeconds'> {
  if (ms !== undefined) return { retryAfterSeconds: Math.ceil(ms / 1000) };
  return retry && (status === 503 || status === 429) ? { retryAfterSeconds: RETRY_AFTER_SECONDS } : {};
}
