import http from 'node:http';
import https from 'node:https';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { limitConnect, onSilence } from '../shared/connection-limits.ts';
import { createIdleConnections } from '../shared/idle-connections.ts';
import { readAnswer } from '../shared/read-answer.ts';

/** The part of the SDK's request that goes over the wire. */
export interface WireRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

interface WireReply {
  readonly statusCode: number;
  /** One text for each. */
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

export interface Transport {
  /**
   * One exchange.
   * @throws the system's error as it is, WireError, ConnectTimeoutError, ResponseTooLargeError, or the reason of `signal`
   */
  send(request: WireRequest, signal: AbortSignal): Promise<WireReply>;
  /** How far AWS's clock is ahead of ours, by its last answer; undefined before the first. Whole seconds. */
  readonly clockSkewMs: number | undefined;
  /** Ends what is under way and destroys all connections. Idempotent. */
  close(): void;
}

class WireError extends Error {
  readonly code: 'STALE_CONNECTION' | 'CLOSED';
  constructor(code: WireError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** More than hang at once when all calls that AWS's quotas allow do: others must not wait behind them. */
const MAX_CONNECTIONS = 512;
/** Shorter than the idle time after which AWS's load balancers close connections. */
const IDLE_CONNECTION_MS = 20_000;
const CONNECT_TIMEOUT_MS = 2000;
/** A connection that rested longer may have died unnoticed... */
const FRESH_FOR_MS = 1000;
/** ...and gets this long for the first byte of an answer before another is tried. */
const FIRST_BYTE_MS = 1000;

interface Agents {
  readonly 'http:': http.Agent;
  readonly 'https:': https.Agent;
}

/**
 * HTTP over kept-alive connections, for the SDK in place of its own handler, which has no cap on answers and leaves timers behind.
 *
 * Connections can die without a word (a firewall forgets them, a link breaks): once a call has waited a second without a byte, or failed, those
 * that rest are dropped, and new calls go over new ones. Reads no environment variable.
 */
export function createTransport({ clock, onRequest }: Pick<IssuerDeps, 'clock' | 'onRequest'>): Transport {
  const agents = createAgents();
  const idle = createIdleConnections(Object.values(agents), clock);
  const underWay = new Set<(error: Error) => void>();
  let isClosed = false;
  let clockSkewMs: number | undefined;

  function exchange(request: WireRequest, signal: AbortSignal): Promise<WireReply> {
    return new Promise((resolve, reject) => {
      if (isClosed) throw new WireError('CLOSED', 'the connection is closed');
      signal.throwIfAborted();
      idle.dropSuspects();
      onRequest();
      const call = startRequest(agents, request);
      const wait = idle.watch();
      const startedMs = clock.monotonicMs();
      let hasAnswer = false;
      const onAbort = () => fail(signal.reason);

      function settle(): boolean {
        if (!underWay.delete(fail)) return false;
        signal.removeEventListener('abort', onAbort);
        wait.end();
        return true;
      }
      function fail(error: unknown): void {
        if (!settle()) return;
        // What failed on one connection may wait on the others: they are not asked again. A caller who hung up early shows nothing.
        const isHangUp = signal.aborted && clock.monotonicMs() - startedMs < FIRST_BYTE_MS;
        if (!hasAnswer && !isHangUp) idle.dropAll();
        call.destroy();
        reject(error);
      }

      underWay.add(fail);
      signal.addEventListener('abort', onAbort, { once: true });
      call.on('error', fail);
      call.once('socket', (socket) => {
        wait.on(socket);
        if (socket.connecting) limitConnect(call, socket, { ms: CONNECT_TIMEOUT_MS, clock });
        else if (idle.silentForMs(socket) > FRESH_FOR_MS) {
          onSilence(call, socket, { ms: FIRST_BYTE_MS, clock }, () =>
            fail(new WireError('STALE_CONNECTION', 'a rested connection gave no answer')),
          );
        }
      });
      call.once('response', (response) => {
        hasAnswer = true;
        clockSkewMs = skewOf(response.headers.date, clock.now()) ?? clockSkewMs;
        readAnswer(response).then((body) => {
          if (settle())
            resolve({ statusCode: response.statusCode ?? 0, headers: singleHeaders(response.headers), body });
        }, fail);
      });
      call.end(bodyOf(request));
    });
  }

  return {
    send: exchange,
    get clockSkewMs() {
      return clockSkewMs;
    },
    close() {
      isClosed = true;
      for (const end of [...underWay]) end(new WireError('CLOSED', 'the connection is closed'));
      idle.close();
    },
  };
}

function createAgents(): Agents {
  const options = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_CONNECTION_MS };
  return {
    'http:': new http.Agent(options),
    // Said in so many words, so that NODE_TLS_REJECT_UNAUTHORIZED changes nothing.
    'https:': new https.Agent({ ...options, rejectUnauthorized: true }),
  };
}

function startRequest(
  agents: Agents,
  { protocol, hostname, port, method, path, headers }: WireRequest,
): http.ClientRequest {
  const target = { hostname: hostname.replace(/^\[|\]$/g, ''), port, method, path, headers };
  return protocol === 'https:'
    ? https.request({ ...target, agent: agents['https:'] })
    : http.request({ ...target, agent: agents['http:'] });
}

function bodyOf({ body }: WireRequest): string | Uint8Array {
  if (typeof body === 'string' || body instanceof Uint8Array) return body;
  return '';
}

function singleHeaders(headers: http.IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

function skewOf(date: string | undefined, now: Date): number | undefined {
  const server = Date.parse(date ?? '');
  return Number.isNaN(server) ? undefined : server - Math.floor(now.getTime() / 1000) * 1000;
}
