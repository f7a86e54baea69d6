import type http from 'node:http';

/** More than any CA says: certificates are a few kilobytes. */
export const ANSWER_MAX_BYTES = 1024 * 1024;

export class ResponseTooLargeError extends Error {
  readonly code = 'RESPONSE_TOO_LARGE';
}

/** The whole body. @throws ResponseTooLargeError, whose connection is gone then; the error of an answer that is cut off */
export function readAnswer(response: http.IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    response.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > ANSWER_MAX_BYTES) {
        response.destroy(new ResponseTooLargeError(`an answer of more than ${ANSWER_MAX_BYTES} bytes`));
      } else chunks.push(chunk);
    });
    response.on('error', reject);
    response.once('end', () => resolve(Buffer.concat(chunks)));
    // Said last in any case: nobody waits for the rest of an answer whose connection is gone.
    response.once('close', () => reject(new Error('the answer was cut off')));
  });
}
