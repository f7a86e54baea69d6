import type { Finding } from '../shared/checks.ts';
import { type Failure, type FailureKind, toError } from './failure.ts';

/** Unavailable, and it stays so until somebody acts. */
const LASTING: ReadonlySet<FailureKind> = new Set(['tls', 'tls-name', 'no-tls', 'uninitialised']);

/** Why, where the message tells only what. */
const CAUSES: Readonly<Partial<Record<FailureKind, string>>> = {
  timeout: 'Vault hangs or has too much to do, or something on the way drops packets',
  dns: 'the name is misspelt, or the DNS that this machine asks does not know it',
  sealed: 'a Vault that was started again stays sealed until somebody gives it its keys, or its auto-unseal works',
};
const REFUSED = 'nothing listens at that address and port';

/** What a failed call says, for an operator. @param field of the conf that is to blame, where it is another than the check's own */
export function findingOf(failure: Failure, field?: string): Finding {
  const { kind, message, fix, cause } = failure;
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const retry = toError(failure).retry && !LASTING.has(kind) && code !== 'ENOTFOUND';
  return { message, cause: code === 'ECONNREFUSED' ? REFUSED : CAUSES[kind], fix, retry, field };
}
