import nodeVault from 'node-vault';
import type { z } from 'zod';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { CallContext } from './error-rules.ts';
import { malformedFailure, networkFailure, statusFailure, timeoutFailure } from './errors.ts';
import { failed, type Outcome } from './failure.ts';
import * as replies from './replies.ts';
import type { Transport, TransportReply, TransportRequest } from './transport.ts';

export interface VaultClientOptions {
  readonly endpoint: string;
  readonly endpointField: string;
  readonly namespace: string;
  readonly token: string;
  readonly pki: string;
  readonly role: string;
  readonly mesh: string;
  readonly transport: Transport;
  readonly clock: IssuerDeps['clock'];
  /** Fires when the issuer is closed; its reason is what calls under way reject with. */
  readonly closing: AbortSignal;
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
  lookupToken(signal: AbortSignal): Promise<Outcome<z.output<typeof replies.tokenReply>['data']>>;
  health(signal: AbortSignal): Promise<Outcome<z.output<typeof replies.healthReply>>>;
}

export interface Capabilities {
  readonly sign: boolean;
  readonly issue: boolean;
  readonly readRole: boolean;
  readonly listRoles: boolean;
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

/** Longest wait for one answer, whatever the caller's own deadline. `issue` with RSA keys is slow on a busy server. */
export const CALL_TIMEOUT_MS = 30_000;

interface Call<S extends z.ZodType> {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  /** Asks for the list below `path`, by GET: not every proxy lets the verb LIST pass. */
  readonly list?: true;
  readonly schema: S;
  readonly body?: object;
  /** Without a token, for what Vault tells everybody. */
  readonly anonymous?: true;
  /** Without the namespace, for what only the root namespace answers. */
  readonly inRootNamespace?: true;
  /** Statuses beside 200 whose body is what was asked for. */
  readonly accepts?: readonly number[];
}

/** The only place that knows node-vault. */
export function createVaultClient(options: VaultClientOptions): VaultClient {
  const { pki, role, transport, clock } = options;
  const vault = createNodeVault(options.endpoint, transport);
  const signPath = `${encodePath(pki)}/sign/${encodePath(role)}`;
  const issuePath = `${encodePath(pki)}/issue/${encodePath(role)}`;
  const rolesPath = `${encodePath(pki)}/roles`;
  const rolePath = `${rolesPath}/${encodePath(role)}`;

  async function exchange<S extends z.ZodType>(call: Call<S>, signal: AbortSignal): Promise<Outcome<z.output<S>>> {
    const context: CallContext = {
      ...{ ...options, path: call.path, isAnonymous: call.anonymous === true },
      capability: call.method === 'POST' ? 'update' : call.list === true ? 'list' : 'read',
    };
    const headers: Record<string, string> = { 'X-Vault-Request': 'true' };
    if (call.anonymous !== true) headers['X-Vault-Token'] = options.token;
    if (options.namespace !== '' && call.inRootNamespace !== true) headers['X-Vault-Namespace'] = options.namespace;
    signal.throwIfAborted();
    options.closing.throwIfAborted();
    const deadline = clock.deadline(CALL_TIMEOUT_MS, signal);
    try {
      const requestOptions = { headers, signal: deadline.signal };
      // node-vault hands back what our transport gave, see createNodeVault.
      const reply: TransportReply =
        call.method === 'GET'
          ? await vault.read(call.list === true ? `${call.path}?list=true` : call.path, requestOptions)
          : await vault.write(call.path, call.body ?? {}, requestOptions);
      return readReply(call, reply, context, clock.now());
    } catch (error) {
      signal.throwIfAborted();
      options.closing.throwIfAborted();
      return failed(
        deadline.signal.aborted ? timeoutFailure(CALL_TIMEOUT_MS, context) : networkFailure(error, context),
      );
    } finally {
      deadline.clear();
    }
  }

  return {
    async sign(body, signal) {
      return dataOf(await exchange({ method: 'POST', path: signPath, schema: replies.issuedReply, body }, signal));
    },
    async issue(body, signal) {
      return dataOf(await exchange({ method: 'POST', path: issuePath, schema: replies.issuedReply, body }, signal));
    },
    async probe(path, signal) {
      const call = path === 'sign' ? { path: signPath, body: {} } : { path: issuePath, body: { ttl: 'none' } };
      const answer = await exchange({ method: 'POST', schema: replies.anyReply, accepts: [400], ...call }, signal);
      if (answer.ok) return { ok: true, value: true };
      return answer.failure.kind === 'denied' ? { ok: true, value: false } : answer;
    },
    async capabilities(signal) {
      const paths = [signPath, issuePath, rolePath, rolesPath];
      const call = {
        method: 'POST',
        path: 'sys/capabilities-self',
        schema: replies.capabilitiesReply,
        body: { paths },
      } as const;
      const answer = await exchange(call, signal);
      if (!answer.ok) return answer;
      const may = (path: string, capability: string) => {
        const granted = answer.value.data[path] ?? [];
        return granted.includes(capability) || granted.includes('root');
      };
      return {
        ok: true,
        value: {
          ...{ sign: may(signPath, 'update'), issue: may(issuePath, 'update') },
          ...{ readRole: may(rolePath, 'read'), listRoles: may(rolesPath, 'list') },
        },
      };
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
    async lookupToken(signal) {
      return dataOf(
        await exchange({ method: 'GET', path: 'auth/token/lookup-self', schema: replies.tokenReply }, signal),
      );
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

/**
 * node-vault with our transport in the place of its HTTP client. What it would otherwise take from VAULT_TOKEN, VAULT_ADDR, VAULT_NAMESPACE
 * and VAULT_PREFIX is overwritten; VAULT_SKIP_VERIFY only ever reaches the HTTP client that is not used; DEBUG cannot print tokens.
 */
function createNodeVault(endpoint: string, transport: Transport): nodeVault.client {
  const vault = nodeVault({
    endpoint,
    apiVersion: 'v1',
    debug: () => {},
    'request-promise': { defaults: () => (request: TransportRequest) => transport.send(request) },
  });
  return Object.assign(vault, {
    endpoint,
    token: '',
    namespace: '',
    pathPrefix: '',
    // Its own handler drops status and headers.
    handleVaultResponse: async (reply: unknown) => reply,
  });
}

function readReply<S extends z.ZodType>(
  call: Call<S>,
  reply: TransportReply,
  context: CallContext,
  now: Date,
): Outcome<z.output<S>> {
  const isExpected = reply.status === 200 || reply.status === 204 || call.accepts?.includes(reply.status);
  if (!isExpected) return failed(statusFailure(reply, context, now));
  const parsed = call.schema.safeParse(reply.body);
  if (parsed.success) return { ok: true, value: parsed.data };
  if (reply.status > 299) return failed(statusFailure(reply, context, now));
  return failed(malformedFailure(describeIssue(parsed.error), context));
}

function describeIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  const field = issue?.path.join('.') ?? '';
  return field === '' ? 'no JSON object' : `field ${field} is missing or of the wrong type`;
}

function dataOf<T>(outcome: Outcome<{ data: T }>): Outcome<T> {
  return outcome.ok ? { ok: true, value: outcome.value.data } : outcome;
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
