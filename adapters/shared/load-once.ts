import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import type { CallOptions, IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { closedError } from './lifetime.ts';

/** Longest wait for secrets and files: local storage that takes longer is not well. */
const LOAD_TIMEOUT_MS = 10_000;

export interface Loaded<T> {
  /** The value if it is there already: for the hot path. */
  peek(): T | undefined;
  /** Loads at the first call; calls under way share one load; a failure is not remembered. */
  get(options: CallOptions): Promise<T>;
  /** Gives up a load under way. Later calls of `get` fail. */
  close(): void;
}

/**
 * Keeps what `load` gave. The load runs under its own deadline, so that the caller who happens to start it cannot abort it for the others.
 * @param what it loads, for the message when that takes too long
 */
export function loadOnce<T>(
  load: (options: CallOptions) => Promise<T>,
  clock: IssuerDeps['clock'],
  what = 'the CA key pair',
): Loaded<T> {
  const closing = new AbortController();
  let value: T | undefined;
  let loading: Promise<T> | undefined;

  async function start(): Promise<T> {
    const deadline = clock.deadline(LOAD_TIMEOUT_MS, closing.signal);
    try {
      const loaded = await orAborted(load({ signal: deadline.signal }), deadline.signal);
      closing.signal.throwIfAborted();
      value = loaded;
      return loaded;
    } catch (error) {
      if (deadline.signal.aborted && !closing.signal.aborted) {
        throw new IssuerUnavailableError(`${what} could not be read within ${LOAD_TIMEOUT_MS} ms`, {
          cause: error,
          fix: 'look at the store and the file systems that mesh-ca reads from',
        });
      }
      throw error;
    } finally {
      deadline.clear();
      loading = undefined;
    }
  }

  return {
    peek: () => value,
    get({ signal }) {
      if (closing.signal.aborted) return Promise.reject(closing.signal.reason);
      if (value !== undefined) return Promise.resolve(value);
      loading ??= start();
      return orAborted(loading, signal);
    },
    close() {
      value = undefined;
      closing.abort(closedError());
    },
  };
}
