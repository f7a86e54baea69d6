import type { IssuerAbilities } from '../../src/issuer/issuer.ts';
import type { Capabilities, VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import { makeRole } from './error-rules.ts';
import { type Failure, type FailureKind, failed, type Outcome } from './failure.ts';
import { inNamespace } from './in-namespace.ts';
import type { RoleReply } from './replies.ts';
import { ASSUMED_ROLE, type RoleFacts, readRole } from './role.ts';

type Names = Pick<VaultConf, 'pki' | 'role' | 'namespace'> & { readonly mesh: string };

/** What the token may do, and what the role is like. */
export interface Knowledge {
  readonly maySign: boolean;
  readonly mayIssue: boolean;
  readonly role: RoleFacts;
  /** Something could not be asked just now: this is worth asking again soon. */
  readonly isComplete: boolean;
}

/**
 * Asks Vault in one or two calls: `sys/capabilities-self`, which every token with the policy `default` may ask, then the role where the token may
 * read it. A token without that policy is tried out: by one or two calls, more only in vain.
 */
export async function findKnowledge(
  client: VaultClient,
  names: Names,
  signal: AbortSignal,
): Promise<Outcome<Knowledge>> {
  const told = await client.capabilities(signal);
  if (!told.ok) return told.failure.kind === 'denied' ? tryOut(client, names, signal) : told;
  const may = told.value;
  if (!may.sign && !may.issue) return failed(await explainNoRight(client, names, may, signal));
  const rights = { maySign: may.sign, mayIssue: may.issue };
  if (!may.sign || !may.readRole) return { ok: true, value: { ...rights, role: ASSUMED_ROLE, isComplete: true } };
  return withRole(client, names, rights, signal);
}

/**
 * For a token without the policy `default`. One that may not sign is taken for one that may issue: that is the documented policy, and the issuing
 * call itself tells.
 */
async function tryOut(client: VaultClient, names: Names, signal: AbortSignal): Promise<Outcome<Knowledge>> {
  const sign = await client.probe('sign', signal);
  if (!sign.ok) return sign;
  if (sign.value) return withRole(client, names, { maySign: true, mayIssue: false }, signal);
  return { ok: true, value: { maySign: false, mayIssue: true, role: ASSUMED_ROLE, isComplete: true } };
}

/** What makes signing impossible, too. */
const DECISIVE: ReadonlySet<FailureKind> = new Set(['absent', 'mount', 'namespace', 'token']);

/** A role that is not there, or signs no key that proxies have, is a failure. One that cannot be read keeps nobody from signing. */
async function withRole(
  client: VaultClient,
  names: Names,
  rights: Pick<Knowledge, 'maySign' | 'mayIssue'>,
  signal: AbortSignal,
): Promise<Outcome<Knowledge>> {
  const role = await client.readRole(signal);
  if (role.ok) {
    const facts = readRole(role.value);
    if (facts.keyTypes.length === 0) return failed(noUsableKey(names, role.value));
    return { ok: true, value: { ...rights, role: facts, isComplete: true } };
  }
  if (DECISIVE.has(role.failure.kind)) return role;
  return { ok: true, value: { ...rights, role: ASSUMED_ROLE, isComplete: role.failure.kind === 'denied' } };
}

function noUsableKey({ pki, role, namespace }: Names, { key_type: type, key_bits: bits }: RoleReply): Failure {
  return {
    kind: 'role',
    message: `role ${role} of ${pki} signs no type of key that proxies can use (key_type=${type} key_bits=${bits})`,
    fix: inNamespace(`vault patch ${pki}/roles/${role} key_type=any key_bits=0`, namespace),
  };
}

/**
 * Wrong mount, wrong role and missing right all answer 403. At most one call more tells what can be told: the list of roles where the token may read it,
 * else whether there is a PKI mount at all, which everybody may ask.
 */
export async function explainNoRight(
  client: VaultClient,
  names: Names,
  { listRoles }: Pick<Capabilities, 'listRoles'>,
  signal: AbortSignal,
): Promise<Failure> {
  const { pki, role, namespace } = names;
  const found = listRoles ? await client.listRoles(signal) : await client.readCaChain(signal);
  if (!found.ok && found.failure.kind === 'mount') return found.failure;
  const roles = found.ok && Array.isArray(found.value) ? found.value : undefined;
  const isEmpty = listRoles && !found.ok && found.failure.kind === 'absent';
  if (isEmpty || (roles !== undefined && !roles.includes(role))) {
    return {
      kind: 'absent',
      message: `mount ${pki} has no role ${role}`,
      fix: inNamespace(`${makeRole(names)}; or correct fromCp.role`, namespace),
    };
  }
  return {
    kind: 'denied',
    message: `the token is valid, but no policy of it gives it "update" on ${pki}/sign/${role} or on ${pki}/issue/${role}`,
    fix: `add to a policy of the token: path "${pki}/sign/${role}" { capabilities = ["update"] } (policies/vault/kmesh-default-dataplane-proxies-sign.hcl); or correct fromCp.role, if the role has another name`,
  };
}

export function abilitiesOf({ maySign, mayIssue, role }: Knowledge): IssuerAbilities {
  return {
    sign: maySign,
    signsCsrAsIs: role.signsCsrAsIs,
    issueKeyPair: mayIssue,
    keyTypes: maySign ? role.keyTypes : [],
    ...(role.isKnown ? {} : { keyTypesAreAssumed: true }),
  };
}
