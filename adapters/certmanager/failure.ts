import {
  ConfigError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerTimeoutError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { createErrors, type ErrorClass, type FailureOf, failed, type OutcomeOf } from '../shared/failure.ts';

/** Why a call of the API server, or a request to cert-manager, gave nothing usable. */
export type Failure = FailureOf<FailureKind>;

/** Who must act, for each kind of failure: the class of error it becomes. */
const CLASSES = {
  /** No kubeconfig, or one that cannot be used. */
  kubeconfig: ConfigError,
  /** An exec plug-in, or a file that the kubeconfig names, gives none: it may in a moment. */
  credentials: IssuerUnavailableError,
  /** The request never reached the server. */
  unreachable: IssuerUnavailableError,
  /** The connection broke: whether the request was served is not known. */
  broken: IssuerUnavailableError,
  timeout: IssuerTimeoutError,
  tls: IssuerUnavailableError,
  server: IssuerUnavailableError,
  webhook: IssuerUnavailableError,
  'rate-limited': RateLimitedError,
  unauthenticated: IssuerDeniedError,
  forbidden: IssuerDeniedError,
  /** The CRD or the namespace. */
  absent: IssuerDeniedError,
  /** One object. */
  gone: IssuerUnavailableError,
  conflict: IssuerUnavailableError,
  /** 410: a resourceVersion or continue token from too long ago. */
  expired: IssuerUnavailableError,
  invalid: RequestInvalidError,
  denied: IssuerDeniedError,
  /** Not what a Kubernetes API server answers. */
  malformed: IssuerResponseError,
} as const satisfies Record<string, ErrorClass>;

export type FailureKind = keyof typeof CLASSES;

/** The same call may do better in a moment, without anybody doing anything. */
const PASSING: ReadonlySet<FailureKind> = new Set([
  'unreachable',
  'broken',
  'timeout',
  'tls',
  'server',
  'webhook',
  'rate-limited',
  'conflict',
  'expired',
  'malformed',
]);

/** There was no answer: the server, or the way to it, is away. */
export const AWAY: ReadonlySet<FailureKind> = new Set(['unreachable', 'broken', 'timeout']);

export type Outcome<T> = OutcomeOf<T, Failure>;

export function isPassing({ kind }: Failure): boolean {
  return PASSING.has(kind);
}

export { failed };

export const { toError } = createErrors<FailureKind>(CLASSES);
