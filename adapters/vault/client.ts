import type { z } from 'zod';
import { type Call, DEFAULT_TIMEOUT_MS, type Exchange, isRefused } from './exchange.ts';
import type { Outcome } from './failure.ts';
import * as replies from './replies.ts';
import { type LookupReply, lookupReply } from './token-replies.ts';
import type { Transport } from './transport.ts';

export interface VaultClientOptions {
  readonly pki: string;
  readonly role: string;
  readonly exchange: Exchange;
  readonly transport: Pick<Transport, 'send'>;
  readonly tokens: Tokens;
  /** Fires when the issuer is closed; its reason is what calls under way reject with. */
  readonly closing: AbortSignal;
  /** Longest wait for any answer, where that is less than the call's own. */
  readonly timeoutMs?: number;
}

/** The token that calls carry, whatever it is at the moment. */
export interface Tokens {
  /** Gets one first when there is none. @throws ConfigError when what it comes from cannot be loaded or used */
  current(signal: AbortSignal): Promise<Outcome<string>>;
  /**
   * Vault answered 403 to `path` with `token`. Another token, to try once more with; the failure to get one by a login; undefined when there is
   * none to be had now, or none would help.
   */
  refused(token: string, path: string, signal: AbortSignal): Promise<Outcome<string> | undefined>;
  /** The token that `refused` gave was refused, too: it is not the token. */
  stillRefused(path: string): void;
}

/**
 * The calls of Vault's API that this adapter makes. None of them throws because of what Vault or the network does: that is in the outcome.
 * Each rejects with the signal's reason once `signal` fires.
 */
export interface VaultClient {
  sign(body: SignBody, signal: AbortSignal): Promise<Outcome<replies.IssuedReply>>;
  issue(body: IssueBody, signal: AbortSignal): Promise<Outcome<replies.IssuedReply>>;
  /**
   * Whether the token may use a path, for tokens that cannot ask `capabilities-self`. Vault checks the right before the request, and the request
   * is one that can only be refused: `sign` without a CSR, `issue` with a lifetime that is no duration. Nothing is issued.
   */
  probe(path: 'sign' | 'issue', signal: AbortSignal): Promise<Outcome<boolean>>;
  /** Which of this adapter's paths the token may use. */
  capabilities(signal: AbortSignal): Promise<Outcome<Capabilities>>;
  readRole(signal: AbortSignal): Promise<Outcome<replies.RoleReply>>;
  /** Names of the roles of the mount. */
  listRoles(signal: AbortSignal): Promise<Outcome<readonly string[]>>;
  /** PEM text with the chain of the mount's default issuer; sent without a token. */
  readCaChain(signal: AbortSignal): Promise<Outcome<string>>;
  /** All issuers of the mount; sent without a token. Vault before 1.11 has no such path. */
  listIssuers(signal: AbortSignal): Promise<Outcome<replies.IssuersReply>>;
  /** PEM of one issuer's certificate; sent without a token. `id` as `listIssuers` tells it. */
  readIssuer(id: string, signal: AbortSignal): Promise<Outcome<string>>;
  /** What one issuer is for; takes a right. `ref` is a name, an id or `default`. */
  readIssuerState(ref: string, signal: AbortSignal): Promise<Outcome<replies.IssuerStateReply>>;
  /** Type and limits of what is mounted at `pki`; takes any right below it. */
  readMount(signal: AbortSignal): Promise<Outcome<replies.MountReply>>;
  /** Whether the node knows of an active one; sent without a token. */
  leader(signal: AbortSignal): Promise<Outcome<z.output<typeof replies.leaderReply>>>;
  lookupToken(signal: AbortSignal): Promise<Outcome<LookupReply>>;
  health(signal: AbortSignal): Promise<Outcome<z.output<typeof replies.healthReply>>>;
}

/** What this adapter does with a token, and the capability that it takes. */
const USES = {
  sign: 'update',
  issue: 'update',
  readRole: 'read',
  listRoles: 'list',
  readIssuer: 'read',
  lookUpToken: 'read',
  renewToken: 'update',
  revokeToken: 'update',
} as const;
export type Use = keyof typeof USES;
export type Capabilities = Readonly<Record<Use, boolean>>;

