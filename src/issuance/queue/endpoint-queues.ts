import type { Backend } from '../../backends/backend.ts';
import type { CallOptions } from '../../issuer/issuer.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Priority } from './priority.ts';

/** What a queue has to know of a backend. */
export type QueuedBackend = Pick<Backend, 'mesh' | 'name' | 'local' | 'endpoint' | 'concurrency' | 'metrics'>;

export interface QueueLoad {
  /** Certificates of this backend that are being asked for, those that wait for somebody else included. */
  readonly inFlight: number;
  /** Certificates of this backend that wait for a place. */
  readonly queued: number;
  /** Places of its endpoint, shared with the other backends of it; undefined: it needs none. */
  readonly limit: number | undefined;
}

/** One queue for each real server behind the backends: how many certificates are asked of it at once, and whose turn it is. */
export interface EndpointQueues {
  /**
   * Runs `work` in a place of the backend's endpoint, and waits for one until `options.signal` fires. Work for a local backend runs at once.
   * `work` gets the signal, and `park` for what does not wait for capacity.
   * @throws RateLimitedError with `retryAfterMs` when it cannot come to its turn; IssuerUnavailableError after `close`; the signal's reason; whatever
   * `work` throws
   */
  run<T>(
    backend: QueuedBackend,
    priority: Priority,
    work: (options: CallOptions) => Promise<T>,
    options: CallOptions,
  ): Promise<T>;
  load(backend: QueuedBackend): QueueLoad;
  /** Rejects those who wait. Work under way goes on, no timer is left. Idempotent. */
  close(): Promise<void>;
}

export function createEndpointQueues(_options: { readonly clock: Clock }): EndpointQueues {
  throw new TypeError('not built yet');
}
