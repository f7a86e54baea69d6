import { AsyncResource } from 'node:async_hooks';
import http from 'node:http';
import https from 'node:https';
import type { SecureContext } from 'node:tls';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { limitConnect, onSilence } from '../shared/connection-limits.ts';
import { createIdleConnections } from '../shared/idle-connections.ts';
import { readAnswer } from '../shared/read-answer.ts';

/** What node-vault hands to its HTTP client; `signal` and `repeat` are ours, carried through its request options. */
export interface TransportRequest {
  readonly method: string;
  readonly uri: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The request's body, sent as JSON. */
  readonly json?: unknown;
  readonly signal: AbortSignal;
  /** Default: `unseen`. */
  readonly repeat?: Repeat;
}

/**
 * Whether an exchange is made once more when its connection breaks before the answer begins. `always`: it does no harm when the server does it
 * twice. `unseen`: only on a connection that had been idle, which the server closed just when it was taken, seeing nothing.
 */
export type Repeat = 'always' | 'unseen' | 'never';

export interface TransportReply {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** Parsed JSON; undefined when the body is empty or no JSON. */
  readonly body: unknown;
  /** The beginning of a body that is no JSON: to recognise, never to repeat. */
  readonly plainText: string;
}

export interface TransportTls {
  readonly secureContext: SecureContext;
  readonly skipVerify: boolean;
  /** '' for the host name of the address. */
  readonly serverName: string;
}

export interface Transport {
  /**
   * One exchange. Redirects are answers like any other: following one would carry the token to another server.
   * @throws the system's error as it is, ConnectTimeoutError, ResponseTooLargeError, or an AbortError once `signal` fires
   */
  send(request: TransportRequest): Promise<TransportReply>;
  readonly counts: Readonly<TransportCounts>;
  /** No call comes any more; those under way finish, then all connections are closed. */
  retire(): void;
  /** Ends what is under way; what comes later may still be sent. */
  endCalls(): void;
  /** Ends what is under way and destroys all connections. Idempotent. */
  close(): void;
}

export interface TransportCounts {
  /** Exchanges that were started, repeated ones included. */
  sent: number;
  /** Exchanges that were made a second time on a fresh connection. */
  repeated: number;
  /** Idle connections that were given up because calls older than their last byte hung. */
  droppedIdle: number;
  connectTimeouts: number;
}

export const createCounts = (): TransportCounts => ({ sent: 0, repeated: 0, droppedIdle: 0, connectTimeouts: 0 });

const PLAIN_TEXT_MAX = 200;
const MAX_CONNECTIONS = 64;
/** Shorter than the idle time after which Vault's listener closes connections (5 min) and most load balancers do (60 s). */
const IDLE_CONNECTION_MS = 50_000;
/** TCP and TLS handshake together. */
const CONNECT_TIMEOUT_MS = 5_000;
/**
 * A connection that was idle for so long may be dead. A call on it that hears nothing for so long is made once more on a fresh one, and the first
 * answer counts. When that is the first call's, Vault is only slow: it is not asked twice for a while.
 */
const IDLE_DOUBT_MS = 250;
const SILENCE_LIMIT_MS = 1_000;
const NO_DOUBT_MS = 60_000;
const BROKEN = /^(ECONNRESET|EPIPE|ECONNABORTED)$/;

interface CountedRequest extends TransportRequest {
  tell(): void;
}

interface SecondCall {
  readonly answer: Promise<TransportReply>;
  end(): void;
}

/**
 * HTTP or HTTPS over kept-alive connections. Reads no environment variable: neither proxies nor `VAULT_SKIP_VERIFY`.
 * @param onRequest called for each exchange that is started, repeated ones included, in the asynchronous context of the caller of `send`
 */
