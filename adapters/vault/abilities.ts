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

/** Asks Vault: `sys/capabilities-self`, which every token with the policy `default` may ask, else by probes. */
export async function findKnowledge(
  client: VaultClient,
  names: string,
  signal: AbortSignal,
): Promise<Outcome<Knowledge>> {
  const told = await client.capabilities(signal);
  if (!told.ok) return told.failure.kind === 'denied' ? probe(client, told, signal) : told;
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

/** For a token without the policy `default`. One that is refused everywhere is no valid token. */
async function probe(client: VaultClient, refused: Outcome<never>, signal: AbortSignal): Promise<Outcome<Knowledge>> {
  const sign = await client.probe('sign', signal);
  if (!sign.ok) return sign;
  const issue = await client.probe('issue', signal);
  if (!issue.ok) return issue;
  if (!sign.value && !issue.value) return refused;
  return { ok: true, value: { maySign: sign.value, mayIssue: issue.value, role: ASSUMED_ROLE } };
}

export function abilitiesOf({ maySign, mayIssue, role }: Knowledge): IssuerAbilities {
  const sign = maySign && role.keyTypes.length > 0;
  return {
    sign,
    signsCsrAsIs: role.signsCsrAsIs,
    issueKeyPair: mayIssue,
    keyTypes: sign ? role.keyTypes : [],
    ...(role.isKnown ? {} : { keyTypesAreAssumed: true }),
  };
}
