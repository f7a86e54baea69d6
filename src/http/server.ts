import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import express, { type NextFunction, type Request, type Response } from 'express';
import { ConfigError } from '../issuer/errors.ts';
import { answerClientError } from './client-error.ts';
import { createHotPath } from './hot-path.ts';
import { HTTP_LIMITS, type HttpLimits } from './limits.ts';
import { HttpError } from './problem.ts';
import type { Route } from './route.ts';
import { createServe, failRequest, type Serve, type ServeOptions } from './serve-route.ts';

export interface HttpServerOptions extends Omit<ServeOptions, 'draining' | 'limits'> {
  readonly routes: readonly Route[];
  /** `HTTP_LIMITS` unless told otherwise. */
  readonly limits?: HttpLimits;
}

export interface HttpServer {
  /** @throws ConfigError when the address cannot be taken */
  listen(host: string, port: number): Promise<{ readonly host: string; readonly port: number }>;
  /** Takes no new request; answers those under way for at most `timeoutMs`, then cuts them off. Idempotent. */
  close(timeoutMs: number): Promise<void>;
}

const MAX_HEADER_BYTES = 16 * 1024;
/** How long kept connections may still bring a request when the server stops; its answer then tells them to close. */
const LINGER_MS = 300;
/** Metrics know requests that no route takes under this name: their paths are anybody's. */
const NO_ROUTE = 'other';

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const limits = options.limits ?? HTTP_LIMITS;
  let draining = false;
  const serve = createServe({ ...options, limits, draining: () => draining });
  const hot = createHotPath(options.routes, serve);
  const app = createExpressApp(options, serve);
  /** The last answer of each connection. */
  const responses = new WeakMap<Socket, ServerResponse>();
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      noDelay: true,
      headersTimeout: limits.headersMs,
      // Node's limit would also count a stream that is still being sent; bodies have limits of their own.
      requestTimeout: 0,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: limits.checkMs,
    },
    (request: IncomingMessage, response: ServerResponse) => {
      responses.set(request.socket, response);
      if (!hot(request, response)) app(request, response);
    },
  );
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    answerClientError(error, socket, responses.get(socket));
  });
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

function createExpressApp(options: HttpServerOptions, serve: Serve): express.Express {
  const { clock, metrics } = options;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.enable('case sensitive routing');
  app.use((_request, response, next) => {
    response.locals.startedMs = clock.monotonicMs();
    next();
  });
  const methods = new Map<string, string[]>();
  for (const route of options.routes) {
    methods.set(route.path, [...(methods.get(route.path) ?? []), route.method]);
    const verb = route.method.toLowerCase() as 'get' | 'post' | 'put' | 'delete';
    const serveRequest = serve(route);
    app[verb](route.path, async (request: Request, response: Response) => {
      const params: Record<string, string> = {};
      for (const [name, value] of Object.entries(request.params)) params[name] = String(value);
      const mark = request.url.indexOf('?');
      await serveRequest(request, response, params, mark < 0 ? '' : request.url.slice(mark + 1));
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
    failRequest(told, request, response, options);
    const durationMs = clock.monotonicMs() - Number(response.locals.startedMs);
    metrics.observeHttp(request.method, NO_ROUTE, response.statusCode, durationMs);
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
  // Only the listener is closed at first. http's own `close` also ends kept connections that look idle, and a request may be on its way on one.
  const closed = new Promise<void>((resolve) => NetServer.prototype.close.call(server, () => resolve()));
  await Promise.race([closed, clock.sleep(LINGER_MS)]);
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
