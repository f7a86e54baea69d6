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

/** Why a call of Vault gave nothing usable. */
export interface Failure extends FailureOf<FailureKind> {
  /** Of the answer, where there was one. */
  readonly status?: number;
  /** What Vault said in that answer: one clean line, '' for nothing. Logins put it into words of their own. */
  readonly said?: string;
  /** Field of the conf that is to blame, where it is one. */
  readonly field?: string;
}

/** Who must act, for each kind of failure: the class of error it becomes. */
const CLASSES = {
  /** A secret or file of the conf cannot be loaded or used. */
  conf: ConfigError,
  network: IssuerUnavailableError,
  dns: IssuerUnavailableError,
  tls: IssuerUnavailableError,
  /** The TLS certificate is trusted, but for another name. */
  'tls-name': IssuerUnavailableError,
  /** One side speaks TLS and the other does not. */
  'no-tls': IssuerUnavailableError,
  timeout: IssuerTimeoutError,
  sealed: IssuerUnavailableError,
  uninitialised: IssuerUnavailableError,
  standby: IssuerUnavailableError,
  server: IssuerUnavailableError,
  'rate-limited': RateLimitedError,
  /** Vault does not know the token, or not any more. */
  token: IssuerDeniedError,
  /** 403 for another reason: no right, or mount or role have another name. */
  denied: IssuerDeniedError,
  /** There is no PKI mount at the path. */
  mount: IssuerDeniedError,
  namespace: IssuerDeniedError,
  /** Role or CA are not there. */
  absent: IssuerDeniedError,
  /** The role does not allow what was asked. */
  role: IssuerDeniedError,
  /** The role does not sign this type of key. */
  'key-type': RequestInvalidError,
  malformed: IssuerResponseError,
  /** The CA that signs is past its end. */
  'ca-ended': IssuerResponseError,
  /** The certificate is not valid now because the clocks differ. */
  clock: IssuerResponseError,
} as const satisfies Record<string, ErrorClass>;

export type FailureKind = keyof typeof CLASSES;

export type Outcome<T> = OutcomeOf<T, Failure>;

export { failed };

export const { toError, valueOrThrow } = createErrors<FailureKind>(CLASSES);
