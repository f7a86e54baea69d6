import type { Readable } from 'node:stream';
import { HttpError } from './problem.ts';

/**
 * The next chunk of a body, or undefined at its end. Between calls the body is paused, so that backpressure reaches the sender; no listener
 * stays behind, and nothing is destroyed when nobody asks any more (an async iterator does both).
 * @throws the signal's reason; HttpError 400 when the sender is gone
 */
export function nextChunk(body: Readable, signal: AbortSignal): Promise<Buffer | undefined> {
  if (body.readableEnded) return Promise.resolve(undefined);
  if (body.destroyed) return Promise.reject(cutOff());
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      body.pause().off('data', onData).off('end', onEnd).off('error', onError).off('close', onClose);
      signal.removeEventListener('abort', onAbort);
      settle();
    };
    const onData = (chunk: Buffer) => end(() => resolve(chunk));
    const onEnd = () => end(() => resolve(undefined));
    const onError = (error: Error) => end(() => reject(error));
    const onClose = () => end(() => reject(cutOff()));
    const onAbort = () => end(() => reject(signal.reason));
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    body.on('data', onData).on('end', onEnd).on('error', onError).on('close', onClose).resume();
  });
}

function cutOff(): HttpError {
  return new HttpError(400, 'Bad Request', 'the request ended before its body');
}
