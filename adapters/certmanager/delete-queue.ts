import { setMaxListeners } from 'node:events';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { KubernetesClient } from './client.ts';
import { type Failure, isPassing } from './failure.ts';

/** Removes objects behind the callers' backs. Bounded; what it gives up on is left to the sweep. */
export interface DeleteQueue {
  /** Idempotent while it is under way, and for a while after. */
  add(name: string): void;
  /** True while it is queued, or was deleted a short time ago. */
  knows(name: string): boolean;
  /** Resolves when an object of this name is no longer to be deleted. Rejects with the signal's reason. */
  gone(name: string, signal: AbortSignal): Promise<void>;
  readonly size: number;
  /** Waits for what is under way, at most five seconds. Idempotent. */
  close(): Promise<void>;
}

const WORKERS = 16;
const MAX_QUEUED = 20_000;
const MAX_TRIES = 12;
/** A server that is away when we close is not waited for long. */
const MAX_TRIES_AT_END = 4;
const TIMEOUT_MS = 3_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const MAX_REMEMBERED = 4_096;
const CLOSE_TIMEOUT_MS = 5_000;

export function createDeleteQueue(
  client: Pick<KubernetesClient, 'delete'>,
  { clock, random, log }: Pick<IssuerDeps, 'clock' | 'random' | 'log'>,
): DeleteQueue {
  const queued = new Map<string, { readonly done: Promise<void>; finish(): void }>();
  const waiting: string[] = [];
  /** Late events about them are no reason to delete them again. In the order of their end. */
  const deleted = new Set<string>();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let workers = 0;
  let closed: Promise<void> | undefined;

  async function work(): Promise<void> {
    workers += 1;
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      const failure = await remove(name).catch(() => undefined);
      if (failure !== undefined)
        log.warn({ name, why: failure.message }, 'a CertificateRequest was not deleted: left to the sweep');
      queued.get(name)?.finish();
      queued.delete(name);
      remember(name);
    }
    workers -= 1;
  }

  /** The failure that it gave up with. */
  async function remove(name: string): Promise<Failure | undefined> {
    for (let tries = 1; ; tries += 1) {
      const outcome = await client.delete(name, { signal: closing.signal, timeoutMs: TIMEOUT_MS });
      if (outcome.ok || outcome.failure.kind === 'gone') return undefined;
      // Done in any case when the answer was lost, was garbage, or another deletion won: asking again finds out.
      const isLast = tries >= (closed === undefined ? MAX_TRIES : MAX_TRIES_AT_END);
      if (isLast || !isPassing(outcome.failure)) return outcome.failure;
      const growing = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1));
      const pauseMs = Math.max(
        growing * (0.5 + random.uniform() / 2),
        Math.min(outcome.failure.retryAfterMs ?? 0, 30_000),
      );
      await clock.sleep(pauseMs, closing.signal);
    }
  }

  function remember(name: string): void {
    deleted.add(name);
    const [oldest] = deleted;
    if (deleted.size > MAX_REMEMBERED && oldest !== undefined) deleted.delete(oldest);
  }

  return {
    add(name) {
      if (queued.has(name)) return;
      if (queued.size >= MAX_QUEUED) {
        log.warn({ name }, 'too many CertificateRequests wait for deletion: left to the sweep');
        return;
      }
      let finish = () => {};
      const done = new Promise<void>((resolve) => {
        finish = resolve;
      });
      queued.set(name, { done, finish });
      waiting.push(name);
      if (workers < WORKERS) void work();
    },
    knows: (name) => queued.has(name) || deleted.has(name),
    async gone(name, signal) {
      const entry = queued.get(name);
      if (entry !== undefined) await orAborted(entry.done, signal);
      deleted.delete(name);
    },
    get size() {
      return queued.size;
    },
    close() {
      closed ??= (async () => {
        const deadline = clock.deadline(CLOSE_TIMEOUT_MS);
        const all = Promise.all([...queued.values()].map(({ done }) => done));
        await orAborted(all, deadline.signal).catch(() => {});
        deadline.clear();
        closing.abort(new Error('closing'));
      })();
      return closed;
    },
  };
}
