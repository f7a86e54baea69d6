import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';

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

export interface WireReply {
  readonly statusCode: number;
  /** One text for each. */
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

export interface Transport {
  /**
   * One exchange.
   * @throws the system's error as it is, WireError, or the reason of `signal`
   */
  send(request: WireRequest, signal: AbortSignal): Promise<WireReply>;
  /** How far AWS's clock is ahead of ours, by its last answer; undefined before the first. Whole seconds. */
  readonly clockSkewMs: number | undefined;
  /** Ends what is under way and destroys all connections. Idempotent. */
  close(): void;
}

export class WireError extends Error {
  readonly code: 'CONNECT_TIMEOUT' | 'STALE_CONNECTION' | 'RESPONSE_TOO_LARGE' | 'CLOSED';
  constructor(code: WireError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const RESPONSE_MAX_BYTES = 1024 * 1024;
const MAX_CONNECTIONS = 128;
/** Shorter than the idle time after which AWS's load balancers close connections. */
const IDLE_CONNECTION_MS = 20_000;
const CONNECT_TIMEOUT_MS = 2000;
/** A connection that rested longer may have died unnoticed... */
const FRESH_FOR_MS = 1000;
/** ...and gets this long for the first byte of an answer before another is tried. */
const FIRST_BYTE_MS = 1000;

/** Connections that are given up together. */
interface Pool {
  readonly agents: { readonly 'http:': http.Agent; readonly 'https:': https.Agent };
  underWay: number;
  isRetired: boolean;
}

interface Exchange {
  readonly pool: Pool;
  readonly startedMs: number;
  hasAnswer: boolean;
  readonly end: (error: Error) => void;
}

/**
 * HTTP over kept-alive connections, for the SDK in place of its own handler, which has no cap on answers and leaves timers behind.
 *
 * Connections can die without a word (a firewall forgets them, a link breaks): once a call has waited a second without a byte, or failed, new
 * calls go over new connections, and those that rest are dropped. Reads no environment variable.
 */
export function createTransport(clock: IssuerDeps['clock']): Transport {
  let pool = openPool();
  let isClosed = false;
  let clockSkewMs: number | undefined;
  let renewedAtMs = Number.NEGATIVE_INFINITY;
  const underWay = new Set<Exchange>();
  const lastUsedMs = new WeakMap<Socket, number>();

  function renewPool(): void {
    const nowMs = clock.monotonicMs();
    if (nowMs - renewedAtMs < FIRST_BYTE_MS) return;
    renewedAtMs = nowMs;
    const old = pool;
    pool = openPool();
    retire(old);
  }

  function currentPool(): Pool {
    const nowMs = clock.monotonicMs();
    for (const { pool: of, startedMs, hasAnswer } of underWay) {
      if (of !== pool || hasAnswer || nowMs - startedMs < FIRST_BYTE_MS) continue;
      renewPool();
      break;
    }
    return pool;
  }

  function exchange(request: WireRequest, signal: AbortSignal): Promise<WireReply> {
    return new Promise((resolve, reject) => {
      if (isClosed) throw new WireError('CLOSED', 'the connection is closed');
      signal.throwIfAborted();
      const ours = currentPool();
      const call = startRequest(ours, request);
      const timers: { clear(): void }[] = [];
      const state: Exchange = { pool: ours, startedMs: clock.monotonicMs(), hasAnswer: false, end: fail };
      const onAbort = () => fail(signal.reason);

      function settle(): boolean {
        if (!underWay.delete(state)) return false;
        signal.removeEventListener('abort', onAbort);
        for (const timer of timers) timer.clear();
        ours.underWay -= 1;
        if (ours.isRetired && ours.underWay === 0) destroyPool(ours);
        return true;
      }
      function fail(error: unknown): void {
        if (!settle()) return;
        // What failed on one connection may wait on the others: they are not asked again. A caller who hung up early shows nothing.
        const isHangUp = signal.aborted && clock.monotonicMs() - state.startedMs < FIRST_BYTE_MS;
        if (!state.hasAnswer && !isHangUp && ours === pool) renewPool();
        call.destroy();
        reject(error);
      }
      function within(ms: number, error: () => Error): { clear(): void } {
        const deadline = clock.deadline(ms);
        deadline.signal.addEventListener('abort', () => fail(error()), { once: true });
        timers.push(deadline);
        return deadline;
      }

      underWay.add(state);
      ours.underWay += 1;
      signal.addEventListener('abort', onAbort, { once: true });
      call.on('error', fail);
      call.once('socket', (socket) => {
        if (socket.connecting) {
          const late = within(
            CONNECT_TIMEOUT_MS,
            () => new WireError('CONNECT_TIMEOUT', `no connection within ${CONNECT_TIMEOUT_MS} ms`),
          );
          socket.once(request.protocol === 'https:' ? 'secureConnect' : 'connect', () => late.clear());
        } else if (clock.monotonicMs() - (lastUsedMs.get(socket) ?? 0) > FRESH_FOR_MS) {
          const late = within(
            FIRST_BYTE_MS,
            () => new WireError('STALE_CONNECTION', 'a rested connection gave no answer'),
          );
          call.once('response', () => late.clear());
        }
      });
      call.once('response', (response) => {
        // After the last byte the response knows its socket no more.
        const { socket } = response;
        state.hasAnswer = true;
        clockSkewMs = skewOf(response.headers.date, clock.now()) ?? clockSkewMs;
        readBody(response).then((body) => {
          lastUsedMs.set(socket, clock.monotonicMs());
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
      for (const { end } of [...underWay]) end(new WireError('CLOSED', 'the connection is closed'));
      destroyPool(pool);
    },
  };
}

function openPool(): Pool {
  const options = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_CONNECTION_MS };
  const agents = {
    'http:': new http.Agent(options),
    // Said in so many words, so that NODE_TLS_REJECT_UNAUTHORIZED changes nothing.
    'https:': new https.Agent({ ...options, rejectUnauthorized: true }),
  };
  return { agents, underWay: 0, isRetired: false };
}

/** Calls under way may finish; connections that rest are gone at once. */
function retire(pool: Pool): void {
  pool.isRetired = true;
  if (pool.underWay === 0) destroyPool(pool);
  for (const agent of Object.values(pool.agents)) {
    for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
  }
}

function destroyPool(pool: Pool): void {
  for (const agent of Object.values(pool.agents)) agent.destroy();
}

function startRequest(
  pool: Pool,
  { protocol, hostname, port, method, path, headers }: WireRequest,
): http.ClientRequest {
  const target = { hostname: hostname.replace(/^\[|\]$/g, ''), port, method, path, headers };
  return protocol === 'https:'
    ? https.request({ ...target, agent: pool.agents['https:'] })
    : http.request({ ...target, agent: pool.agents['http:'] });
}

function bodyOf({ body }: WireRequest): string | Uint8Array {
  if (typeof body === 'string' || body instanceof Uint8Array) return body;
  return '';
}

function readBody(response: http.IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > RESPONSE_MAX_BYTES) {
        response.destroy(new WireError('RESPONSE_TOO_LARGE', `an answer of more than ${RESPONSE_MAX_BYTES} bytes`));
      } else chunks.push(chunk);
    });
    response.once('error', reject);
    response.once('end', () => resolve(Buffer.concat(chunks)));
  });
}

function singleHeaders(headers: http.IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

function skewOf(date: string | undefined, now: Date): number | undefined {
  const server = Date.parse(date ?? '');
  return Number.isNaN(server) ? undefined : server - Math.floor(now.getTime() / 1000) * 1000;
}
