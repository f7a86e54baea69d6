import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { ZodType } from 'zod';
import type { Access, Caller } from './access.ts';

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
  /** The body as a stream, where the route reads it itself (`body.kind` is `lines`). */
  readonly request: IncomingMessage;
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
  /** `application/x-ndjson`, read by the handler line by line. */
  | { readonly kind: 'lines'; readonly schema: ZodType };

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
  readonly tag: 'certificates' | 'trust' | 'resources' | 'service';
  readonly access: Access;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: BodyRule;
  readonly answers: Readonly<Record<number, Answer>>;
  handle(call: Call): Promise<Reply> | Reply;
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
