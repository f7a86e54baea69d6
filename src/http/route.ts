import type { IncomingHttpHeaders } from 'node:http';
import type { ZodType } from 'zod';
import type { Access, Caller } from './access.ts';
import type { Problem } from './problem.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** What a handler gets. Everything in it was checked against the route's own schemas. */
export interface Call<Body = unknown> {
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Body;
  /** Fires when the caller is gone. Made when first asked for. */
  readonly signal: AbortSignal;
  readonly caller: Caller;
  /** `http://host:port` as the caller wrote it, for links. */
  readonly origin: string;
  /** Path and query as the caller wrote them. */
  readonly url: string;
  /** The problem JSON of an error that is a part of the answer; told to the log as the error of a whole request is. */
  problem(error: unknown): Problem;
}

export interface Reply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly contentType?: string;
  /** Absent: no body. A stream is written with backpressure. */
  readonly body?: string | AsyncIterable<string>;
}

export type BodyRule =
  | { readonly kind: 'json'; readonly schema: ZodType; readonly maxBytes: number; readonly optional?: boolean }
  /** Any JSON value: the resource's own parser checks it, in Kuma's order and words. */
  | { readonly kind: 'resource'; readonly schema: ZodType; readonly maxBytes: number }
  /** `application/x-ndjson`: the handler gets the lines (`read-lines.ts`) as they come. */
  | { readonly kind: 'lines'; readonly schema: ZodType; readonly maxLineBytes: number };

export interface Answer {
  readonly description: string;
  /** Content type -> schema of it. */
  readonly content?: Readonly<Record<string, ZodType>>;
}

/**
 * One row of the API: what is served, what is checked and what openapi.json says about it, in one place.
 */
export interface Route {
  readonly method: Method;
  /** Express form: `/meshes/:mesh/dataplanes/:name`. */
  readonly path: string;
  readonly summary: string;
  readonly tag: 'certificates' | 'trust' | 'validation' | 'rotation' | 'tokens' | 'resources' | 'service';
  readonly access: Access;
  /** The kind of resource that it is about, as Kuma's 403 names it. */
  readonly resourceType?: string;
  /** Asked thousands of times a second: served in front of Express (`hot-path.ts`). */
  readonly hot?: boolean;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: BodyRule;
  readonly answers: Readonly<Record<number, Answer>>;
  /** What is looked at once access is given, before the body is read. `call.body` is undefined. */
  before?(call: Call): Promise<void>;
  handle(call: Call): Promise<Reply> | Reply;
}

/** The path as OpenAPI writes it: `/meshes/{mesh}/dataplanes/{name}`. */
export function openApiPath(path: string): string {
  return path.replaceAll(/:([a-zA-Z]+)/g, '{$1}').replaceAll('\\', '');
}

/** A handler with a typed body: the schema of the same route has produced it. */
export function route<Body>(spec: Omit<Route, 'handle'> & { handle(call: Call<Body>): Promise<Reply> | Reply }): Route {
  return { ...spec, handle: (call) => spec.handle(call as Call<Body>) };
}

export function json(status: number, value: unknown, headers?: Reply['headers']): Reply {
  return {
    status,
    contentType: 'application/json',
    body: JSON.stringify(value),
    ...(headers === undefined ? {} : { headers }),
  };
}
