import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { z } from 'zod';
import type { Clock } from '../runtime/clock.ts';
import { CliError } from './cli-error.ts';
import { EXIT } from './exit-code.ts';
import { type HttpAnswer, httpRequest } from './http-request.ts';
import { readProblem } from './read-problem.ts';
import { plainText } from './text.ts';

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const PAGE_SIZE = 1000;
const MAX_PAGES = 10_000;

export interface ApiRequest {
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiClient {
  /**
   * `path` starts with `/`; its parts are encoded by the caller.
   * @throws ApiError for an answer of 400 and more; CliError when there is none
   */
  send(method: string, path: string, request?: ApiRequest): Promise<HttpAnswer>;
  /** `send`, and the answer's JSON read by `schema`. */
  call<T>(schema: z.ZodType<T>, method: string, path: string, request?: ApiRequest): Promise<T>;
  /** All items of a list, page after page. */
  list(path: string): Promise<ApiItem[]>;
  close(): void;
}

/** A resource as the API tells it. */
export type ApiItem = Readonly<Record<string, unknown>>;
export const itemSchema: z.ZodType<ApiItem> = z.record(z.string(), z.unknown());
const pageSchema = z.object({ items: z.array(itemSchema), next: z.string().nullish() });

export interface ApiClientOptions {
  /** http: or https:; a path in it is a prefix. */
  readonly address: URL;
  readonly token: string | undefined;
  readonly timeoutMs: number;
  readonly clock: Clock;
}

export function createApiClient({ address, token, timeoutMs, clock }: ApiClientOptions): ApiClient {
  const origin = address.href.replace(/\/+$/, '');
  const agent =
    address.protocol === 'https:' ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });

  async function send(method: string, path: string, { body, headers }: ApiRequest = {}): Promise<HttpAnswer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const answer = await httpRequest(clock, {
      method,
      url: new URL(origin + path),
      agent,
      timeoutMs,
      maxBytes: MAX_ANSWER_BYTES,
      headers: {
        accept: 'application/json',
        ...(text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      ...(text === undefined ? {} : { body: text }),
    }).catch((error: unknown) => {
      throw noAnswer(origin, error);
    });
    if (answer.status >= 400) throw readProblem(answer, parseJson(answer.text), origin);
    if (answer.status >= 300 && answer.status !== 304) throw notMeshCa(origin, `it redirects (HTTP ${answer.status})`);
    return answer;
  }

  async function call<T>(schema: z.ZodType<T>, method: string, path: string, request?: ApiRequest): Promise<T> {
    const { text } = await send(method, path, request);
    const result = schema.safeParse(parseJson(text));
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    throw notMeshCa(origin, `its answer to ${method} ${path} has no usable ${issue?.path.join('.') || 'JSON'}`);
  }

  async function list(pathAndQuery: string): Promise<ApiItem[]> {
    const [path = '', filters] = pathAndQuery.split('?');
    const query = new URLSearchParams(filters);
    query.set('size', String(PAGE_SIZE));
    const items: ApiItem[] = [];
    for (let pages = 0; pages < MAX_PAGES; pages += 1) {
      const page = await call(pageSchema, 'GET', `${path}?${query}`);
      items.push(...page.items);
      // `next` names the server as it sees itself, which behind a proxy is not where we reach it: only its place in the list counts.
      const offset = /[?&]offset=(\d+)/.exec(page.next ?? '')?.[1];
      if (offset === undefined || page.items.length === 0 || Number(offset) <= Number(query.get('offset') ?? 0)) break;
      query.set('offset', offset);
    }
    return items;
  }

  return { send, call, list, close: () => agent.destroy() };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function noAnswer(origin: string, error: unknown): CliError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (error instanceof Error && error.name === 'TimeoutError') {
    return new CliError(`${origin} did not answer in time`, {
      exitCode: EXIT.later,
      why: [error.message],
      fix: 'try again, or allow more time: --timeout 5m',
    });
  }
  const plain: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nothing listens there',
    ENOTFOUND: 'there is no such host',
    EAI_AGAIN: 'the name of the host could not be looked up',
    ECONNRESET: 'the connection was closed before an answer came',
  };
  return new CliError(`no mesh-ca answers at ${origin}`, {
    exitCode: EXIT.later,
    why: [plain[code] ?? plainText(error instanceof Error ? error.message : String(error))],
    fix: 'start one: mesh-ca serve, or name the right one: --address http://HOST:PORT',
    cause: error,
  });
}

function notMeshCa(origin: string, why: string): CliError {
  return new CliError(`what answers at ${origin} does not speak like mesh-ca`, {
    exitCode: EXIT.operator,
    why: [plainText(why)],
    fix: `look what it is: curl ${origin}/`,
  });
}
