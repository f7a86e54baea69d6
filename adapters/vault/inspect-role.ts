import type { Checks } from '../shared/checks.ts';
import { findingOf } from './finding-of.ts';
import type { Inspected, RoleState, TokenFacts, TokenRights, Ways } from './inspected.ts';
import { findingOfRole, ROLE_CHECKS } from './role-checks.ts';

/** The role, then its issuer; a right that is known to be missing is not tried. */
export async function gatherRole({ client, signal }: Ways, { may }: TokenRights): Promise<RoleState> {
  const [role, mount] = await Promise.all([
    may?.readRole === false ? undefined : client.readRole(signal),
    client.readMount(signal),
  ]);
  const mayReadIssuer = may?.readIssuer === true && role?.ok === true;
  const issuer = mayReadIssuer ? await client.readIssuerState(role.value.issuer_ref, signal) : undefined;
  return { role, mount: mount.ok ? mount.value : undefined, issuer: issuer?.ok ? issuer.value : undefined };
}

/** Whether the role is there and gives what proxies need. That it may not be read `vault.rights` has told. */
export function tellRole({ conf, mesh, ttlSeconds }: Inspected, { rights, state }: TokenFacts, checks: Checks): void {
  const role = state?.role;
  if (!rights.ok) return;
  if (role === undefined || !role.ok) {
    tellUnread(role, checks);
    return;
  }
  checks.pass('role-readable', `role ${conf.role} is there`);
  const asked = { role: role.value, conf, mesh, maySign: rights.value.maySign, mount: state?.mount, ttlSeconds };
  for (const [name, judge] of Object.entries(ROLE_CHECKS)) {
    const verdict = judge(asked);
    const finding = findingOfRole(verdict, conf);
    if (verdict.status === 'passed') checks.pass(name, finding.message);
    else if (verdict.status === 'warning') checks.warn(name, finding);
    else checks.fail(name, { ...finding, retry: false });
  }
}

function tellUnread(role: RoleState['role'], checks: Checks): void {
  if (role?.ok === false && role.failure.kind === 'absent') {
    checks.fail('role-readable', findingOf(role.failure));
    return;
  }
  const isDenied = role === undefined || role.ok || role.failure.kind === 'denied';
  if (isDenied)
    checks.skip('role-readable', 'the token may not read it (vault.rights); the documented role is assumed');
  else checks.warn('role-readable', findingOf(role.failure));
  const why = isDenied ? 'the token may not read the role' : 'the role could not be read';
  for (const name of Object.keys(ROLE_CHECKS)) checks.skip(name, why);
}