export function createTransport(
  isHttps: boolean,
  tls: TransportTls,
  clock: IssuerDeps['clock'],
  counts: TransportCounts = createCounts(),
  onRequest: () => void = () => {},
): Transport {
  const connections = { keepAlive: true, maxSockets: MAX_CONNECTIONS, timeout: IDLE_CONNECTION_MS };
  const agent = isHttps
    ? new https.Agent({
        ...connections,
        secureContext: tls.secureContext,
        // Said in so many words, so that NODE_TLS_REJECT_UNAUTHORIZED changes nothing.
        rejectUnauthorized: !tls.skipVerify,
        ...(tls.serverName === '' ? {} : { servername: tls.serverName }),
      } as https.AgentOptions)
    : new http.Agent(connections);
  const start = isHttps ? https.request : http.request;
  const underWay = new Set<http.ClientRequest>();
  const idle = createIdleConnections([agent], clock);
  let doubtFromMs = Number.NEGATIVE_INFINITY;
  let isRetired = false;
  let isClosed = false;
  const onLate = () => {
    counts.connectTimeouts += 1;
  };

  function exchange(request: CountedRequest, isRepeated: boolean): Promise<TransportReply> {
    if (isClosed) return Promise.reject(new Error('the connection is closed'));
    return new Promise((resolve, reject) => {
      const body = request.json === undefined ? undefined : JSON.stringify(request.json);
      const headers: Record<string, string | number> = { accept: 'application/json', ...request.headers };
      if (body !== undefined) {
        headers['content-type'] = 'application/json';
        headers['content-length'] = Buffer.byteLength(body);
      }
      counts.droppedIdle += idle.dropSuspects();
      const call = start(request.uri, { method: request.method, headers, agent, signal: request.signal });
      counts.sent += 1;
      request.tell();
      underWay.add(call);
      const wait = idle.watch();
      let hasAnswer = false;
      let second: SecondCall | undefined;
      call.once('close', () => {
        underWay.delete(call);
        counts.droppedIdle += wait.end();
        if (isRetired && underWay.size === 0) close();
      });
      call.once('socket', (socket) => {
        wait.on(socket);
        if (socket.connecting) limitConnect(call, socket, { ms: CONNECT_TIMEOUT_MS, clock, onLate });
        const isDoubtful = call.reusedSocket && idle.silentForMs(socket) >= IDLE_DOUBT_MS;
        if (isDoubtful && request.repeat === 'always' && !isRepeated && clock.monotonicMs() >= doubtFromMs) {
          onSilence(call, socket, { ms: SILENCE_LIMIT_MS, clock }, () => {
            second = startSecond(request);
            second.answer.then(
              (reply) => {
                resolve(reply);
                call.destroy(new Error('another call was quicker'));
              },
              // The first one decides.
              () => {},
            );
          });
        }
      });
      // An answer that is cut off can tell of it twice: here and at its body.
      call.on('error', (error) => {
        if (second !== undefined) {
          resolve(second.answer);
          return;
        }
        const isBroken = 'code' in error && typeof error.code === 'string' && BROKEN.test(error.code);
        const { repeat = 'unseen' } = request;
        const mayRepeat = repeat === 'always' || (repeat === 'unseen' && call.reusedSocket);
        if (!isBroken || hasAnswer || isRepeated || !mayRepeat || request.signal.aborted || isClosed) {
          reject(error);
          return;
        }
        // What broke one connection, such as a restart, has broken those that idle, too: the second one is to be fresh.
        counts.droppedIdle += idle.dropAll();
        counts.repeated += 1;
        resolve(exchange(request, true));
      });
      call.once('response', (response) => {
        hasAnswer = true;
        readAnswer(response).then((bytes) => {
          const text = bytes.toString('utf8');
          if (second !== undefined) doubtFromMs = clock.monotonicMs() + NO_DOUBT_MS;
          second?.end();
          const parsed = parseJson(text);
          const plainText = parsed === undefined ? text.slice(0, PLAIN_TEXT_MAX) : '';
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: parsed, plainText });
        }, reject);
      });
      call.end(body);
    });
  }

  function startSecond(request: CountedRequest): SecondCall {
    counts.repeated += 1;
    const controller = new AbortController();
    const end = () => controller.abort(request.signal.reason);
    request.signal.addEventListener('abort', end, { once: true });
    const answer = exchange({ ...request, signal: controller.signal }, true).finally(() =>
      request.signal.removeEventListener('abort', end),
    );
    return { answer, end };
  }

  function endCalls(): void {
    // With an error of its own, so that it is not taken for a broken connection.
    for (const call of underWay) call.destroy(new Error('the connection is closed'));
  }

  function close(): void {
    isClosed = true;
    // The agent alone would open new connections for what waits in its queue.
    endCalls();
    idle.close();
  }

  return {
    // Repeated ones begin in the events of a socket, which may belong to another call.
    send: (request) => exchange({ ...request, tell: AsyncResource.bind(onRequest) }, false),
    counts,
    retire() {
      isRetired = true;
      if (underWay.size === 0) close();
    },
    endCalls,
    close,
  };
}

function parseJson(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
