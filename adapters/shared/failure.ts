import type { CaError, CaErrorOptions } from '../../src/issuer/errors.ts';

/** Why a remote call gave nothing usable. `Kind` is the adapter's own vocabulary; a table says which class of error each kind is. */
export interface FailureOf<Kind extends string> {
  readonly kind: Kind;
  /** One clause that names the server, what was asked, and what it said. Holds no secret. */
  readonly message: string;
  readonly fix: string;
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
  /** As `CaError.ofRequest`. */
  readonly ofRequest?: boolean;
}

export type OutcomeOf<T, Failure> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure };

export type ErrorClass = new (message: string, options?: CaErrorOptions) => CaError;

export function failed<Failure>(failure: Failure): { readonly ok: false; readonly failure: Failure } {
  return { ok: false, failure };
}

/** The ways from a failure to the error that it stands for. */
export function createErrors<Kind extends string>(classes: Readonly<Record<Kind, ErrorClass>>) {
  function toError({ kind, message, fix, cause, retryAfterMs, ofRequest = false }: FailureOf<Kind>): CaError {
    return new classes[kind](message, {
      ...{ fix, ofRequest },
      ...(cause === undefined ? {} : { cause }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    });
  }

  /** @throws the error that the failure stands for */
  function valueOrThrow<T>(outcome: OutcomeOf<T, FailureOf<Kind>>): T {
    if (!outcome.ok) throw toError(outcome.failure);
    return outcome.value;
  }

  return { toError, valueOrThrow };
}
