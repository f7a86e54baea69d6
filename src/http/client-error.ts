import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Codes of Node's HTTP parser that have a status of their own. */
const STATUSES: Readonly<Record<string, string>> = {
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
};

/**
 * Answers what is no readable HTTP, and ends the connection. Inside an answer that has begun nothing can be said any more: the caller sees it
 * break off.
 */
export function answerClientError(
  error: NodeJS.ErrnoException,
  socket: Socket,
  response: ServerResponse | undefined,
): void {
  const begun = response?.headersSent === true && !response.writableEnded;
  if (begun || !socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const status = STATUSES[error.code ?? ''] ?? '400 Bad Request';
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}
