import { z } from 'zod';

/** Longest PEM text of one certificate or key, and most certificates in a chain. */
const MAX_PEM = 64 * 1024;
const MAX_CHAIN = 32;
const MAX_ISSUER_REF = 256;
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

/** `issuers?list=true` (Vault 1.11 and later): ids, and for each its name, '' for none. */
export const issuersReply = z.object({
  data: z.object({
    keys: z.array(id).max(MAX_KEYS),
    key_info: z
      .record(z.string(), z.object({ issuer_name: z.string().default(''), is_default: z.boolean().default(false) }))
      .nullish(),
  }),
});
export type IssuersReply = z.output<typeof issuersReply>['data'];

/** `issuer/<id>/json`. */
export const issuerReply = z.object({ data: z.object({ certificate: pem }) });

/** Path -> capabilities. Vault repeats them outside `data` for old clients. */
export const capabilitiesReply = z.object({ data: z.record(z.string(), z.array(z.string())) });

/** What of a role decides about CSRs. */
export const roleReply = z.object({
  data: z.object({
    key_type: z.string().regex(/^[\w-]{1,32}$/),
    key_bits: z.number().int().nonnegative().default(0),
    use_csr_sans: z.boolean().default(true),
    use_csr_common_name: z.boolean().default(true),
    issuer_ref: z.string().max(MAX_ISSUER_REF).default('default'),
    allowed_uri_sans: z.array(z.string().max(MAX_NAME)).max(MAX_KEYS).nullish(),
    require_cn: z.boolean().default(true),
    client_flag: z.boolean().default(true),
    server_flag: z.boolean().default(true),
    generate_lease: z.boolean().default(false),
  }),
});
export type RoleReply = z.output<typeof roleReply>['data'];

/** `sys/health`, whatever its status. */
export const healthReply = z.object({
  initialized: z.boolean(),
  sealed: z.boolean(),
  standby: z.boolean(),
  server_time_utc: z.number(),
  version: z.string().max(100).default('unknown'),
});

export const anyReply = z.unknown();
