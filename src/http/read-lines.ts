import type { Readable } from 'node:stream';
import type { z } from 'zod';
import { TooLargeError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { nextChunk } from './next-chunk.ts';
import { HttpError } from './problem.ts';
import { parseJson } from './read-body.ts';
import { LineSplitter, type RawLine } from './split-lines.ts';

/** One line of an NDJSON body: its value, or why it is none. `dataplane` is told as far as it could be read. */
export interface Line<T> {
  readonly value?: T;
  readonly error?: unknown;
  readonly dataplane?: string;
}

export interface ReadLinesOptions {
  readonly maxLineBytes: number;
  /** Longest wait for the next chunk. */
  readonly idleMs: number;
  readonly clock: Clock;
}

/** Lines of one body, at most; empty ones count. */
const MAX_LINES = 100_000;
/** Bytes of too long lines that are passed over before the reading ends. */
const MAX_PASSED_OVER = 16 * 1024 * 1024;

/**
 * Reads `application/x-ndjson`, one checked value a line; empty lines are passed over. A wrong or too long line is an error line, not the
 * end. Too many lines, too much that is too long, and a sender that falls silent end the reading with an error line.
 * @throws HttpError 400 when the sender is gone
 */
export async function* readLines<S extends z.ZodType>(
  body: Readable,
  schema: S,
  options: ReadLinesOptions,
): AsyncGenerator<Line<z.output<S>>> {
  const { maxLineBytes } = options;
  const splitter = new LineSplitter(maxLineBytes);
  for (;;) {
    const chunk = await chunkInTime(body, options);
    if (chunk instanceof HttpError) return yield { error: chunk };
    for (const line of chunk === undefined ? splitter.end() : splitter.push(chunk)) {
      if (line.number > MAX_LINES) return yield tooLarge(`more than ${MAX_LINES} lines in one request`);
      const read = readLine(line, schema, maxLineBytes);
      if (read !== undefined) yield read;
    }
    if (chunk === undefined) return;
    if (splitter.passedOver > MAX_PASSED_OVER) return yield tooLarge('too much of the request is in too long lines');
  }
}

/** The next chunk, undefined at the end, or the error of a sender that is silent for too long. */
async function chunkInTime(
  body: Readable,
  { clock, idleMs }: ReadLinesOptions,
): Promise<Buffer | undefined | HttpError> {
  const deadline = clock.deadline(idleMs);
  try {
    return await nextChunk(body, deadline.signal);
  } catch (error) {
    if (!deadline.signal.aborted) throw error;
    return new HttpError(
      408,
      'Request Timeout',
      `no line for ${idleMs / 1000} s`,
      'end the request, and start another when there is more to ask',
    );
  } finally {
    deadline.clear();
  }
}

function tooLarge(message: string): { readonly error: TooLargeError } {
  return { error: new TooLargeError(message, { fix: 'send the rest in another request' }) };
}

function readLine<S extends z.ZodType>(
  { number, bytes }: RawLine,
  schema: S,
  maxLineBytes: number,
): Line<z.output<S>> | undefined {
  if (bytes === undefined) {
    const message = `line ${number} is larger than ${maxLineBytes} bytes`;
    return { error: new TooLargeError(message, { fix: 'send one JSON object a line' }) };
  }
  const text = bytes.toString().trim();
  if (text === '') return undefined;
  try {
    const value = parseJson(text, schema, `line ${number}`);
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
