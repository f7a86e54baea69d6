import { CaError } from '../../src/issuer/errors.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { attempt, type Checks } from '../shared/checks.ts';
import { failed, type Outcome } from './failure.ts';
import { findingOf } from './finding-of.ts';
import { inNamespace } from './in-namespace.ts';
import { findRights } from './inspect-rights.ts';
import { gatherRole } from './inspect-role.ts';
import { CALL_TIMEOUT_MS, type Inspected, type TokenFacts, type Ways } from './inspected.ts';
import { makeToken } from './make-token.ts';

/** The login or its failure, then everything that takes the token. */
export async function gatherToken(ways: Ways): Promise<Outcome<TokenFacts>> {
  const { client, signal } = ways;
  const login = await logIn(ways);
  if (!login.ok) return login;
  const [lookup, known] = await Promise.all([client.lookupToken(signal), gatherKnown(ways)]);
  return { ok: true, value: { lookup, ...known } };
}

async function gatherKnown(ways: Ways): Promise<Pick<TokenFacts, 'rights' | 'state'>> {
  const rights = await findRights(ways);
  return { rights, state: rights.ok ? await gatherRole(ways, rights.value) : undefined };
}

async function logIn({ conf, connector, clock, signal }: Ways): Promise<Outcome<true>> {
  const deadline = clock.deadline(CALL_TIMEOUT_MS, signal);
  const ask = async () => {
    await connector.tryAgain(deadline.signal);
    return connector.call(async () => ({ ok: true, value: true }) as const, deadline.signal);
  };
  try {
    const outcome = await attempt(() => orAborted(ask(), deadline.signal), signal);
    if (!(outcome instanceof CaError)) return outcome;
    return failed({ kind: 'conf', message: outcome.message, fix: outcome.fix ?? 'correct fromCp.auth' });
  } catch (error) {
    if (signal.aborted || !deadline.signal.aborted) throw error;
    return failed({
      kind: 'timeout',
      message: `no token by the method ${conf.auth.method} within ${CALL_TIMEOUT_MS} ms`,
      fix: 'look at the network to Vault, and at what the login depends on',
    });
  } finally {
    deadline.clear();
  }
}

/** The facts about a token that Vault accepts. */
export function tellToken(
  { conf, mesh, connector }: Inspected,
  outcome: Outcome<TokenFacts>,
  checks: Checks,
): TokenFacts | undefined {
  const { auth, namespace } = conf;
  const { method } = auth;
  const field = `fromCp.auth.${method}`;
  if (!outcome.ok) {
    checks.fail('login', findingOf(outcome.failure, field));
    return undefined;
  }
  checks.pass('login', method === 'token' ? 'none: fromCp.auth.token gives the token' : `logged in by ${method}`);
  const { lookup, rights } = outcome.value;
  if (!lookup.ok && !rights.ok && !KNOWN_BY_RIGHTS.has(rights.failure.kind)) {
    checks.fail('token-valid', findingOf(lookup.failure, field));
    return undefined;
  }
  if (connector.status().isLatestRefused) {
    const policies = lookup.ok ? lookup.value.policies : [`kmesh-${mesh}-dataplane-proxies-sign`];
    checks.warn('token-valid', {
      message: `vault refuses the token that ${field} gives now; the one before it is still in use`,
      cause: 'no certificate can be had once the one in use ends, or mesh-ca is started again',
      fix: inNamespace(`${makeToken(policies)}, and give that in ${field}`, namespace),
      field,
    });
  } else if (!lookup.ok) checks.pass('token-valid', 'vault accepts the token');
  else if (lookup.value.policies.includes('root')) {
    checks.warn('token-valid', {
      message: 'vault accepts the token, which is a root token',
      cause: 'it may do everything in Vault, and never ends',
      fix: inNamespace(`${makeToken([`kmesh-${mesh}-dataplane-proxies-sign`])}, and give that in ${field}`, namespace),
      field,
    });
  } else if (lookup.value.num_uses > 0) {
    checks.warn('token-valid', {
      message: `vault accepts the token, for ${lookup.value.num_uses} more calls`,
      cause: 'it is used up soon (num_uses)',
      fix: inNamespace(`${makeToken(lookup.value.policies)}, and give that in ${field}`, namespace),
      field,
    });
  } else checks.pass('token-valid', `vault accepts the token (${lookup.value.type})`);
  return outcome.value;
}

/** Only a token that is accepted is told so. */
const KNOWN_BY_RIGHTS: ReadonlySet<string> = new Set(['absent', 'denied', 'mount']);
