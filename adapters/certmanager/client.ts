import type { z } from 'zod';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { fieldAtFault } from '../shared/field-at-fault.ts';
import type { CallContext, Verb } from './error-rules.ts';
import { malformedFailure, networkFailure, statusFailure, timeoutFailure } from './errors.ts';
import { failed, type Outcome } from './failure.ts';
import { type Access, createKubeAccess } from './kube-access.ts';
import * as replies from './replies.ts';
import { createTransport, type Transport, type TransportReply, type TransportRequest } from './transport.ts';

export interface CallOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** Called for each request that goes out. Default: that of the client. */
  readonly onRequest?: () => void;
}

/** The calls that mesh-ca makes, all in one namespace. Failures are values; only an aborted signal rejects, with its reason. */
export interface KubernetesClient {
  create(manifest: object, options: CallOptions): Promise<Outcome<replies.CertificateRequest>>;
  get(name: string, options: CallOptions): Promise<Outcome<replies.CertificateRequest>>;
  /** At most `limit` objects; `continueToken` goes on where a list ended. */
  list<S extends z.ZodType>(query: ListQuery<S>, options: CallOptions): Promise<Outcome<z.output<S>>>;
  /** The UID of what was deleted; undefined: it was not told. */
  delete(name: string, options: CallOptions): Promise<Outcome<{ readonly uid: string | undefined }>>;
  /** Opens a watch; `timeoutMs` counts until it stands. */
  watch(query: WatchQuery, options: CallOptions): Promise<Outcome<AsyncIterable<string>>>;
  /** Asks the server whether RBAC allows the verb. */
  may(verb: Verb, options: CallOptions): Promise<Outcome<boolean>>;
  /** `Active`, `Terminating`. */
  namespacePhase(options: CallOptions): Promise<Outcome<string>>;
  /** Where calls go; '' before the first. */
  readonly server: string;
  /** The API server's time, as far as its answers told; ours before that. */
  serverNow(): Date;
  close(): Promise<void>;
}

export interface ListQuery<S extends z.ZodType> {
  readonly schema: S;
  readonly selector?: string;
  readonly limit?: number;
  readonly continueToken?: string;
  /** Names and annotations are enough. */
  readonly metadataOnly?: boolean;
}

export interface WatchQuery {
  readonly selector: string;
  readonly resourceVersion: string;
  readonly timeoutSeconds: number;
}

interface Call<S extends z.ZodType> {
  readonly verb: Verb;
  readonly method: TransportRequest['method'];
  readonly path: string;
  readonly schema: S;
  readonly body?: object;
  readonly accept?: string;
}

const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';
const REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
const RESOURCE = { group: 'cert-manager.io', resource: 'certificaterequests' } as const;
const RETRY_AFTER_MAX_MS = 3_600_000;

/**
 * Small calls over undici instead of client-node's generated API: that gives no caps, no types, one connection for each call, and a watch that ends
 * at a reset. From client-node comes what only it knows: kubeconfig, service account, exec plug-ins.
 */
