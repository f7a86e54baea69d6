import type { CallOptions } from '../../issuer/issuer.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createEndpointQueue, type EndpointQueue, type QueueLoad } from './endpoint-queue.ts';
import type { QueuedBackend } from './keys.ts';
import { outcomeOf, SERVED } from './outcome.ts';
import type { Priority } from './priority.ts';
import { closedError } from './refusals.ts';

export type { QueueLoad } from './endpoint-queue.ts';
export type { QueuedBackend } from './keys.ts';

/** One queue for each real server behind the backends: how many certificates are asked of it at once, and whose turn it is. */
export interface EndpointQueues {
  /**
   * Runs `work` in a place of the backend's endpoint, and waits for one until `options.signal` fires. Work for a local backend runs at once.
   * `work` gets the signal, and `park` for what does not wait for capacity.
   * @throws RateLimitedError with `retryAfterMs` when it cannot come to its turn; IssuerUnavailableError after `close`; the signal's reason when it is no
   * time-out; whatever `work` throws
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

/** Endpoints of which is remembered what they bear while nothing is wanted of them. */
const MAX_IDLE = 1_000;

export function createEndpointQueues({ clock }: { readonly clock: Clock }): EndpointQueues {
  const queues = new Map<string, EndpointQueue>();
  /** Those of `queues` that may be forgotten, the oldest first. */
  const idle = new Set<string>();
  let isOver = false;

  function queueFor(backend: QueuedBackend): EndpointQueue {
    idle.delete(backend.endpoint);
    const known = queues.get(backend.endpoint);
    if (known !== undefined) return known;
    const queue = createEndpointQueue(clock, backend);
    queues.set(backend.endpoint, queue);
    return queue;
  }

  function rest(endpoint: string): void {
    if (queues.get(endpoint)?.isIdle !== true) return;
    idle.delete(endpoint);
    idle.add(endpoint);
    const [oldest] = idle;
    if (idle.size <= MAX_IDLE || oldest === undefined) return;
    idle.delete(oldest);
    queues.get(oldest)?.close();
    queues.delete(oldest);
  }

  return {
    async run(backend, priority, work, options) {
      if (backend.local) return work(options);
      if (isOver) throw closedError();
      const queue = queueFor(backend);
      try {
        const place = await queue.take(backend, priority, options.signal);
        let outcome = SERVED;
        try {
          return await work({ signal: options.signal, park: place.park });
        } catch (error) {
          outcome = outcomeOf(error, options.signal);
          throw error;
        } finally {
          place.release(outcome);
        }
      } finally {
        rest(backend.endpoint);
      }
    },
    load(backend) {
      if (backend.local) return { inFlight: 0, queued: 0, limit: undefined };
      const none = { inFlight: 0, queued: 0, limit: backend.concurrency.start };
      return queues.get(backend.endpoint)?.load(backend) ?? none;
    },
    async close() {
      isOver = true;
      for (const queue of queues.values()) queue.close();
    },
  };
}
