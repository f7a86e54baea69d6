import type { FailureKind } from './failure.ts';

/** What a call was about, as far as messages need it. */
export interface CallContext {
  readonly endpoint: string;
  /** Field of the conf that holds the endpoint. */
  readonly endpointField: string;
  /** Without `/v1/`. */
  readonly path: string;
  readonly capability: 'read' | 'update' | 'list';
  /** Sent without a token. */
  readonly isAnonymous: boolean;
  /** '' for the root namespace. */
  readonly namespace: string;
  readonly pki: string;
  readonly role: string;
  readonly mesh: string;
  /** Never appears in a message. */
  readonly token: string;
}

export interface Rule {
  readonly kind: FailureKind;
  /** Goes on after `vault at <address> `. `said` is what Vault said, clean; of a broken connection what is to be known of it. */
  readonly message: string | ((context: CallContext, said: string) => string);
  /** It is about the names of one data plane. */
  readonly ofRequest?: true;
  /** The command to type, where there is one, then what else there is to do about it. */
  fix(context: CallContext, said: string): string;
}

/** `patch` and not `write`: that would replace the whole role, and lose its `allowed_uri_sans`. */
const rolePatch = (context: CallContext, change: string) =>
  `vault patch ${context.pki}/roles/${context.role} ${change}`;

/** The role of `policies/vault/role-dataplane-proxies-sign.json`, for this mesh: what the file says beyond it is what Vault does by itself. */
export const makeRole = ({ pki, role, mesh }: Pick<CallContext, 'pki' | 'role' | 'mesh'>) =>
  `vault write ${pki}/roles/${role} allowed_uri_sans="spiffe://${mesh}/*,kuma://*" key_type=any use_csr_sans=false use_csr_common_name=false require_cn=false no_store=true ttl=720h max_ttl=720h`;

/** For a role that does not allow the names of a mesh. It may serve other meshes, too. */
export const allowedUriSans = ({ mesh }: Pick<CallContext, 'mesh'>) =>
  `allowed_uri_sans="spiffe://${mesh}/*,kuma://*" (that takes the place of the whole list: add what other meshes need in it)`;

/** What an issuer is for, to sign with it. */
export const ISSUER_USAGE = 'usage=read-only,issuing-certificates,crl-signing';
export const FIND_ACTIVE = 'vault operator raft list-peers; look at the other nodes of the cluster: vault status';

const placeOf = ({ namespace }: CallContext) => (namespace === '' ? '' : ` in namespace ${namespace}`);

/** What a CA's end is told by. */
export const CA_END = /beyond the expiration of the CA certificate at (\d[\dTZ:.+-]+)/;

const NO_PKI_MOUNT: Rule = {
  kind: 'mount',
  message: (c) => `has no PKI mount at this path${placeOf(c)}`,
  fix: (c) =>
    `vault secrets list; correct fromCp.pki${c.namespace === '' ? ' (or set fromCp.namespace, if the mount is in one)' : ' or fromCp.namespace'}, or enable it: vault secrets enable -path=${c.pki} pki`,
};