/** The path of each use, and the capability there. */
export type Rights = Readonly<Record<Use, { readonly path: string; readonly capability: string }>>;

/** Of a mount and role as the conf names them; paths as policies have them. */
export function rightsOf({ pki, role }: { readonly pki: string; readonly role: string }): Rights {
  const paths: Readonly<Record<Use, string>> = {
    ...{ sign: `${pki}/sign/${role}`, issue: `${pki}/issue/${role}` },
    ...{ readRole: `${pki}/roles/${role}`, listRoles: `${pki}/roles`, readIssuer: `${pki}/issuer/default` },
    ...{ lookUpToken: 'auth/token/lookup-self', renewToken: 'auth/token/renew-self' },
    revokeToken: 'auth/token/revoke-self',
  };
  return mapUses((use) => ({ path: paths[use], capability: USES[use] }));
}

function mapUses<T>(to: (use: Use) => T): Readonly<Record<Use, T>> {
  return {
    ...{ sign: to('sign'), issue: to('issue'), readRole: to('readRole'), listRoles: to('listRoles') },
    ...{ readIssuer: to('readIssuer'), lookUpToken: to('lookUpToken'), renewToken: to('renewToken') },
    revokeToken: to('revokeToken'),
  };
}

/** Fields as Vault's API names them. */
export interface SubjectBody {
  readonly common_name?: string;
  readonly exclude_cn_from_sans: true;
  readonly uri_sans: readonly string[];
  readonly alt_names?: readonly string[];
  readonly ttl: string;
  readonly format: 'pem';
}
export interface SignBody extends SubjectBody {
  readonly csr: string;
}
export interface IssueBody extends SubjectBody {
  readonly private_key_format: 'pkcs8';
}

/** Longest wait for a certificate, whatever the caller's own deadline: `issue` with RSA keys is slow on a busy server. Others get 10 s. */
const CALL_TIMEOUT_MS = 30_000;

