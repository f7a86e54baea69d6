import type { Socket } from 'node:net';
import { buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici';
import { ResponseTooLargeError } from '../shared/read-answer.ts';
import type { Access } from './kube-access.ts';

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below the address of the server, with its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

export interface TransportReply {
  readonly status: number;
  readonly retryAfter: string;
  /** The server's clock: the header `Date`, or ''. */
  readonly date: string;
  readonly text: string;
}

/** HTTP/1.1 over kept-alive connections to one API server. Reads no environment variable. */
export interface Transport {
  /** Rejects with undici's errors, and with the signal's reason. */
  send(request: TransportRequest): Promise<TransportReply>;
  /** A watch: on a connection of its own, which ends with it. `lines` is what comes, cut at line ends. */
  stream(request: TransportRequest): Promise<{ readonly reply: TransportReply; readonly lines: AsyncIterable<string> }>;
  /** A call got no answer: later ones take new connections, those under way finish as they can. */
  renew(): void;
  /** Another takes its place: streams end, calls under way finish as they can. Resolves when no connection is left. */
  retire(): Promise<void>;
  /** Ends all connections, also of what was renewed or retired before. Idempotent. */
  close(): Promise<void>;
}

const RESPONSE_MAX_BYTES = 32 * 1024 * 1024;
const LINE_MAX = 2 * 1024 * 1024;
const MAX_CONNECTIONS = 32;
const CONNECT_TIMEOUT_MS = 1_500;
/** Shorter than what load balancers and API servers grant, so that a dead connection is hardly ever taken. */
const IDLE_CONNECTION_MS = 10_000;
/** Beyond what every caller waits: only for what forgets to. */
const LAST_RESORT_MS = 60_000;

export function createTransport(access: Access): Transport {
  const { origin, pathname } = new URL(access.server);
  const prefix = pathname.replace(/\/+$/, '');
  let calls = open(MAX_CONNECTIONS);
  const streams = open(null);
  /** Renewed, with calls or connections still under way. */
  const former = new Set<Dispatcher>();
  const sockets = new Set<Socket>();
  let isClosed = false;
  let isOver = false;

  /** A pool forgets a client that could not connect, which may yet take a call that waited, connect after all and stay: we close all sockets. */
  function track(connect: buildConnector.connector): buildConnector.connector {
    return (target, callback) =>
      connect(target, (...[error, socket]) => {
        if (error !== null) return callback(error, null);
        if (isOver) {
          socket.destroy();
          return callback(new Error('the transport is closed'), null);
        }
        sockets.add(socket);
        socket.once('close', () => void sockets.delete(socket));
        callback(null, socket);
      });
  }

  function open(connections: number | null): Dispatcher {
    const connect = { ...access.tls, timeout: CONNECT_TIMEOUT_MS, keepAlive: true, keepAliveInitialDelay: 10_000 };
    const options = {
      connections,
      pipelining: 1,
      keepAliveTimeout: IDLE_CONNECTION_MS,
      keepAliveMaxTimeout: IDLE_CONNECTION_MS,
      headersTimeout: LAST_RESORT_MS,
      bodyTimeout: LAST_RESORT_MS,
    };
    if (access.proxyUrl === '') return new Pool(origin, { ...options, connect: track(buildConnector(connect)) });
    return new ProxyAgent({ ...options, uri: access.proxyUrl, requestTls: connect });
  }

  function start(dispatcher: Dispatcher, request: TransportRequest, bodyTimeout: number) {
    const { method, path, headers, body, signal } = request;
    return dispatcher.request({
      origin,
      method,
      path: `${prefix}${path}`,
      headers: { ...access.headers, 'user-agent': 'mesh-ca', ...headers },
      body: body ?? null,
      signal,
      bodyTimeout,
      // A repeated call is for those to decide who know what was asked.
      idempotent: method === 'GET',
    });
  }

  return {
    async send(request) {
      const response = await start(calls, request, LAST_RESORT_MS);
      return replyOf(response, await readText(response.body));
    },
    async stream(request) {
      const response = await start(streams, request, 0);
      if (response.statusCode !== 200) {
        return { reply: replyOf(response, await readText(response.body)), lines: none() };
      }
      return { reply: replyOf(response, ''), lines: readLines(response.body) };
    },
    renew() {
      if (isClosed) return;
      const old = calls;
      calls = open(MAX_CONNECTIONS);
      former.add(old);
      // What is under way has a deadline; then its connection goes, too.
      const forget = () => void former.delete(old);
      old.close().then(forget, forget);
    },
    async retire() {
      isClosed = true;
      await Promise.allSettled([calls.close(), streams.destroy()]);
    },
    async close() {
      isClosed = true;
      isOver = true;
      await Promise.all([...former, calls, streams].map((dispatcher) => dispatcher.destroy()));
      for (const socket of sockets) socket.destroy();
    },
  };
}

function replyOf({ statusCode, headers }: Dispatcher.ResponseData, text: string): TransportReply {
  const header = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' ? value.slice(0, 256) : '';
  };
  return { status: statusCode, retryAfter: header('retry-after'), date: header('date'), text };
}

async function readText(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    const bytes: Buffer = Buffer.from(chunk);
    size += bytes.length;
    if (size > RESPONSE_MAX_BYTES)
      throw new ResponseTooLargeError(`an answer of more than ${RESPONSE_MAX_BYTES} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

async function* readLines(body: Dispatcher.ResponseData['body']): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    const parts = decoder.decode(chunk, { stream: true }).split('\n');
    parts[0] = rest + (parts[0] ?? '');
    rest = parts.pop() ?? '';
    if (rest.length > LINE_MAX) throw new ResponseTooLargeError(`a line of more than ${LINE_MAX} characters`);
    for (const line of parts) if (line !== '') yield line;
  }
}

async function* none(): AsyncGenerator<string> {}
