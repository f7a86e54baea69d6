import type http from 'node:http';
import type { ClusterCountsByUser } from './api-counts.ts';
import type { FaultRules } from './fault-rules.ts';
import type { Fault } from './faults.ts';
import { findDiscovery, HEALTH_PATHS, healthReply, REVIEW_PATH, readNamespaces, reviewAccess } from './fixed-paths.ts';
import { type Allows, forbidden } from './rbac.ts';
import { handleRequest, type Reply } from './request-handlers.ts';
import type { RequestStore } from './request-store.ts';
import { findRoute, type Route } from './routes.ts';
import {
  badRequest,
  conflict,
  internalError,
  pathNotFound,
  RESOURCE,
  StatusError,
  tooOld,
  unauthorized,
  unavailable,
  webhookDenied,
  webhookFailed,
} from './status.ts';
import type { ClusterUser } from './test-cluster.ts';
import { type OpenWatch, startWatch } from './watches.ts';

export interface ApiListenerParts {
  readonly store: RequestStore;
  readonly rules: FaultRules;
  readonly counts: ClusterCountsByUser;
  readonly watches: Set<OpenWatch>;
  readonly bookmarkIntervalMs: number;
  now(): Date;
  allows: Allows;
  /** Undefined: this token is nobody's. */
  userOf(token: string): ClusterUser | undefined;
  /** Called when it is known who speaks on a connection. */
  onUser(request: http.IncomingMessage, user: ClusterUser): void;
  /** Ends the connection by a TCP reset. */
  reset(request: http.IncomingMessage): void;
}

const MAX_BODY_BYTES = 3 * 1024 * 1024;
const ANONYMOUS: ClusterUser = { name: '', username: 'system:anonymous', groups: ['system:unauthenticated'] };

/** What the fake answers to a request: who is it, does a fault strike, may it, and then the verb. */
export function createApiListener(parts: ApiListenerParts): http.RequestListener {
  return (request, response) => {
    const date = parts.now().toUTCString();
    response.sendDate = false;
    response.setHeader('date', date);
    response.on('error', () => {});
    answer(request, response).catch((error: unknown) => {
      if (response.headersSent) return void response.destroy();
      send(response, error instanceof StatusError ? { status: error.code, body: error.body } : bug(error));
    });
  };

  async function answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const { path, query } = split(request.url ?? '/');
    const method = request.method ?? 'GET';
    const route = findRoute(method, path, query);
    const isOurs = route !== undefined && isCertificateRequest(route);
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const user = token === undefined ? ANONYMOUS : parts.userOf(token);
    const body = await readBody(request);
    if (user === undefined) throw unauthorized();
    parts.onUser(request, user);
    if (isOurs) parts.counts.count(user, route.verb);
    const fault = parts.rules.next(user, isOurs ? route.verb : undefined);
    if (fault !== undefined && !(await letThrough(fault, request, response, route))) return;
    if (isOurs && route.verb === 'watch') {
      check(user, route);
      let watch: OpenWatch | undefined;
      watch = startWatch({
        ...parts,
        route,
        query,
        user,
        response,
        onEnd: () => void (watch && parts.watches.delete(watch)),
        reset: () => parts.reset(request),
      });
      parts.counts.countWatch(user);
      if (!response.writableEnded) parts.watches.add(watch);
      return;
    }
    const { 'content-type': contentType = '', accept = '' } = request.headers;
    const reply = replyTo(method, path, route, { query, contentType, accept, body, user });
    if (fault?.kind === 'lost-answer') return parts.reset(request);
    if (fault?.kind === 'truncated') return sendHalf(response, reply);
    send(response, reply);
  }

  function replyTo(
    method: string,
    path: string,
    route: Route | undefined,
    call: { query: URLSearchParams; contentType: string; accept: string; body: Buffer; user: ClusterUser },
  ): Reply {
    const { user } = call;
    if (HEALTH_PATHS.includes(path)) return healthReply();
    if (path === '/version' || user !== ANONYMOUS) {
      const told = findDiscovery(path);
      if (told !== undefined) return told;
      if (path === REVIEW_PATH) return reviewAccess(method, user, parts.allows, parse(call.body));
    }
    if (route === undefined) throw pathNotFound();
    check(user, route);
    if (route.group === '' && route.resource === 'namespaces') return readNamespaces(route.verb, route.name);
    if (!isCertificateRequest(route)) return { status: 404, body: '404 page not found\n' };
    return handleRequest(parts.store, { ...call, route, body: parse(call.body), now: parts.now() });
  }

  function check(user: ClusterUser, route: Route): void {
    if (!parts.allows(user, route)) throw forbidden(user.username, route);
  }

  /** False: the fault has dealt with the request. */
  async function letThrough(
    fault: Fault,
    request: http.IncomingMessage,
    response: http.ServerResponse,
    route: Route | undefined,
  ): Promise<boolean> {
    switch (fault.kind) {
      case 'too-many-requests':
        response.writeHead(429, { 'content-type': 'text/plain', 'retry-after': String(fault.retryAfterSeconds ?? 1) });
        response.end('Too many requests, please try again later.\n');
        return false;
      case 'internal-error':
        throw internalError();
      case 'unavailable':
        throw unavailable();
      case 'webhook-failure':
        throw webhookFailed();
      case 'webhook-denial':
        throw webhookDenied(fault.message ?? 'refused by policy');
      case 'gone':
        throw tooOld(1, parts.store.version);
      case 'conflict':
        throw conflict(route?.name ?? '');
      case 'reset':
        parts.reset(request);
        return false;
      case 'hang':
        return false;
      case 'garbage':
        response.writeHead(200, { 'content-type': 'text/html' }).end('<html><body>It works!</body></html>');
        return false;
      case 'slow':
        await new Promise((resolve) => setTimeout(resolve, fault.ms));
        return true;
      default:
        return true;
    }
  }
}

function isCertificateRequest({ group, resource, subresource }: Route): boolean {
  return (
    group === RESOURCE.group &&
    (resource === RESOURCE.kind || (resource === `${RESOURCE.kind}/status` && subresource === 'status'))
  );
}

function send(response: http.ServerResponse, { status, body }: Reply): void {
  const isText = typeof body === 'string';
  const bytes = Buffer.from(isText ? body : JSON.stringify(body));
  response.writeHead(status, {
    'content-type': isText ? 'text/plain' : 'application/json',
    'content-length': bytes.length,
    'cache-control': 'no-cache, private',
  });
  response.end(bytes);
}

function sendHalf(response: http.ServerResponse, { status, body }: Reply): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length });
  response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
}

function split(url: string): { path: string; query: URLSearchParams } {
  const [path = '', query = ''] = url.split('?', 2);
  return { path, query: new URLSearchParams(query) };
}

async function readBody(request: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > MAX_BODY_BYTES) {
      throw new StatusError(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${MAX_BODY_BYTES}`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

function parse(body: Buffer): unknown {
  if (body.length === 0) return undefined;
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    throw badRequest('the object provided is unrecognized: invalid JSON');
  }
}

function bug(error: unknown): Reply {
  const message = `the fake itself failed: ${error instanceof Error ? error.stack : String(error)}`;
  return { status: 500, body: { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code: 500 } };
}
