import nodeVault from 'node-vault';
import type { z } from 'zod';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { fieldAtFault } from '../shared/field-at-fault.ts';
import type { CallContext } from './error-rules.ts';
import { malformedFailure, networkFailure, statusFailure, timeoutFailure } from './errors.ts';
import { failed, type Outcome } from './failure.ts';
import type { Repeat, Transport, TransportReply, TransportRequest } from './transport.ts';

/** One call of Vault's API. */
export interface Call<S extends z.ZodType> {
  readonly method: 'GET' | 'POST';
  /** Without `/v1/`. */
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
  /** Longest wait for the answer, whatever the caller's own deadline. Default 10 s. */
  readonly timeoutMs?: number;
  /** Default: `always` for GET, else `unseen`. */
  readonly repeat?: Repeat;
}

export interface ExchangeOptions extends Omit<CallContext, 'path' | 'capability' | 'token' | 'isAnonymous'> {
  readonly namespace: string;
  readonly clock: IssuerDeps['clock'];
}

export interface Way {
  /** '' for none. Never sent with an anonymous call. */
  readonly token: string;
  readonly transport: Pick<Transport, 'send'>;
}

/** Throws nothing because of what Vault or the network does: that is in the outcome. Rejects with the signal's reason once `signal` fires. */
export type Exchange = <S extends z.ZodType>(
  call: Call<S>,
  way: Way,
  signal: AbortSignal,
) => Promise<Outcome<z.output<S>>>;

export const DEFAULT_TIMEOUT_MS = 10_000;

/** The only place that knows node-vault. */
export function createExchange(options: ExchangeOptions): Exchange {
  const { clock, namespace } = options;
  const vault = createNodeVault(options.endpoint);

  return async (call, way, signal) => {
    const token = call.anonymous === true ? '' : way.token;
    const context: CallContext = {
      ...{ ...options, path: call.path, token, isAnonymous: call.anonymous === true },
      capability: call.method === 'POST' ? 'update' : call.list === true ? 'list' : 'read',
    };
    const headers: Record<string, string> = { 'X-Vault-Request': 'true' };
    if (token !== '') headers['X-Vault-Token'] = token;
    if (namespace !== '' && call.inRootNamespace !== true) headers['X-Vault-Namespace'] = namespace;
    signal.throwIfAborted();
    const timeoutMs = call.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const repeat = call.repeat ?? (call.method === 'GET' ? 'always' : 'unseen');
    const deadline = clock.deadline(timeoutMs, signal);
    try {
      const requestOptions = { headers, signal: deadline.signal, repeat, via: way.transport };
      // node-vault hands back what our transport gave, see createNodeVault.
      const reply: TransportReply =
        call.method === 'GET'
          ? await vault.read(call.list === true ? `${call.path}?list=true` : call.path, requestOptions)
          : await vault.write(call.path, call.body ?? {}, requestOptions);
      return readReply(call, reply, context, clock.now());
    } catch (error) {
      signal.throwIfAborted();
      return failed(deadline.signal.aborted ? timeoutFailure(timeoutMs, context) : networkFailure(error, context));
    } finally {
      deadline.clear();
    }
  };
}

/**
 * node-vault with our transport in the place of its HTTP client. What it would otherwise take from VAULT_TOKEN, VAULT_ADDR, VAULT_NAMESPACE
 * and VAULT_PREFIX is overwritten; VAULT_SKIP_VERIFY only ever reaches the HTTP client that is not used; DEBUG cannot print tokens.
 */
function createNodeVault(endpoint: string): nodeVault.client {
  const vault = nodeVault({
    endpoint,
    apiVersion: 'v1',
    debug: () => {},
    'request-promise': {
      defaults:
        () =>
        ({ via, ...request }: TransportRequest & { readonly via: Way['transport'] }) =>
          via.send(request),
    },
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

/** Vault's one answer to a token that is not valid, a path that its policies leave out, and a path that does not exist. */
export function isRefused(outcome: Outcome<unknown>): boolean {
  return !outcome.ok && outcome.failure.status === 403;
}

function describeIssue(error: z.ZodError): string {
  const field = fieldAtFault(error);
  return field === '' ? 'no JSON object' : `field ${field} is missing or of the wrong type`;
}
