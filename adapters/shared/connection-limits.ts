import type http from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';

type Clock = IssuerDeps['clock'];

const TCP_KEEP_ALIVE_MS = 15_000;

export class ConnectTimeoutError extends Error {
  readonly code = 'ETIMEDOUT';
}

/** Ends a call with a ConnectTimeoutError when its new connection is not there in time: TCP and TLS handshake together. */
export function limitConnect(
  call: http.ClientRequest,
  socket: Socket,
  { ms, clock, onLate }: { readonly ms: number; readonly clock: Clock; onLate?(): void },
): void {
  socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
  const end = startTimer(clock, ms, () => {
    onLate?.();
    call.destroy(new ConnectTimeoutError(`no connection within ${ms} ms`));
  });
  socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', end);
  socket.once('close', end);
}

/** Acts once when the call's connection gives no byte for so long. */
export function onSilence(
  call: http.ClientRequest,
  socket: Socket,
  { ms, clock }: { readonly ms: number; readonly clock: Clock },
  act: () => void,
): void {
  const endTimer = startTimer(clock, ms, act);
  const end = () => {
    socket.removeListener('data', end);
    endTimer();
  };
  socket.once('data', end);
  call.once('close', end);
}

/** Returns what calls it off. */
function startTimer(clock: Clock, ms: number, onLate: () => void): () => void {
  const deadline = clock.deadline(ms);
  deadline.signal.addEventListener('abort', onLate, { once: true });
  return () => {
    deadline.signal.removeEventListener('abort', onLate);
    deadline.clear();
  };
}