export function createVaultClient(options: VaultClientOptions): VaultClient {
  const { pki, role, transport, tokens } = options;
  const signPath = `${encodePath(pki)}/sign/${encodePath(role)}`;
  const issuePath = `${encodePath(pki)}/issue/${encodePath(role)}`;
  const rolesPath = `${encodePath(pki)}/roles`;
  const rolePath = `${rolesPath}/${encodePath(role)}`;

  /** A call that is answered 403 is made once more when that brings a fresh token: the callers of this client never see a token that has ended. */
  async function exchange<S extends z.ZodType>(call: Call<S>, signal: AbortSignal): Promise<Outcome<z.output<S>>> {
    if (call.anonymous === true) return attempt(call, '', signal);
    const held = await tokens.current(signal);
    if (!held.ok) return held;
    const first = await attempt(call, held.value, signal);
    if (!isRefused(first)) return first;
    const fresh = await tokens.refused(held.value, call.path, signal);
    if (fresh === undefined) return first;
    if (!fresh.ok) return fresh;
    // With the repetition of the first over a broken connection it is the third at most.
    const second = await attempt({ ...call, repeat: 'never' }, fresh.value, signal);
    if (isRefused(second)) tokens.stillRefused(call.path);
    return second;
  }

  async function attempt<S extends z.ZodType>(
    call: Call<S>,
    token: string,
    signal: AbortSignal,
  ): Promise<Outcome<z.output<S>>> {
    options.closing.throwIfAborted();
    const timeoutMs = Math.min(call.timeoutMs ?? DEFAULT_TIMEOUT_MS, options.timeoutMs ?? Number.POSITIVE_INFINITY);
    const outcome = await options.exchange({ ...call, timeoutMs }, { token, transport }, signal);
    options.closing.throwIfAborted();
    return outcome;
  }

  return {
    async sign(body, signal) {
      const call = {
        method: 'POST',
        path: signPath,
        schema: replies.issuedReply,
        body,
        timeoutMs: CALL_TIMEOUT_MS,
      } as const;
      return dataOf(await exchange({ ...call, repeat: 'always' }, signal));
    },
    async issue(body, signal) {
      const call = {
        method: 'POST',
        path: issuePath,
        schema: replies.issuedReply,
        body,
        timeoutMs: CALL_TIMEOUT_MS,
      } as const;
      return dataOf(await exchange(call, signal));
    },
    async probe(path, signal) {
      const call = path === 'sign' ? { path: signPath, body: {} } : { path: issuePath, body: { ttl: 'none' } };
      const answer = await exchange(
        { method: 'POST', schema: replies.anyReply, accepts: [400], repeat: 'always', ...call },
        signal,
      );
      if (answer.ok) return { ok: true, value: true };
      return answer.failure.kind === 'denied' ? { ok: true, value: false } : answer;
    },
    async capabilities(signal) {
      const rights = rightsOf(options);
      const paths = Object.values(rights).map(({ path }) => path);
      const call = {
        method: 'POST',
        path: 'sys/capabilities-self',
        schema: replies.capabilitiesReply,
        repeat: 'always',
        body: { paths },
      } as const;
      const answer = await exchange(call, signal);
      if (!answer.ok) return answer;
      const may = (use: Use) => {
        const { path, capability } = rights[use];
        const granted = answer.value.data[path] ?? [];
        return granted.includes(capability) || granted.includes('root');
      };
      return { ok: true, value: mapUses(may) };
    },
    async readRole(signal) {
      return dataOf(await exchange({ method: 'GET', path: rolePath, schema: replies.roleReply }, signal));
    },
    async listRoles(signal) {
      const answer = await exchange({ method: 'GET', path: rolesPath, list: true, schema: replies.keysReply }, signal);
      return answer.ok ? { ok: true, value: answer.value.data.keys } : answer;
    },
    async listIssuers(signal) {
      const call = { method: 'GET', list: true, schema: replies.issuersReply, anonymous: true } as const;
      return dataOf(await exchange({ ...call, path: `${encodePath(pki)}/issuers` }, signal));
    },
    async readIssuer(id, signal) {
      const call = { method: 'GET', schema: replies.issuerReply, anonymous: true } as const;
      const answer = await exchange({ ...call, path: `${encodePath(pki)}/issuer/${encodePath(id)}/json` }, signal);
      return answer.ok ? { ok: true, value: answer.value.data.certificate } : answer;
    },
    async readCaChain(signal) {
      const call = { method: 'GET', schema: replies.caReply, anonymous: true } as const;
      const chain = await exchange({ ...call, path: `${encodePath(pki)}/cert/ca_chain` }, signal);
      if (!chain.ok) return chain;
      const pem = chain.value.data.ca_chain || chain.value.data.certificate;
      if (pem !== '') return { ok: true, value: pem };
      // Older servers tell no chain for a root mount.
      const ca = await exchange({ ...call, path: `${encodePath(pki)}/cert/ca` }, signal);
      return ca.ok ? { ok: true, value: ca.value.data.certificate } : ca;
    },
    async readIssuerState(ref, signal) {
      const path = `${encodePath(pki)}/issuer/${encodePath(ref)}`;
      return dataOf(await exchange({ method: 'GET', path, schema: replies.issuerStateReply }, signal));
    },
    async readMount(signal) {
      const path = `sys/internal/ui/mounts/${encodePath(pki)}`;
      return dataOf(await exchange({ method: 'GET', path, schema: replies.mountReply }, signal));
    },
    leader(signal) {
      const call = { method: 'GET', path: 'sys/leader', schema: replies.leaderReply } as const;
      return exchange({ ...call, anonymous: true, inRootNamespace: true }, signal);
    },
    async lookupToken(signal) {
      return dataOf(await exchange({ method: 'GET', path: 'auth/token/lookup-self', schema: lookupReply }, signal));
    },
    health(signal) {
      return exchange(
        {
          method: 'GET',
          path: 'sys/health',
          schema: replies.healthReply,
          anonymous: true,
          inRootNamespace: true,
          accepts: [429, 472, 473, 501, 503],
        },
        signal,
      );
    },
  };
}

function dataOf<T>(outcome: Outcome<{ data: T }>): Outcome<T> {
  return outcome.ok ? { ok: true, value: outcome.value.data } : outcome;
}

/** Of one or more parts. */
export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
