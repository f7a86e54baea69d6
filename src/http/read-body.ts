import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { RequestInvalidError, TooLargeError, type Violation } from '../issuer/errors.ts';
import { formatPath } from '../mesh/violations.ts';
import type { Watchdog } from '../runtime/watchdog.ts';
import { findJsonMistake } from './json-mistake.ts';
import { HttpError } from './problem.ts';
import type { BodyRule } from './route.ts';

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;
/** Mistakes that are told at once, and characters of an unknown field's name. */
const MAX_VIOLATIONS = 50;
const MAX_KEY = 80;

/**
 * Reads, parses and checks a JSON body. Nothing larger than the cap is ever held.
 * @throws TooLargeError, HttpError 408 or 415, RequestInvalidError with every mistake
 */
export async function readJsonBody(
  request: IncomingMessage,
  rule: Exclude<BodyRule, { kind: 'lines' }>,
  options: Omit<ReadBytesOptions, 'maxBytes'>,
): Promise<unknown> {
  const bytes = await readBytes(request, { ...options, maxBytes: rule.maxBytes });
  if (bytes.length === 0 && rule.kind === 'json' && rule.optional === true) return rule.schema.parse({});
  const type = request.headers['content-type'];
  if (type !== undefined && !JSON_TYPE.test(type)) {
    throw new HttpError(
      415,
      'Unsupported Media Type',
      `content type "${type.slice(0, 100)}" is not JSON`,
      'send the header content-type: application/json',
    );
  }
  return parseJson(bytes, rule.schema);
}

/**
 * Parses and checks one JSON value. Nothing of the value stands in an error: it may be a secret.
 * @param what names the text in errors: `the body`
 * @throws RequestInvalidError with every mistake
 */
export function parseJson<S extends z.ZodType>(bytes: Buffer | string, schema: S, what = 'the body'): z.output<S> {
  const text = bytes.toString();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    const mistake = findJsonMistake(text);
    const place = mistake === undefined ? '' : `: ${mistake.what} at line ${mistake.line}, column ${mistake.column}`;
    throw new RequestInvalidError(`${what} is not JSON${place}`, { fix: 'send one JSON object' });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new RequestInvalidError('the request is not valid', {
    violations: parsed.error.issues.flatMap(violationsOf).slice(0, MAX_VIOLATIONS),
    fix: 'GET /openapi.json describes the request',
  });
}

function violationsOf(issue: z.core.$ZodIssue): Violation[] {
  if (issue.code !== 'unrecognized_keys') return [{ field: formatPath(issue.path), message: issue.message }];
  return issue.keys.slice(0, MAX_VIOLATIONS).map((key) => ({
    field: formatPath([...issue.path, key.slice(0, MAX_KEY)]),
    message: 'is not a field of this request',
  }));
}

export interface ReadBytesOptions {
  readonly maxBytes: number;
  /** Watches all bodies that are being read: their limit is its limit. */
  readonly watchdog: Watchdog;
}

/** @throws TooLargeError; HttpError 408: it took longer than the watchdog allows; HttpError 400: the sender is gone */
function readBytes(request: IncomingMessage, { maxBytes, watchdog }: ReadBytesOptions): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > maxBytes) return Promise.reject(tooLarge(maxBytes));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const end = (settle: () => void) => {
      request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      endWatch();
      settle();
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) end(() => reject(tooLarge(maxBytes)));
      else chunks.push(chunk);
    };
    const onEnd = () =>
      end(() => resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size)));
    const onError = () => end(() => reject(gone()));
    const onClose = () => end(() => reject(gone()));
    request.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
    const endWatch = watchdog.watch(() => end(() => reject(tooSlow(watchdog.timeoutMs))));
  });
}

function gone(): HttpError {
  return new HttpError(400, 'Bad Request', 'the request ended before its body');
}

function tooSlow(timeoutMs: number): HttpError {
  return new HttpError(408, 'Request Timeout', `the body did not come within ${timeoutMs / 1000} s`, 'send it again');
}

function tooLarge(maxBytes: number): TooLargeError {
  return new TooLargeError(`the body is larger than ${maxBytes} bytes`, { fix: 'send less at once' });
}
