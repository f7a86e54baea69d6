import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { RequestInvalidError, TooLargeError } from '../issuer/errors.ts';
import { HttpError } from './problem.ts';
import type { BodyRule } from './route.ts';

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;

/**
 * Reads, parses and checks a JSON body. Nothing larger than the cap is ever held.
 * @throws TooLargeError, HttpError 415, RequestInvalidError with every mistake
 */
export async function readJsonBody(
  request: IncomingMessage,
  rule: Exclude<BodyRule, { kind: 'lines' }>,
): Promise<unknown> {
  const bytes = await readBytes(request, rule.maxBytes);
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

export function parseJson(text: Buffer | string, schema: z.ZodType): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text.toString());
  } catch (error) {
    throw new RequestInvalidError(
      `the body is not JSON: ${error instanceof Error ? error.message.slice(0, 120) : 'syntax error'}`,
      {
        fix: 'send one JSON object',
      },
    );
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const violations = parsed.error.issues
    .slice(0, 50)
    .map((issue) => ({ field: fieldOf(issue.path), message: issue.message }));
  throw new RequestInvalidError('the request is not valid', {
    violations,
    fix: 'GET /openapi.json describes the request',
  });
}

function fieldOf(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? String(part) : `.${String(part)}`))
    .join('');
}

export function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0);
  if (announced > maxBytes) return Promise.reject(tooLarge(maxBytes));
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const end = (settle: () => void) => {
      request.off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      settle();
    };
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) end(() => reject(tooLarge(maxBytes)));
      else chunks.push(chunk);
    };
    const onEnd = () =>
      end(() => resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks, size)));
    const onError = (error: Error) => end(() => reject(error));
    const onClose = () => end(() => reject(new HttpError(400, 'Bad Request', 'the request ended before its body')));
    request.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose);
  });
}

function tooLarge(maxBytes: number): TooLargeError {
  return new TooLargeError(`the body is larger than ${maxBytes} bytes`, { fix: 'send less at once' });
}
