import {
  ConfigError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerTimeoutError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { createErrors, type ErrorClass, type FailureOf, failed, type OutcomeOf } from '../shared/failure.ts';

/** Why a call of AWS gave nothing usable. */
export type Failure = FailureOf<FailureKind>;

/** Who must act, for each kind of failure: the class of error it becomes. */
const CLASSES = {
  /** What is configured contradicts itself: nothing can be sent. */
  conf: ConfigError,
  network: IssuerUnavailableError,
  tls: IssuerUnavailableError,
  timeout: IssuerTimeoutError,
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
  /** The default chain cannot get any now: STS or a metadata service is away. */
  'no-credentials': IssuerUnavailableError,
  /** The CA is not ACTIVE. */
  state: IssuerDeniedError,
  absent: IssuerDeniedError,
  /** AWS does not take the parameters: signing algorithm, validity, names. */
  arguments: IssuerDeniedError,
  quota: IssuerDeniedError,
  csr: RequestInvalidError,
  malformed: IssuerResponseError,
} as const satisfies Record<string, ErrorClass>;

export type FailureKind = keyof typeof CLASSES;

/** Whether AWS did the call is not known, or it surely did not; the very same call may do better at once. */
const TRANSIENT: ReadonlySet<FailureKind> = new Set(['network', 'timeout', 'server', 'clock', 'malformed']);

export function isTransient({ kind }: Failure): boolean {
  return TRANSIENT.has(kind);
}

export type Outcome<T> = OutcomeOf<T, Failure>;

export { failed };

export const { toError, valueOrThrow } = createErrors<FailureKind>(CLASSES);

/** A reading call, once more where that may help at once: on a new connection, or with the clock put right. */
export async function twiceIfTransient<T>(call: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
  const first = await call();
  return first.ok || !isTransient(first.failure) || first.failure.kind === 'timeout' ? first : call();
}
