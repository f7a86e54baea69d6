import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, Deadline } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { HttpLimits } from './limits.ts';
import type { Reply } from './route.ts';

export interface SendReplyOptions {
  /** True once the server stops: connections are not kept then. */
  draining(): boolean;
  readonly log: Log;
  readonly clock: Clock;
  readonly limits: HttpLimits;
}

/**
 * Writes a reply; a stream with backpressure. A stream that breaks off ends the connection.
 * @throws what Node says of headers that cannot be sent; nothing was written then
 */
export async function sendReply(
  reply: Reply,
  request: IncomingMessage,
  response: ServerResponse,
  { draining, log, clock, limits }: SendReplyOptions,
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
    if (request.complete) {
      response.end(body);
      return;
    }
    response.write(body ?? '');
  } else {
    response.writeHead(reply.status, headers);
    try {
      for await (const part of body) {
        if (response.destroyed) return;
        if (!response.write(part)) await drained(response);
      }
    } catch (error) {
      if (!response.destroyed) log.warn({ err: error }, 'stream ended early');
      response.destroy();
      return;
    }
  }
  if (!request.complete) await passOverRest(request, clock.deadline(limits.restMs));
  response.end();
}

/**
 * Reads what is left of a body that nobody wants and throws it away, for a while. Closing at once would make the kernel reset the
 * connection, and the caller lose the answer.
 */
async function passOverRest(request: IncomingMessage, deadline: Deadline): Promise<void> {
  await new Promise<void>((resolve) => {
    if (request.destroyed) return resolve();
    request
      .once('end', resolve)
      .once('close', resolve)
      .once('error', () => resolve());
    deadline.signal.addEventListener('abort', () => resolve(), { once: true });
    request.resume();
  });
  deadline.clear();
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
