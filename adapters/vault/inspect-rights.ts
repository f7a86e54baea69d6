import type { Checks } from '../shared/checks.ts';
import { explainNoRight } from './abilities.ts';
import { type Rights, rightsOf, type Use } from './client.ts';
import { isRefused } from './exchange.ts';
import { type Failure, failed, type Outcome } from './failure.ts';
import { findingOf } from './finding-of.ts';
import type { Inspected, TokenFacts, TokenRights, Ways } from './inspected.ts';

/** As `findKnowledge`, but everything that can be known: nothing is assumed to save a call. */
export async function findRights({ client, conf, mesh, signal }: Ways): Promise<Outcome<TokenRights>> {
  const told = await client.capabilities(signal);
  if (told.ok) {
    const { sign: maySign, issue: mayIssue } = told.value;
    if (maySign || mayIssue) return { ok: true, value: { maySign, mayIssue, may: told.value } };
    return failed(await explainNoRight(client, { ...conf, mesh }, told.value, signal));
  }
  if (told.failure.kind !== 'denied') return told;
  const [sign, issue] = await Promise.all([client.probe('sign', signal), client.probe('issue', signal)]);
  if (!sign.ok) return sign;
  if (!issue.ok) return issue;
  const tried = { maySign: sign.value, mayIssue: issue.value, may: undefined };
  if (tried.maySign || tried.mayIssue) return { ok: true, value: tried };
  // Nothing was said by Vault itself: then the token need not be one that it knows.
  if (told.failure.said === '') return failed({ ...told.failure, kind: 'token' });
  return failed(await explainNoRight(client, { ...conf, mesh }, { listRoles: false }, signal));
}

/** Whether certificates can be had, and what else is missing. False: none can. */
export function tellRights(inspected: Inspected, { rights, lookup, state }: TokenFacts, checks: Checks): boolean {
  const { conf } = inspected;
  const all = rightsOf(conf);
  if (!rights.ok) {
    tellNone(rights.failure, [all.sign, all.readRole], lookup.ok ? lookup.value.policies : [], checks);
    return false;
  }
  const policies = lookup.ok ? lookup.value.policies : [];
  const { maySign, mayIssue, may } = rights.value;
  if (maySign) checks.pass('sign-permitted', `the token may use ${all.sign.path}`);
  else {
    checks.warn('sign-permitted', {
      message: `the token may not use ${all.sign.path}: keys are made in Vault, and callers who send a CSR are refused`,
      fix: grant([all.sign], policies),
    });
  }
  checks.pass('issue-permitted', mayIssue ? `the token may use ${all.issue.path}` : `${all.issue.path} is not needed`);

  const missing: Right[] = [];
  if (may === undefined) missing.push({ path: 'sys/capabilities-self', capability: 'update' });
  const lacks = (use: Use, isLackedWhenTried: boolean) => {
    if (may === undefined ? isLackedWhenTried : !may[use]) missing.push(all[use]);
  };
  const isLogin = conf.auth.method !== 'token';
  lacks('readRole', state?.role?.ok === false && state.role.failure.kind === 'denied');
  if (!isLogin) lacks('lookUpToken', isRefused(lookup));
  // One that may not ask what it may is not told apart from one that may not be renewed: both have no policy "default".
  if (!isLogin) lacks('renewToken', isRefused(lookup));
  if (isLogin) lacks('revokeToken', false);
  if (missing.length === 0) checks.pass('rights', 'the token may use every other path that mesh-ca uses');
  else {
    const consequences = missing.map(
      ({ path }) =>
        CONSEQUENCES.find(([end]) => path.endsWith(end))?.[1] ?? 'the role is not known before the first refusal',
    );
    checks.warn('rights', {
      message: `no policy of the token gives it ${missing.map(({ path, capability }) => `"${capability}" on ${path}`).join(', ')}`,
      cause: consequences.join('; '),
      fix: grant(missing, policies),
    });
  }
  return true;
}

type Right = Rights[Use];

const CONSEQUENCES: readonly (readonly [pathEnd: string, what: string])[] = [
  ['sys/capabilities-self', 'rights have to be tried out'],
  ['auth/token/lookup-self', 'the end of the token is not known'],
  ['auth/token/renew-self', 'the token is not renewed, and ends when it ends'],
  ['auth/token/revoke-self', 'tokens of earlier logins stay until they end'],
];

function tellNone(failure: Failure, wanted: readonly Right[], policies: readonly string[], checks: Checks): void {
  switch (failure.kind) {
    case 'absent':
      checks.fail('role-readable', findingOf(failure));
      break;
    case 'denied':
      checks.fail('sign-permitted', {
        ...findingOf(failure),
        fix: `${grant(wanted, policies)}; or correct fromCp.role, if the role has another name`,
      });
      break;
    default:
      checks.fail('sign-permitted', findingOf(failure));
  }
}

/** The lines that a policy of the token lacks. */
function grant(rights: readonly Right[], policies: readonly string[]): string {
  const own = policies.filter((name) => name !== 'default');
  const lines = rights.map(({ path, capability }) => `path "${path}" { capabilities = ["${capability}"] }`);
  return `add to a policy of the token${own.length === 0 ? '' : ` (${own.join(' or ')})`}: ${lines.join(' ')}`;
}
