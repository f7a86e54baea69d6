import http from 'node:http';
import https from 'node:https';
import type { SecureContext } from 'node:tls';

/** What node-vault hands to its HTTP client; `signal` is ours, carried through its request options. */
export interface TransportRequest {
  readonly method: string;
  readonly uri: string;
  readonly headers: Readonly<Record<string, string>>;
  /** The request's body, sent as JSON. */
  readonly json?: unknown;
  readonly signal: AbortSignal;
}

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
   * @throws the system's error as it is, ResponseTooLargeError, or an AbortError once `signal` fires
   */
  send(request: TransportRequest): Promise<TransportReply>;
  /** Ends what is under way and destroys all connections. Idempotent. */
  close(): void;
}

export class ResponseTooLargeError extends Error {
  readonly code = 'RESPONSE_TOO_LARGE';
}

export const RESPONSE_MAX_BYTES = 1024 * 1024;
const PLAIN_TEXT_MAX = 200;
const MAX_CONNECTIONS = 64;
/** Shorter than the idle time after which Vault's listener closes connections (5 min) and most load balancers do (60 s). */
const IDLE_CONNECTION_MS = 50_000;

/** HTTP or HTTPS over kept-alive connections. Reads no environment variable: neither proxies nor `VAULT_SKIP_VERIFY`. */
export function createTransport(isHttps: boolean, tls: TransportTls): Transport {
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
  let isClosed = false;

  function exchange(request: TransportRequest, isRetry: boolean): Promise<TransportReply> {
    return new Promise((resolve, reject) => {
      const body = request.json === undefined ? undefined : JSON.stringify(request.json);
      const headers: Record<string, string | number> = { accept: 'application/json', ...request.headers };
      if (body !== undefined) {
        headers['content-type'] = 'application/json';
        headers['content-length'] = Buffer.byteLength(body);
      }
      if (isClosed) throw new Error('the connection is closed');
      const call = start(request.uri, { method: request.method, headers, agent, signal: request.signal });
      underWay.add(call);
      call.once('close', () => underWay.delete(call));
      call.once('error', (error) => {
        // The server closed an idle connection just when we took it: it never saw the request.
        if (!isRetry && call.reusedSocket && 'code' in error && error.code === 'ECONNRESET') {
          resolve(exchange(request, true));
        } else reject(error);
      });
      call.once('response', (response) => {
        readBody(response).then((text) => {
          const parsed = parseJson(text);
          const plainText = parsed === undefined ? text.slice(0, PLAIN_TEXT_MAX) : '';
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: parsed, plainText });
        }, reject);
      });
      call.end(body);
    });
  }

  return {
    send: (request) => exchange(request, false),
    close() {
      isClosed = true;
      // The agent alone would open new connections for what waits in its queue.
      for (const call of underWay) call.destroy();
      agent.destroy();
    },
  };
}

function readBody(response: http.IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > RESPONSE_MAX_BYTES) {
        response.destroy(new ResponseTooLargeError(`an answer of more than ${RESPONSE_MAX_BYTES} bytes`));
      } else chunks.push(chunk);
    });
    response.once('error', reject);
    response.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
  });
}

function parseJson(text: string): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
