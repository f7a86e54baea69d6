import type { Finding } from '../shared/checks.ts';
import { type Failure, type FailureKind, toError } from './failure.ts';

/** Unavailable, and it stays so until somebody acts. */
const LASTING: ReadonlySet<FailureKind> = new Set(['tls', 'tls-name', 'no-tls', 'uninitialised']);

/** What a failed call says, for an operator. @param field of the conf that is to blame, where it is another than the check's own */
export function findingOf(failure: Failure, field?: string): Finding {
  const { kind, message, fix, cause } = failure;
  const isUnknownName = cause instanceof Error && 'code' in cause && cause.code === 'ENOTFOUND';
  const retry = toError(failure).retry && !LASTING.has(kind) && !isUnknownName;
  return { message, fix, retry, field };
}