/** By what Vault says in a 400, 404, 405 or 500 answer; the first that matches. */
export const TEXT_RULES: readonly (Rule & { readonly text: RegExp })[] = [
  {
    text: /unknown role/i,
    kind: 'absent',
    message: (c) => `has no such role: ${c.role}`,
    fix: (c) => `${makeRole(c)}; or correct fromCp.role`,
  },
  {
    // Only where the role has generate_lease=true.
    text: /token had one use left/i,
    kind: 'token',
    message: 'gives no certificate: the token is used up',
    fix: () => 'give a token that may be used any number of times (without -use-limit, num_uses=0) in fromCp.auth',
  },
  {
    text: /role key type .* not allowed for issuing/i,
    kind: 'role',
    message: "makes no key by its role's key_type=any, which is for sign only",
    fix: (c) =>
      `${rolePatch(c, 'key_type=ec key_bits=256')}, or let the token sign: path "${c.pki}/sign/${c.role}" { capabilities = ["update"] }`,
  },
  {
    text: /role requires keys of type|requires a minimum of a \d+-bit key|key type .* not (allowed|supported)/i,
    kind: 'key-type',
    message: "refuses the key of the request by its role's key_type and key_bits",
    fix: (c) => `${rolePatch(c, 'key_type=any key_bits=0')}; or send a CSR with a key of that type and size`,
  },
  {
    text: /URI Subject Alternative Name/i,
    kind: 'role',
    ofRequest: true,
    message: "refuses the identity by its role's allowed_uri_sans",
    fix: (c) => rolePatch(c, allowedUriSans(c)),
  },
  {
    text: /IP Subject Alternative Name/i,
    kind: 'role',
    ofRequest: true,
    message: "refuses an IP address in the CSR by its role's allow_ip_sans",
    fix: () => 'send a CSR without IP addresses: an identity has none',
  },
  {
    text: /other SAN|other_sans/i,
    kind: 'role',
    ofRequest: true,
    message: "refuses a name of another kind in the CSR by its role's allowed_other_sans",
    fix: () => 'send a CSR without such names: an identity has none',
  },
  {
    text: /common name .* not allowed/i,
    kind: 'role',
    ofRequest: true,
    message: "refuses the common name by its role's allowed_domains",
    fix: (c) => `${rolePatch(c, 'allowed_domains=<domain> allow_subdomains=true')}, or change fromCp.commonName`,
  },
  {
    text: /common_name field is required/i,
    kind: 'role',
    message: 'wants a common name (require_cn of its role)',
    fix: (c) => `${rolePatch(c, 'require_cn=false')}, or set fromCp.commonName`,
  },
  {
    text: /subject alternate name .* not allowed/i,
    kind: 'role',
    ofRequest: true,
    message: "refuses a DNS name by its role's allowed_domains",
    fix: (c) => rolePatch(c, 'allowed_domains=<domain> allow_subdomains=true'),
  },
  {
    text: /either ttl or not_after should be provided/i,
    kind: 'role',
    message: 'refuses a lifetime because of the not_after of its role',
    fix: (c) => `${rolePatch(c, 'not_after=""')}; mesh-ca asks for dpCert.rotation.expiration`,
  },
  {
    text: /beyond the expiration of the CA|cannot satisfy request, as TTL/i,
    kind: 'role',
    message: "has a CA that ends before a certificate of this lifetime (ttl, or the role's not_after) would",
    fix: (c) =>
      `vault patch ${c.pki}/issuer/default leaf_not_after_behavior=truncate, which lets Vault cut lifetimes; or renew the CA of ${c.pki}, or ask for less in dpCert.rotation.expiration`,
  },
  {
    text: /unable to find PKI issuer for reference/i,
    kind: 'absent',
    message: "has no issuer of the name in its role's issuer_ref",
    fix: (c) => `${rolePatch(c, 'issuer_ref=default')}; or name another one of: vault list ${c.pki}/issuers`,
  },
  {
    text: /requested usage issuing-certificates|unable to fetch corresponding key/i,
    kind: 'absent',
    message: 'has an issuer that cannot sign: it has no key, or lacks the usage issuing-certificates',
    fix: (c) =>
      `vault patch ${c.pki}/issuer/default ${ISSUER_USAGE}; or choose another that has a key: vault write ${c.pki}/config/issuers default=<issuer>`,
  },
  {
    text: /no default issuer|must be configured with a CA|no issuers? (currently )?configured|does not have a configured CA/i,
    kind: 'absent',
    message: 'has no CA in this mount',
    fix: (c) => `${makeCa(c)}; or import one (intermediate/set-signed)`,
  },
  {
    text: /namespace not found/i,
    kind: 'namespace',
    message: (c) => `has no such namespace: ${c.namespace}`,
    fix: (c) => `vault namespace list; correct fromCp.namespace, or make it: vault namespace create ${c.namespace}`,
  },
  {
    text: /local node not active|active cluster node not found|no active node/i,
    kind: 'standby',
    message: 'is a standby, and its cluster has no active node',
    fix: () => FIND_ACTIVE,
  },
  { ...NO_PKI_MOUNT, text: /no handler for route|unsupported (path|operation)/i },
];

/** 403 by what Vault says, as it stands in the answer; the first that matches. */
export const FORBIDDEN_RULES: readonly (Rule & { readonly text: RegExp; readonly isPublic?: true })[] = [
  // Everybody may read the CA certificates of a PKI mount. Where Vault says no, there is none.
  { ...NO_PKI_MOUNT, text: /^/, isPublic: true },
  {
    text: /^1 error occurred:\s*\* permission denied\s*$/,
    kind: 'denied',
    message: (c) => `denies access: no policy of the token gives it "${c.capability}" on ${c.path}`,
    fix: (c) =>
      `add to a policy of the token: path "${c.path}" { capabilities = ["${c.capability}"] }; or correct fromCp.pki and fromCp.role, if mount and role have other names`,
  },
  {
    // A token that is not known gets no list of errors from OpenBao, and a second error from Vault.
    text: /^permission denied$|invalid token|bad token/,
    kind: 'token',
    message:
      'denies access: the token is invalid, was revoked, has expired, is used up (num_uses), or may not be used from here (token_bound_cidrs)',
    fix: (c) =>
      `vault token create -orphan -period=24h -policy=kmesh-${c.mesh}-dataplane-proxies-sign -field=token, and give a valid one in fromCp.auth; what is wrong with the old one tells vault token lookup <token>`,
  },
];

