import type { IssuerAbilities } from '../../src/issuer/issuer.ts';
import type { VaultClient } from './client.ts';
import { failed, type Outcome } from './failure.ts';
import { ASSUMED_ROLE, type RoleFacts, readRole } from './role.ts';

/** What the token may do, and what the role is like. */
export interface Knowledge {
  readonly maySign: boolean;
  readonly mayIssue: boolean;
  readonly role: RoleFacts;
}

/**
 * Asks Vault. `sys/capabilities-self` is open to every token with the policy `default`; for one without it, an empty `sign` tells: Vault checks
 * the right before the request, and there is nothing to sign. `issue` is then assumed where `sign` is not allowed, as the documented policy has it.
 */
export async function findKnowledge(
  client: VaultClient,
  names: string,
  signal: AbortSignal,
): Promise<Outcome<Knowledge>> {
  const told = await client.capabilities(signal);
  if (!told.ok && told.failure.kind !== 'denied') return told;
  if (!told.ok) {
    const probe = await client.probeSign(signal);
    return probe.ok ? { ok: true, value: { maySign: probe.value, mayIssue: !probe.value, role: ASSUMED_ROLE } } : probe;
  }
  const may = told.value;
  if (!may.sign && !may.issue) {
    return failed({
      kind: 'denied',
      message: `the token's policies allow neither sign nor issue with ${names}`,
      fix: 'give the token the policy policies/vault/kmesh-default-dataplane-proxies-sign.hcl, with the names of this mount and role, or correct fromCp.pki and fromCp.role',
    });
  }
  if (!may.sign || !may.readRole)
    return { ok: true, value: { maySign: may.sign, mayIssue: may.issue, role: ASSUMED_ROLE } };
  const role = await client.readRole(signal);
  return role.ok ? { ok: true, value: { maySign: true, mayIssue: may.issue, role: readRole(role.value) } } : role;
}

export function abilitiesOf({ maySign, mayIssue, role }: Knowledge): IssuerAbilities {
  const sign = maySign && role.keyTypes.length > 0;
  return { sign, signsCsrAsIs: role.signsCsrAsIs, issueKeyPair: mayIssue, keyTypes: sign ? role.keyTypes : [] };
}
