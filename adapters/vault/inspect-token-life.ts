import type { Checks } from '../shared/checks.ts';
import { isRefused } from './exchange.ts';
import { findingOf } from './finding-of.ts';
import { inNamespace } from './in-namespace.ts';
import type { Inspected, TokenFacts } from './inspected.ts';
import { makeToken } from './make-token.ts';
import { type LookupReply, lifeOfLookup } from './token-replies.ts';

/** From here on there is no time left for anybody to act. */
const ENDS_NOW_MS = 600_000;
/** From here on it is a matter of today. */
const ENDS_SOON_MS = 24 * 3600 * 1000;

/**
 * Whether there will be a token tomorrow. One that is renewed, or logged in for, is no fault however short it is: many are so on purpose. Where the token
 * may not look itself up there is nothing to tell here: `vault.rights` has told of it.
 */
export function tellTokenLife(
  { conf, connector, clock }: Inspected,
  { lookup, rights }: TokenFacts,
  checks: Checks,
): void {
  if (!lookup.ok) {
    if (isRefused(lookup)) checks.skip('token-life', 'the token may not look itself up (vault.rights)');
    else checks.warn('token-life', findingOf(lookup.failure));
    return;
  }
  const told = lookup.value;
  if (lifeOfLookup(told).neverExpires) {
    checks.pass('token-life', 'the token never ends');
    return;
  }
  const { method, lastFailure, isAtMaximum } = connector.status();
  const isLogin = method !== 'token';
  const field = `fromCp.auth.${method}`;
  const endsInMs = told.ttl * 1000;
  const ends = `the token ends at ${new Date(clock.now().getTime() + endsInMs).toISOString()}`;
  const mayRenew = !rights.ok || rights.value.may?.renewToken !== false;
  const isRenewed = told.renewable && mayRenew && !isAtMaximum;

  if (lastFailure === undefined && isLogin) {
    checks.pass('token-life', `${ends}, and the next one comes from a login`);
    return;
  }
  const lastsMs = lastFailure === undefined && isRenewed ? maximumMs(told, clock.now()) : endsInMs;
  const why = lastFailure === undefined ? '' : `: ${lastFailure}`;
  const finding = {
    message:
      isRenewed && lastFailure === undefined
        ? `${ends}, and soon it cannot be renewed any longer (explicit_max_ttl)`
        : `${ends} and cannot be ${isLogin ? 'replaced' : 'renewed'}${why}`,
    cause: 'no certificate can be had with a token that has ended',
    fix: isLogin
      ? `correct the login of ${field}`
      : inNamespace(
          `${makeToken(told.policies)}, and give a token that may renew itself in ${field}; or put a fresh one there in time, again and again`,
          conf.namespace,
        ),
    field,
  };
  if (lastsMs <= ENDS_NOW_MS) checks.fail('token-life', { ...finding, retry: false });
  else if (lastFailure !== undefined || (lastsMs <= ENDS_SOON_MS && mayRenew)) checks.warn('token-life', finding);
  else if (isRenewed) {
    checks.pass('token-life', `${ends}, and is renewed before${told.period ? ` (period ${told.period} s)` : ''}`);
  } else checks.pass('token-life', finding.message);
}

/** How long renewals can keep it, where that is known. Both times are Vault's, as far as our clock agrees with it. */
function maximumMs({ creation_time: madeAt, explicit_max_ttl: maximum }: LookupReply, now: Date): number {
  if (!maximum || madeAt === undefined) return Number.POSITIVE_INFINITY;
  return (madeAt + maximum) * 1000 - now.getTime();
}