export function createKubernetesClient(
  namespace: string,
  { clock, onRequest: onSharedRequest }: Pick<IssuerDeps, 'clock' | 'onRequest'>,
): KubernetesClient {
  const access = createKubeAccess(clock);
  const closing = new AbortController();
  const collection = `/apis/cert-manager.io/v1/namespaces/${encodeURIComponent(namespace)}/certificaterequests`;
  let wire: { readonly transport: Transport; readonly connectionHash: string } | undefined;
  /** Of former credentials, with calls still under way. */
  const retired = new Set<Transport>();
  let server = '';
  let clockOffsetMs = 0;

  /** Connections are kept until what they were made from changes. */
  function transportFor(now: Access): Transport {
    if (closing.signal.aborted) throw closing.signal.reason;
    if (wire?.connectionHash !== now.connectionHash) {
      if (wire !== undefined) retire(wire.transport);
      wire = { transport: createTransport(now), connectionHash: now.connectionHash };
      server = now.server;
    }
    return wire.transport;
  }

  function retire(transport: Transport): void {
    retired.add(transport);
    const forget = () => void retired.delete(transport);
    transport.retire().then(forget, forget);
  }

  /** Runs `exchange` once with what we know of the cluster, and once more when the server does not accept the credentials. */
  async function reach<T extends { readonly reply: TransportReply }>(
    verb: Verb,
    { signal, timeoutMs, onRequest = onSharedRequest }: CallOptions,
    exchange: (transport: Transport, headers: Access['headers'], signal: AbortSignal) => Promise<T>,
  ): Promise<Outcome<T>> {
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      const known = await access.get(signal);
      if (!known.ok) return known;
      const context = { server: known.value.server, verb, namespace };
      const transport = transportFor(known.value);
      const deadline = clock.deadline(timeoutMs, signal);
      onRequest();
      try {
        const result = await exchange(transport, known.value.headers, deadline.signal);
        noteTime(result.reply);
        if (result.reply.status === 401 && attempt === 1 && access.refresh()) continue;
        if (result.reply.status < 200 || result.reply.status > 299)
          return failed(refusal(result.reply, context, known.value));
        return { ok: true, value: result };
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (closing.signal.aborted) throw closing.signal.reason;
        // The connection may be dead without knowing it.
        if (deadline.signal.aborted) transport.renew();
        const failure = deadline.signal.aborted ? timeoutFailure(timeoutMs, context) : networkFailure(error, context);
        // A renewed CA or client certificate is noticed now, not at the next regular look.
        if (failure.kind === 'tls') access.refresh();
        return failed(failure);
      } finally {
        deadline.clear();
      }
    }
  }

  function noteTime({ date }: TransportReply): void {
    const toldMs = Date.parse(date);
    if (!Number.isNaN(toldMs)) clockOffsetMs = toldMs - clock.now().getTime();
  }

  function refusal(reply: TransportReply, context: CallContext, { headers }: Access) {
    const parsed = replies.statusBody.safeParse(parseJson(reply.text));
    const told = parsed.success ? parsed.data : undefined;
    // A token need not look like one, and what answers need not be an API server.
    const credential = headers.authorization?.split(' ').at(-1) ?? '';
    const said = told?.message ?? (/^404 page not found\s*$/.test(reply.text) ? 'page not found' : '');
    const seconds = Number.parseInt(reply.retryAfter, 10);
    const waitMs = 1000 * (Number.isNaN(seconds) ? (told?.details?.retryAfterSeconds ?? 0) : Math.max(seconds, 0));
    return statusFailure(
      reply.status,
      credential === '' ? said : said.replaceAll(credential, '[token]'),
      context,
      waitMs > 0 ? Math.min(waitMs, RETRY_AFTER_MAX_MS) : undefined,
    );
  }

  async function call<S extends z.ZodType>(spec: Call<S>, options: CallOptions): Promise<Outcome<z.output<S>>> {
    const { verb, method, path, body, accept = 'application/json' } = spec;
    const reached = await reach(verb, options, async (transport, headers, signal) => ({
      reply: await transport.send({
        ...{ method, path, signal },
        headers: { ...headers, accept, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      }),
    }));
    if (!reached.ok) return reached;
    const parsed = spec.schema.safeParse(parseJson(reached.value.reply.text));
    if (parsed.success) return { ok: true, value: parsed.data };
    return failed(malformedFailure(describeIssue(parsed.error), { server, verb, namespace }));
  }

  return {
    create: (manifest, options) =>
      call(
        { verb: 'create', method: 'POST', path: collection, body: manifest, schema: replies.certificateRequest },
        options,
      ),
    get: (name, options) =>
      call({ verb: 'get', method: 'GET', path: `${collection}/${name}`, schema: replies.certificateRequest }, options),
    list({ schema, selector, limit, continueToken, metadataOnly }, options) {
      const query = new URLSearchParams({
        ...(selector !== undefined && { labelSelector: selector }),
        ...(limit !== undefined && { limit: String(limit) }),
        ...(continueToken !== undefined && { continue: continueToken }),
      });
      const accept = metadataOnly === true ? { accept: METADATA_ONLY } : {};
      return call({ verb: 'list', method: 'GET', path: `${collection}?${query}`, schema, ...accept }, options);
    },
    delete: (name, options) =>
      call({ verb: 'delete', method: 'DELETE', path: `${collection}/${name}`, schema: replies.deleted }, options),
    async watch({ selector, resourceVersion, timeoutSeconds }, options) {
      const query = new URLSearchParams({
        watch: 'true',
        allowWatchBookmarks: 'true',
        labelSelector: selector,
        resourceVersion,
        timeoutSeconds: String(timeoutSeconds),
      });
      // The deadline is for the head of the answer only; `options.signal` ends the stream.
      const reached = await reach('watch', options, async (transport, headers, untilOpen) => {
        const stream = new AbortController();
        const end = (signal: AbortSignal) => () => stream.abort(signal.reason);
        const [onLate, onEnd] = [end(untilOpen), end(options.signal)];
        untilOpen.addEventListener('abort', onLate, { once: true });
        options.signal.addEventListener('abort', onEnd, { once: true });
        const path = `${collection}?${query}`;
        const opened = await transport.stream({
          ...{ method: 'GET', path, signal: stream.signal },
          headers: { ...headers, accept: 'application/json' },
        });
        untilOpen.removeEventListener('abort', onLate);
        return opened;
      });
      return reached.ok ? { ok: true, value: reached.value.lines } : reached;
    },
    async may(verb, options) {
      const body = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: { namespace, verb, ...RESOURCE } },
      };
      const review = { verb: 'review', method: 'POST', path: REVIEWS, body, schema: replies.accessReview } as const;
      const told = await call(review, options);
      return told.ok ? { ok: true, value: told.value.status.allowed } : told;
    },
    async namespacePhase(options) {
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
      const told = await call({ verb: 'look', method: 'GET', path, schema: replies.namespaceState }, options);
      return told.ok ? { ok: true, value: told.value.status?.phase ?? '' } : told;
    },
    get server() {
      return server;
    },
    serverNow: () => new Date(clock.now().getTime() + clockOffsetMs),
    async close() {
      closing.abort(new Error('the client is closed'));
      const transports = [...retired, ...(wire === undefined ? [] : [wire.transport])];
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function describeIssue(error: z.ZodError): string {
  const field = fieldAtFault(error);
  return field === '' ? 'no JSON object' : `field ${field} is missing or of the wrong type`;
}
