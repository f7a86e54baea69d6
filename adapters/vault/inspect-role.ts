import type { Checks } from '../shared/checks.ts';
import type { Outcome } from './failure.ts';
import { findingOf } from './finding-of.ts';
import type { TokenRights } from './inspect-rights.ts';
import type { TokenFacts } from './inspect-token.ts';
import type { Inspected, Ways } from './inspected.ts';
import type { IssuerStateReply, MountReply, RoleReply } from './replies.ts';
import { findingOfRole, ROLE_CHECKS } from './role-checks.ts';

/** What takes a right to read. */
export interface RoleState {
  /** Undefined: the token may not read it. */
  readonly role: Outcome<RoleReply> | undefined;
  /** The limits of the mount, where they could be read. */
  readonly mount: MountReply | undefined;
  /** The issuer that the role is bound to, where it could be read. */
  readonly issuer: IssuerStateReply | undefined;
}

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

/** Whether the role is there and gives what proxies need. What cannot be read is left out: `vault.rights` has told of it. */
export function tellRole({ conf, mesh, ttlSeconds }: Inspected, { rights, state }: TokenFacts, checks: Checks): void {
  const role = state?.role;
  if (role === undefined || !rights.ok) return;
  if (!role.ok) {
    if (role.failure.kind === 'absent') checks.fail('role-readable', findingOf(role.failure));
    else if (role.failure.kind !== 'denied') checks.warn('role-readable', findingOf(role.failure));
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
