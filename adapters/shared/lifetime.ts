import { setMaxListeners } from 'node:events';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { linkSignals } from './link-signals.ts';

/** From the making of an issuer to its `close`. */
export interface Lifetime {
  /** Fires with the close. */
  readonly signal: AbortSignal;
  /** Gives work a signal that fires when the caller gives up or the issuer is closed. */
  whileOpen<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Idempotent. */
  close(): void;
}

export function createLifetime(): Lifetime {
  const closing = new AbortController();
  // One listener for each call under way.
  setMaxListeners(0, closing.signal);
  return {
    signal: closing.signal,
    async whileOpen(signal, work) {
      signal.throwIfAborted();
      closing.signal.throwIfAborted();
      const linked = linkSignals(signal, closing.signal);
      try {
        return await work(linked.signal);
      } finally {
        linked.unlink();
      }
    },
    close: () => closing.abort(closedError()),
  };
}

/** For who still holds an issuer that another one has replaced. */
export function closedError(): IssuerUnavailableError {
  return new IssuerUnavailableError('is closed', { fix: 'ask again: a changed backend gets a new issuer at once' });
}