/** By status; the first whose range holds it. Kept apart from the texts, which are only asked where a status says little. */
export const STATUS_RULES: readonly (Rule & { readonly from: number; readonly to: number })[] = [
  {
    from: 300,
    to: 399,
    kind: 'standby',
    message: 'is a standby that redirects to another server, which is never followed because the token would go along',
    fix: (c) =>
      `set ${c.endpointField} to the active node or to a load balancer in front of it; a standby that forwards works, too`,
  },
  {
    from: 401,
    to: 401,
    kind: 'token',
    message: 'does not accept the token',
    fix: () => 'give a valid token in fromCp.auth',
  },
  {
    from: 403,
    to: 403,
    kind: 'denied',
    message:
      'denies access: the token is invalid or has expired, its policy lacks this path, or the mount or role has another name',
    fix: (c) =>
      `vault token lookup <token>; check the token, fromCp.pki and fromCp.role, and that its policy has: path "${c.path}" { capabilities = ["${c.capability}"] }`,
  },
  {
    from: 404,
    to: 404,
    kind: 'absent',
    message: (c) => (c.path.endsWith(`/roles/${c.role}`) ? `has no such role: ${c.role}` : 'has nothing at this path'),
    fix: (c) => `${makeRole(c)}; or correct fromCp.pki and fromCp.role`,
  },
  {
    from: 412,
    to: 412,
    kind: 'server',
    message: 'has not caught up with its own writes yet',
    fix: () => 'try again in a moment',
  },
  {
    from: 429,
    to: 429,
    kind: 'rate-limited',
    message: 'limits the rate of requests (a quota)',
    // What is written takes the place of the whole quota, its path too.
    fix: () =>
      'raise the quota: vault list sys/quotas/rate-limit, vault read sys/quotas/rate-limit/<name>, then vault write sys/quotas/rate-limit/<name> path=<its path> interval=<its interval> rate=<more>; or wait',
  },
  {
    from: 472,
    to: 473,
    kind: 'standby',
    message: 'is a standby that does not serve this',
    fix: (c) => `set ${c.endpointField} to the active node`,
  },
  {
    from: 400,
    to: 499,
    kind: 'role',
    message: 'refuses the request',
    fix: (c) => `vault read ${c.pki}/roles/${c.role}; compare the role with the documented one`,
  },
  {
    from: 502,
    to: 504,
    kind: 'server',
    message: 'is not available',
    fix: () => 'look at the load balancer and the Vault servers behind it',
  },
  { from: 500, to: 599, kind: 'server', message: 'has an internal error', fix: () => "look at Vault's log" },
];

export const UNSEAL = 'vault operator unseal';
export const INITIALISE = 'vault operator init; then unseal it: vault operator unseal';
export const SEALED: Rule = { kind: 'sealed', message: 'is sealed', fix: () => UNSEAL };
export const CA_ENDED: Rule = {
  kind: 'ca-ended',
  message: (c, said) => `signs in ${c.pki} with a CA that has ended at ${CA_END.exec(said)?.[1] ?? 'some time'}`,
  fix: (c, said) => {
    const end = CA_END.exec(said)?.[1];
    return renewCa(c, end === undefined ? undefined : new Date(end));
  },
};
/**
 * For a mount whose CA is past its end. The old root stays in the bundle until it is deleted in Vault. The new one is called after the day on which the old one
 * ends: `next`, as Vault calls it by itself, is taken from the second time on.
 * @param use what makes an issuer of this name the one that signs; without, it becomes the default one
 */
export function renewCa(
  { pki, mesh }: Pick<CallContext, 'pki' | 'mesh'>,
  endsAt: Date | undefined,
  use = (name: string) => `vault write ${pki}/root/replace default=${name}`,
): string {
  const name = endsAt === undefined ? '<new name>' : `root-after-${endsAt.toISOString().slice(0, 10)}`;
  return `vault write ${pki}/root/rotate/internal issuer_name=${name} ${caParameters(mesh)}, then ${use(name)}`;
}
/** For a mount without a CA. */
export function makeCa({ pki, mesh }: Pick<CallContext, 'pki' | 'mesh'>): string {
  return `vault write ${pki}/root/generate/internal ${caParameters(mesh)}`;
}
function caParameters(mesh: string): string {
  return `common_name="${mesh} root" uri_sans=spiffe://${mesh} ttl=87600h`;
}
export const PLAIN_HTTP: Rule = {
  kind: 'no-tls',
  message: 'speaks HTTPS at this address',
  fix: (c) => `write https:// in ${c.endpointField}`,
};
export const UNKNOWN_STATUS: Rule = {
  kind: 'malformed',
  message: 'answers with an unexpected status',
  fix: (c) => `check that ${c.endpointField} is a Vault server`,
};
