import {
  type CaError,
  type CaErrorOptions,
  ConfigError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';

/** Why a call of AWS gave nothing usable. */
export interface Failure {
  readonly kind: FailureKind;
  /** One clause that names the CA and the call. Holds no secret and no ARN of a principal. */
  readonly message: string;
  readonly fix: string;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** Who must act, for each kind of failure: the class of error it becomes. */
const CLASSES = {
  /** A secret, file or variable of the conf cannot be loaded or used. */
  conf: ConfigError,
  network: IssuerUnavailableError,
  tls: IssuerUnavailableError,
  timeout: IssuerUnavailableError,
  /** 5xx, and answers that are none of AWS's. */
  server: IssuerUnavailableError,
  /** Our clock and AWS's are too far apart for a signature. */
  clock: IssuerUnavailableError,
  throttled: RateLimitedError,
  /** GetCertificate: not ready yet. */
  'in-progress': IssuancePendingError,
  /** AWS took the request and could not issue: RequestFailedException. */
  'issue-failed': IssuerUnavailableError,
  /** IAM says no. */
  denied: IssuerDeniedError,
  credentials: IssuerDeniedError,
  /** The CA is not ACTIVE. */
  state: IssuerDeniedError,
  absent: IssuerDeniedError,
  /** AWS does not take the parameters: signing algorithm, validity, names. */
  arguments: IssuerDeniedError,
  quota: IssuerDeniedError,
  csr: RequestInvalidError,
  malformed: IssuerResponseError,
} as const satisfies Record<string, new (message: string, options?: CaErrorOptions) => CaError>;

export type FailureKind = keyof typeof CLASSES;

/** Whether AWS did the call is not known, or it surely did not; the very same call may do better at once. */
const TRANSIENT: ReadonlySet<FailureKind> = new Set(['network', 'timeout', 'server', 'clock', 'malformed']);

export function isTransient({ kind }: Failure): boolean {
  return TRANSIENT.has(kind);
}

export type Outcome<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

export function failed<T>(failure: Failure): Outcome<T> {
  return { ok: false, failure };
}

export function toError(failure: Failure): CaError {
  const { message, fix, cause, retryAfterMs } = failure;
  return new CLASSES[failure.kind](message, {
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

/** A reading call, once more where that may help at once: on a new connection, or with the clock put right. */
export async function twiceIfTransient<T>(call: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  const first = await call();
  return first.ok || !isTransient(first.failure) || first.failure.kind === 'timeout' ? first : call();
}
