import { z } from 'zod';

/** Longest PEM text of one certificate or key, and most certificates in a chain. */
const MAX_PEM = 64 * 1024;
const MAX_CHAIN = 32;
const MAX_NAME = 2048;

/** Longer lists are cut by who reads them; a mount with thousands of issuers is somebody's mistake. */
const MAX_KEYS = 10_000;
const id = z.string().regex(/^[A-Za-z0-9_-]{1,64}$/);

const pem = z.string().max(MAX_PEM);

/** `sign` and `issue`. A mount may leave out the chain, or say null. */
export const issuedReply = z.object({
  data: z.object({
    certificate: pem,
    issuing_ca: pem.nullish(),
    ca_chain: z.array(pem).max(MAX_CHAIN).nullish(),
    private_key: pem.optional(),
  }),
});
export type IssuedReply = z.output<typeof issuedReply>['data'];

/** `cert/ca` and `cert/ca_chain`: all certificates in one PEM text. Vault before 1.11 fills only `certificate`. */
export const caReply = z.object({
  data: z.object({
    certificate: z.string().max(MAX_CHAIN * MAX_PEM),
    ca_chain: z
      .string()
      .max(MAX_CHAIN * MAX_PEM)
      .nullish(),
  }),
});

export const keysReply = z.object({ data: z.object({ keys: z.array(z.string()).max(MAX_KEYS) }) });

/** `issuers?list=true` (Vault 1.11 and later): ids, and for each its name, and that of its key (Vault 1.12 and later); '' for none. */
export const issuersReply = z.object({
  data: z.object({
    keys: z.array(id).max(MAX_KEYS),
    key_info: z
      .record(
        z.string(),
        z.object({
          issuer_name: z.string().default(''),
          is_default: z.boolean().default(false),
          key_id: z.string().optional().catch(undefined),
        }),
      )
      .nullish(),
  }),
});
export type IssuersReply = z.output<typeof issuersReply>['data'];

/** `issuer/<id>/json`. */
export const issuerReply = z.object({ data: z.object({ certificate: pem }) });

/** `issuer/<id>`, which takes a right. */
export const issuerStateReply = z.object({
  data: z.object({
    /** `read-only,issuing-certificates,crl-signing,ocsp-signing`. Vault before 1.12 does not tell. */
    usage: z.string().max(MAX_NAME).optional().catch(undefined),
    revoked: z.boolean().catch(false),
    leaf_not_after_behavior: z.string().max(64).catch(''),
  }),
});
export type IssuerStateReply = z.output<typeof issuerStateReply>['data'];

/** `sys/leader`: '' where the node knows of no active one. Absent without high availability. */
export const leaderReply = z.object({ ha_enabled: z.boolean(), leader_address: z.string().optional() });

/** `sys/internal/ui/mounts/<path>`, which every token with a right below the mount may read. */
export const mountReply = z.object({
  data: z.object({
    type: z.string().regex(/^[\w-]{1,64}$/),
    /** Seconds; 0: that of the server. */
    config: z.object({ max_lease_ttl: z.number().nonnegative().catch(0) }).catch({ max_lease_ttl: 0 }),
  }),
});
export type MountReply = z.output<typeof mountReply>['data'];

/** Path -> capabilities. Vault repeats them outside `data` for old clients. */
export const capabilitiesReply = z.object({ data: z.record(z.string(), z.array(z.string())) });

const names = z.array(z.string().max(MAX_NAME)).max(MAX_KEYS).catch([]);
const seconds = z.number().nonnegative().catch(0);

/** What of a role decides about certificates. What only checks look at is never a reason not to sign: it has a value whatever is told. */
export const roleReply = z.object({
  data: z.object({
    key_type: z.string().regex(/^[\w-]{1,32}$/),
    key_bits: z.number().int().nonnegative().default(0),
    use_csr_sans: z.boolean().default(true),
    use_csr_common_name: z.boolean().default(true),
    issuer_ref: z
      .string()
      .regex(/^[\w.-]{1,256}$/)
      .default('default'),
    allowed_uri_sans: z.array(z.string().max(MAX_NAME)).max(MAX_KEYS).nullish(),
    require_cn: z.boolean().default(true),
    client_flag: z.boolean().default(true),
    server_flag: z.boolean().default(true),
    generate_lease: z.boolean().default(false),
    no_store: z.boolean().catch(false),
    ttl: seconds,
    max_ttl: seconds,
    not_after: z.string().max(64).catch(''),
    key_usage: names,
    ext_key_usage: names,
    allow_any_name: z.boolean().catch(false),
    allow_bare_domains: z.boolean().catch(false),
    allow_subdomains: z.boolean().catch(false),
    allow_glob_domains: z.boolean().catch(false),
    allow_localhost: z.boolean().catch(true),
    allow_token_displayname: z.boolean().catch(false),
    allowed_domains: names,
    enforce_hostnames: z.boolean().catch(true),
    cn_validations: names,
  }),
});
export type RoleReply = z.output<typeof roleReply>['data'];

/** `sys/health`, whatever its status. */
export const healthReply = z.object({
  initialized: z.boolean(),
  sealed: z.boolean(),
  standby: z.boolean(),
  replication_dr_mode: z.string().max(100).catch(''),
  server_time_utc: z.number(),
  version: z
    .string()
    .regex(/^[\w.+-]{1,100}$/)
    .catch('unknown'),
});

export const anyReply = z.unknown();
