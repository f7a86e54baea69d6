import type { IncomingMessage, ServerResponse } from 'node:http';
import { CaError } from '../issuer/errors.ts';
import { ResourceError } from '../resources/resource-error.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Metrics } from '../runtime/metrics.ts';
import type { Random } from '../runtime/random.ts';
import type { Access, Caller } from './access.ts';
import { HttpError, problemOf, problemReply } from './problem.ts';
import { readJsonBody } from './read-body.ts';
import type { Call, Reply, Route } from './route.ts';

export interface ServeOptions {
  readonly access: (request: IncomingMessage, access: Access) => Caller;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  /** True once the server stops: connections are not kept then. */
  draining(): boolean;
}

export type Serve = (
  route: Route,
  request: IncomingMessage,
  response: ServerResponse,
  params: Call['params'],
  query: string,
) => Promise<void>;

/**
 * Serves one request by one route. Express and the hot path both end here, so their answers are the same.
 */
export function createServe(options: ServeOptions): Serve {
  const { clock, metrics } = options;
  return async (route, request, response, params, query) => {
    const startedMs = clock.monotonicMs();
    let reply: Reply;
    try {
      const caller = options.access(request, route.access);
      const body =
        route.body === undefined || route.body.kind === 'lines' ? undefined : await readJsonBody(request, route.body);
      reply = await route.handle(new RouteCall(params, query, body, caller, request, response));
    } catch (error) {
      reply = replyToError(error, request, options);
    }
    await sendReply(reply, request, response, options);
    metrics.observeHttp(request.method ?? '', route.path, response.statusCode, clock.monotonicMs() - startedMs);
  };
}

/** What the outside is told about an error; what is unexpected goes to the log with the request's id. */
export function replyToError(
  error: unknown,
  request: IncomingMessage,
  { log, random }: Pick<ServeOptions, 'log' | 'random'>,
): Reply {
  const requestId = random.bytes(8).toString('hex');
  const problem = problemOf(error, requestId);
  const expected = error instanceof CaError || error instanceof ResourceError || error instanceof HttpError;
  if (!expected) log.error({ requestId, method: request.method, err: error }, 'request failed');
  else if (problem.status >= 500)
    log.warn({ method: request.method, code: problem.code, err: error }, 'request failed');
  return problemReply(problem, error instanceof HttpError ? error.headers : {});
}

class RouteCall implements Call {
  readonly params: Call['params'];
  readonly body: unknown;
  readonly caller: Caller;
  readonly request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #query: string;
  #signal: AbortSignal | undefined;

  constructor(
    params: Call['params'],
    query: string,
    body: unknown,
    caller: Caller,
    request: IncomingMessage,
    response: ServerResponse,
  ) {
    this.params = params;
    this.body = body;
    this.caller = caller;
    this.request = request;
    this.#response = response;
    this.#query = query;
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#query);
  }

  get headers(): IncomingMessage['headers'] {
    return this.request.headers;
  }

  get origin(): string {
    const scheme = 'encrypted' in this.request.socket ? 'https' : 'http';
    return `${scheme}://${this.request.headers.host ?? 'localhost'}`;
  }

  /** Made late: the hot path never asks for it. */
  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const controller = new AbortController();
      this.#signal = controller.signal;
      const gone = () => controller.abort(new DOMException('the caller is gone', 'AbortError'));
      if (this.#response.destroyed) gone();
      else this.#response.once('close', gone);
    }
    return this.#signal;
  }
}

async function sendReply(
  reply: Reply,
  request: IncomingMessage,
  response: ServerResponse,
  { draining, log, clock }: ServeOptions,
): Promise<void> {
  if (response.destroyed) return;
  const { body } = reply;
  const headers: Record<string, string | number> = { ...reply.headers };
  if (reply.contentType !== undefined) headers['content-type'] = reply.contentType;
  // What was not read of the body would be taken for the next request.
  if (draining() || !request.complete) headers.connection = 'close';
  if (body === undefined || typeof body === 'string') {
    headers['content-length'] = body === undefined ? 0 : Buffer.byteLength(body);
    if (reply.status === 304) delete headers['content-length'];
    response.writeHead(reply.status, headers);
    if (request.complete) response.end(body);
    else await endEarly(body ?? '', request, response, clock);
    return;
  }
  response.writeHead(reply.status, headers);
  try {
    for await (const part of body) {
      if (response.destroyed) return;
      if (!response.write(part)) await drained(response);
    }
    response.end();
  } catch (error) {
    if (!response.destroyed) log.warn({ err: error }, 'stream ended early');
    response.destroy();
  }
}

/** How long a caller may go on sending a body that nobody wants. */
const UNWANTED_BODY_MS = 5_000;

/**
 * Answers before the body has come whole. Closing at once would make the kernel reset the connection, and the caller lose the answer:
 * so the rest is read and thrown away for a while.
 */
async function endEarly(body: string, request: IncomingMessage, response: ServerResponse, clock: Clock): Promise<void> {
  response.write(body);
  const deadline = clock.deadline(UNWANTED_BODY_MS);
  await new Promise<void>((resolve) => {
    request
      .once('end', resolve)
      .once('close', resolve)
      .once('error', () => resolve());
    deadline.signal.addEventListener('abort', () => resolve(), { once: true });
    request.resume();
  });
  deadline.clear();
  response.end();
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done);
      resolve();
    };
    response.on('drain', done).on('close', done);
  });
}
