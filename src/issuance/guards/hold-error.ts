import { type CaError, type Hold, IssuerUnavailableError } from '../../issuer/errors.ts';
import { countText } from '../../text/count-text.ts';
import type { GuardedRequest, Holding } from './backend-guard.ts';
import { errorOf, MOST_TEXT } from './failure.ts';

export interface HoldErrorOptions {
  /** Name of the backend, as every error of it begins: `issuer(vault v1): `. */
  readonly prefix: string;
  readonly request: GuardedRequest;
  readonly breaker: Hold['breaker'];
  /** Until it may ask, in whole milliseconds. */
  readonly leftMs: number;
  readonly now: Date;
}

/** What is thrown instead of asking: the failure that led to it, said once more, and that the backend was not asked. */
export function holdError(holding: Holding, { prefix, request, breaker, leftMs, now }: HoldErrorOptions): CaError {
  const { cause, why } = holding;
  const said = cause.message.startsWith(prefix) ? cause.message.slice(prefix.length) : cause.message;
  const message = `${prefix}${reasonOf(holding, request, timeOf(now.getTime() + leftMs))}: ${said}`;
  const told = why === 'spread' ? `${prefix}is well again, renewals are spread; it had failed: ${said}` : cause.message;
  const options = { retryAfterMs: leftMs, hold: { breaker, cause: { code: cause.code, message: told } } };
  if (why === 'spread')
    return new IssuerUnavailableError(message, { ...options, fix: 'nothing: the certificate in use is still valid' });
  return errorOf(cause.code, message, { ...options, ...(cause.fix !== undefined && { fix: cause.fix }) });
}

function reasonOf(holding: Holding, request: GuardedRequest, time: string): string {
  const dataplane = `data plane "${request.dataplane.slice(0, MOST_TEXT)}"`;
  switch (holding.why) {
    case 'open': {
      const { dataplanes, opened } = holding.breaker;
      const trials = opened === 1 ? '' : `, and then ${countText(opened - 1, 'trial')}`;
      return `not asked again before ${time} (breaker open: ${countText(dataplanes, 'data plane')} failed in a row${trials})`;
    }
    case 'trial':
      return 'not asked now (breaker half-open: another request is trying whether it is well again)';
    case 'dataplane':
      return `not asked again for ${dataplane} before ${time} (${countText(holding.entry.failures, 'failure')} in a row)`;
    case 'spread':
      return `not asked for ${dataplane} before ${time} (renewals are spread after recovery); it had failed`;
  }
}

/** `12:00:05 UTC`, not before the instant. */
function timeOf(atMs: number): string {
  return `${new Date(Math.ceil(atMs / 1000) * 1000).toISOString().slice(11, 19)} UTC`;
}
