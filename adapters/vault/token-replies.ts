import { z } from 'zod';
import type { TokenLife } from './auth/token-source.ts';
import type { LookedUpToken } from './token-life.ts';

/** Vault tells whole seconds. What is no sensible number is cut to this range, so that no sum of it overflows. */
const MAX_SECONDS = 100 * 365 * 24 * 3600;
const seconds = z.number().transform((value) => Math.min(Math.max(value, 0), MAX_SECONDS));
const MAX_TOKEN = 8192;
const MAX_POLICIES = 32;

const tokenType = z
  .string()
  .nullish()
  .transform((type): TokenLife['type'] => (type === 'service' || type === 'batch' ? type : 'unknown'));

/** Only those that can stand in a command as they are. */
const policyNames = z
  .array(z.string())
  .catch([])
  .transform((all) => all.filter((name) => /^[\w.-]{1,128}$/.test(name)).slice(0, MAX_POLICIES));

/** `auth/token/lookup-self`. `expire_time` is null for tokens that never expire, as root tokens. */
export const lookupReply = z.object({
  data: z.object({
    ttl: seconds,
    expire_time: z.string().nullish(),
    creation_ttl: seconds.nullish(),
    explicit_max_ttl: seconds.nullish(),
    period: seconds.nullish(),
    renewable: z.boolean().default(false),
    type: z
      .string()
      .regex(/^\w{1,32}$/)
      .default('service'),
    /** Seconds since 1970, by the clock of Vault. */
    creation_time: z.number().nonnegative().optional().catch(undefined),
    num_uses: z.number().nonnegative().catch(0),
    policies: policyNames,
    identity_policies: policyNames,
  }),
});
export type LookupReply = z.output<typeof lookupReply>['data'];

/** Logins, and `auth/token/renew-self`. */
export const authReply = z.object({
  auth: z.object({
    client_token: z.string().min(1).max(MAX_TOKEN),
    lease_duration: seconds,
    renewable: z.boolean().default(false),
    token_type: tokenType,
  }),
});
export type AuthReply = z.output<typeof authReply>['auth'];

export function lifeOfAuth({ lease_duration: ttlSeconds, renewable, token_type: type }: AuthReply): TokenLife {
  return { ttlSeconds, renewable, type };
}

export function lifeOfLookup(reply: LookupReply): LookedUpToken {
  return {
    ttlSeconds: reply.ttl,
    renewable: reply.renewable,
    type: tokenType.parse(reply.type),
    neverExpires: reply.ttl === 0 && (reply.expire_time ?? null) === null,
    grantedSeconds: reply.period || reply.creation_ttl || undefined,
  };
}
