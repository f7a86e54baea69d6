import { setMaxListeners } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Metrics } from '../runtime/metrics.ts';
import type { Random } from '../runtime/random.ts';
import { createWatchdog, type Watchdog } from '../runtime/watchdog.ts';
import type { Caller, Guarded } from './access.ts';
import type { HttpLimits } from './limits.ts';
import { HttpError, type Problem, problemReply } from './problem.ts';
import { readJsonBody } from './read-body.ts';
import { readLines } from './read-lines.ts';
import { type Call, openApiPath, type Reply, type Route } from './route.ts';
import { sendReply } from './send-reply.ts';
import { type TellProblemOptions, tellProblem } from './tell-problem.ts';

export interface ServeOptions {
  readonly access: (request: IncomingMessage, route: Guarded) => Caller;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly limits: HttpLimits;
  /** True once the server stops: connections are not kept then. */
  draining(): boolean;
}

/** Serves one request. Never rejects: every error is an answer, or the end of the connection. */
export type ServeRequest = (
  request: IncomingMessage,
  response: ServerResponse,
  params: Call['params'],
  query: string,
) => Promise<void>;

export type Serve = (route: Route) => ServeRequest;

/**
 * Serves the requests of a route. Express and the hot path both end here, so their answers are the same.
 */
export function createServe(options: ServeOptions): Serve {
  const { clock, metrics } = options;
  const bodies = createWatchdog(clock, options.limits.bodyMs);
  return (route) => {
    const pattern = openApiPath(route.path);
    return async (request, response, params, query) => {
      const startedMs = clock.monotonicMs();
      const call = new RouteCall(params, query, request, response, options);
      try {
        const reply = await answer(route, call, request, options, bodies).catch((error: unknown) =>
          replyToError(error, request, options),
        );
        await sendReply(reply, request, response, options);
      } catch (error) {
        // What cannot be sent is a mistake of ours; the process must not end for it.
        failRequest(error, request, response, options);
      }
      metrics.observeHttp(request.method ?? '', pattern, response.statusCode, clock.monotonicMs() - startedMs);
    };
  };
}

async function answer(
  route: Route,
  call: RouteCall,
  request: IncomingMessage,
  options: ServeOptions,
  bodies: Watchdog,
): Promise<Reply> {
  call.caller = options.access(request, route);
  if (route.before !== undefined) await route.before(call);
  call.body = await readBody(route.body, request, options, bodies);
  return route.handle(call);
}

function readBody(
  rule: Route['body'],
  request: IncomingMessage,
  { clock, limits }: ServeOptions,
  watchdog: Watchdog,
): unknown {
  if (rule === undefined) return undefined;
  if (rule.kind !== 'lines') return readJsonBody(request, rule, { watchdog });
  return readLines(request, rule.schema, { maxLineBytes: rule.maxLineBytes, idleMs: limits.idleMs, clock });
}

/** Answers an error outside of a route's handler, or breaks off the answer that has begun. */
export function failRequest(
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  options: TellProblemOptions,
): void {
  const { status, headers, contentType, body } = replyToError(error, request, options);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const close = request.complete ? {} : { connection: 'close' };
  response.writeHead(status, { ...headers, ...close, 'content-type': contentType ?? 'application/json' }).end(body);
}

function replyToError(error: unknown, request: IncomingMessage, options: TellProblemOptions): Reply {
  const problem = tellProblem(error, { method: request.method }, options);
  return problemReply(problem, error instanceof HttpError ? error.headers : {});
}

const NOBODY: Caller = { name: 'mesh-system:anonymous', groups: [] };

class RouteCall implements Call {
  readonly params: Call['params'];
  body: unknown;
  caller: Caller = NOBODY;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #query: string;
  readonly #options: ServeOptions;
  #signal: AbortSignal | undefined;

  constructor(
    params: Call['params'],
    query: string,
    request: IncomingMessage,
    response: ServerResponse,
    options: ServeOptions,
  ) {
    this.params = params;
    this.#request = request;
    this.#response = response;
    this.#query = query;
    this.#options = options;
  }

  get query(): URLSearchParams {
    return new URLSearchParams(this.#query);
  }

  get headers(): IncomingMessage['headers'] {
    return this.#request.headers;
  }

  get url(): string {
    return this.#request.url ?? '/';
  }

  get origin(): string {
    const scheme = 'encrypted' in this.#request.socket ? 'https' : 'http';
    return `${scheme}://${this.#request.headers.host ?? 'localhost'}`;
  }

  /** Made late: the hot path never asks for it. */
  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const controller = new AbortController();
      this.#signal = controller.signal;
      // Every line of a stream listens to it.
      setMaxListeners(0, controller.signal);
      const gone = () => {
        // Every response closes; only one that is not all sent tells that nobody wants it any more.
        if (!this.#response.writableFinished) controller.abort(new HttpError(400, 'Bad Request', 'the caller is gone'));
      };
      if (this.#response.destroyed) gone();
      else this.#response.once('close', gone);
    }
    return this.#signal;
  }

  problem(error: unknown): Problem {
    return tellProblem(error, { method: this.#request.method, ...this.params }, this.#options);
  }
}
