import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { TooLargeError } from '../issuer/errors.ts';
import { parseJson } from './read-body.ts';

/** One line of an NDJSON body: its value, or why it is none. `dataplane` is told as far as it could be read. */
export interface Line<T> {
  readonly value?: T;
  readonly error?: unknown;
  readonly dataplane?: string;
}

/** Lines of one body, at most. */
const MAX_LINES = 100_000;

/**
 * Reads `application/x-ndjson`, one checked value a line; empty lines are passed over. A wrong line is an answer, not the end; a line over
 * the cap, and too many lines, end the reading with an error line.
 */
export async function* readLines<S extends z.ZodType>(
  request: IncomingMessage,
  schema: S,
  maxLineBytes: number,
): AsyncGenerator<Line<z.output<S>>> {
  let rest: Buffer = Buffer.alloc(0);
  let count = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
      const line = rest.subarray(0, end);
      rest = rest.subarray(end + 1);
      if (line.length > maxLineBytes) break;
      const read = readLine(line, schema);
      if (read === undefined) continue;
      count += 1;
      if (count > MAX_LINES) {
        yield {
          error: new TooLargeError(`more than ${MAX_LINES} lines in one request`, {
            fix: 'send the rest in another request',
          }),
        };
        return;
      }
      yield read;
    }
    if (rest.length > maxLineBytes) {
      yield {
        error: new TooLargeError(`a line is larger than ${maxLineBytes} bytes`, { fix: 'send one JSON object a line' }),
      };
      return;
    }
  }
  const last = readLine(rest, schema);
  if (last !== undefined) yield last;
}

function readLine<S extends z.ZodType>(bytes: Buffer, schema: S): Line<z.output<S>> | undefined {
  const text = bytes.toString().trim();
  if (text === '') return undefined;
  try {
    const value = parseJson(text, schema) as z.output<S>;
    return { value, ...nameOf(value) };
  } catch (error) {
    return { error, ...nameOf(looselyParsed(text)) };
  }
}

function looselyParsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function nameOf(value: unknown): { readonly dataplane?: string } {
  if (typeof value !== 'object' || value === null || !('dataplane' in value)) return {};
  return typeof value.dataplane === 'string' ? { dataplane: value.dataplane.slice(0, 253) } : {};
}
