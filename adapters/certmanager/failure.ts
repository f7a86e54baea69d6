import {
  type CaError,
  type CaErrorOptions,
  ConfigError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';

/** Why a call of the API server, or a request to cert-manager, gave nothing usable. */
export interface Failure {
  readonly kind: FailureKind;
  /** One clause that names the server, what was asked, and what it said. Holds no secret. */
  readonly message: string;
  readonly fix: string;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

interface Kind {
  readonly error: new (message: string, options?: CaErrorOptions) => CaError;
  /** The same call may do better in a moment, without anybody doing anything. */
  readonly passing: boolean;
}

/** Who must act, for each kind of failure: the class of error it becomes. */
const KINDS = {
  /** No kubeconfig, or one that cannot be used. */
  kubeconfig: { error: ConfigError, passing: false },
  /** The request never reached the server. */
  unreachable: { error: IssuerUnavailableError, passing: true },
  /** The connection broke: whether the request was served is not known. */
  broken: { error: IssuerUnavailableError, passing: true },
  timeout: { error: IssuerUnavailableError, passing: true },
  tls: { error: IssuerUnavailableError, passing: true },
  server: { error: IssuerUnavailableError, passing: true },
  webhook: { error: IssuerUnavailableError, passing: true },
  'rate-limited': { error: RateLimitedError, passing: true },
  unauthenticated: { error: IssuerDeniedError, passing: false },
  forbidden: { error: IssuerDeniedError, passing: false },
  /** The CRD or the namespace. */
  absent: { error: IssuerDeniedError, passing: false },
  /** One object. */
  gone: { error: IssuerUnavailableError, passing: false },
  conflict: { error: IssuerUnavailableError, passing: true },
  /** 410: a resourceVersion or continue token from too long ago. */
  expired: { error: IssuerUnavailableError, passing: true },
  invalid: { error: RequestInvalidError, passing: false },
  denied: { error: IssuerDeniedError, passing: false },
  /** Not what a Kubernetes API server answers. */
  malformed: { error: IssuerResponseError, passing: true },
} as const satisfies Record<string, Kind>;

export type FailureKind = keyof typeof KINDS;

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

export function failed(failure: Failure): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure };
}

export function isPassing({ kind }: Failure): boolean {
  return KINDS[kind].passing;
}

export function toError({ kind, message, fix, cause, retryAfterMs }: Failure): CaError {
  return new KINDS[kind].error(message, {
    fix,
    ...(cause === undefined ? {} : { cause }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

/** @throws the error that the failure stands for */
export function valueOrThrow<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw toError(outcome.failure);
  return outcome.value;
}
