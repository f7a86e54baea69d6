import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import express, { type NextFunction, type Request, type Response } from 'express';
import { ConfigError } from '../issuer/errors.ts';
import { createHotPath } from './hot-path.ts';
import { HttpError } from './problem.ts';
import type { Route } from './route.ts';
import { createServe, replyToError, type ServeOptions } from './serve-route.ts';

export interface HttpServerOptions extends Omit<ServeOptions, 'draining'> {
  readonly routes: readonly Route[];
  /** Those of `routes` that are served in front of Express. */
  readonly hotRoutes: readonly Route[];
}

export interface HttpServer {
  /** @throws ConfigError when the address cannot be taken */
  listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }>;
  /** Takes no new request; answers those under way for at most `timeoutMs`, then cuts them off. Idempotent. */
  close(timeoutMs: number): Promise<void>;
}

/** A caller that sends its header or body this slowly is cut off (slow-loris). */
const HEADERS_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 60_000;
const KEEP_ALIVE_MS = 65_000;
const MAX_HEADER_BYTES = 16 * 1024;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  let draining = false;
  const serve = createServe({ ...options, draining: () => draining });
  const hot = createHotPath(options.hotRoutes, serve);
  const app = createExpressApp(options, serve);
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, noDelay: true }, (request, response) => {
    if (!hot(request, response)) app(request, response);
  });
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on('clientError', answerUnreadable);
  let closing: Promise<void> | undefined;
  return {
    listen: (host, port) => listen(server, host, port),
    close(timeoutMs) {
      closing ??= closeServer(server, timeoutMs, options, () => {
        draining = true;
      });
      return closing;
    },
  };
}

function createExpressApp(options: HttpServerOptions, serve: ReturnType<typeof createServe>): express.Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  const methods = new Map<string, string[]>();
  for (const route of options.routes) {
    methods.set(route.path, [...(methods.get(route.path) ?? []), route.method]);
    const verb = route.method.toLowerCase() as 'get' | 'post' | 'put' | 'delete';
    app[verb](route.path, async (request: Request, response: Response) => {
      const params: Record<string, string> = {};
      for (const [name, value] of Object.entries(request.params)) params[name] = String(value);
      const mark = request.url.indexOf('?');
      await serve(route, request, response, params, mark < 0 ? '' : request.url.slice(mark + 1));
    });
  }
  for (const [path, allowed] of methods) {
    app.all(path, (request) => {
      throw new HttpError(
        405,
        'Method not allowed',
        `${request.method} is not allowed here`,
        `use ${allowed.join(' or ')}`,
        {
          allow: allowed.join(', '),
        },
      );
    });
  }
  app.use((request) => {
    throw new HttpError(
      404,
      'Not Found',
      `there is nothing at ${request.path.slice(0, 200)}`,
      'GET /openapi.json lists what there is',
    );
  });
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    // Express itself refuses a path that cannot be decoded.
    const told =
      error instanceof URIError ? new HttpError(400, 'Bad Request', 'the path is not valid percent-encoding') : error;
    const { status, headers, contentType, body } = replyToError(told, request, options);
    if (response.headersSent) response.destroy();
    else {
      const close = request.complete ? {} : { connection: 'close' };
      response.writeHead(status, { ...headers, ...close, 'content-type': contentType ?? 'application/json' }).end(body);
    }
  });
  return app;
}

function listen(server: Server, host: string, port: number): Promise<{ host: string; port: number }> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      reject(
        new ConfigError(`cannot listen on ${host}:${port}: ${error.code ?? error.message}`, {
          cause: error,
          fix:
            error.code === 'EADDRINUSE'
              ? 'stop what listens there, or choose another port: --api-port PORT'
              : 'check --api-host and --api-port',
        }),
      );
    };
    server.once('error', onError);
    server.listen({ host, port }, () => {
      server.off('error', onError);
      const address = server.address() as AddressInfo;
      resolve({ host: address.address, port: address.port });
    });
  });
}

async function closeServer(
  server: Server,
  timeoutMs: number,
  { clock }: HttpServerOptions,
  drain: () => void,
): Promise<void> {
  drain();
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timeout = new AbortController();
  const late = clock.sleep(timeoutMs, timeout.signal).then(
    () => server.closeAllConnections(),
    () => {},
  );
  await closed;
  timeout.abort();
  await late;
}

/** What is no HTTP at all gets a plain 400, too large headers a 431. */
function answerUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = error.code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
