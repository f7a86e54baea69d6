import { setMaxListeners } from 'node:events';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { KubernetesClient } from './client.ts';
import { type Failure, toError } from './failure.ts';

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
const TIMEOUT_MS = 3_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const LONGEST_RETRY_AFTER_MS = 30_000;
/** Failures in a row, some ten minutes of them, after which all is left to the sweep. */
const MAX_FAILURES = 120;
/** A server that is away when we close is not waited for long. */
const MAX_FAILURES_AT_END = 4;
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
  /** In a row, over all objects: while the server is not well, one worker alone tries. */
  let failures = 0;
  let resting: AbortController | undefined;
  let closed: Promise<void> | undefined;

  async function work(): Promise<void> {
    workers += 1;
    try {
      while (!closing.signal.aborted && (failures === 0 || workers === 1)) {
        const name = waiting.shift();
        if (name === undefined) return;
        const failure = await remove(name);
        if (failure === undefined) {
          failures = 0;
          settle(name);
          startWorkers();
          continue;
        }
        failures += 1;
        waiting.push(name);
        if (failures === 1)
          log.warn({ name, err: toError(failure) }, 'a CertificateRequest cannot be deleted: tried again');
        if (failures >= (closed === undefined ? MAX_FAILURES : MAX_FAILURES_AT_END)) return giveUp(failure);
        if (workers === 1) await rest(pauseMs(failure));
      }
    } catch {
      // Closing.
    } finally {
      workers -= 1;
    }
  }

  /** Until the time is over, or we close. */
  async function rest(ms: number): Promise<void> {
    resting = new AbortController();
    await clock.sleep(ms, resting.signal).catch(() => {});
  }

  function startWorkers(): void {
    const wanted = failures === 0 ? Math.min(WORKERS, waiting.length) : 1;
    while (workers < wanted) void work();
  }

  /** The failure; undefined when it is gone. Lost and garbled answers, and conflicts, are found out by asking again. */
  async function remove(name: string): Promise<Failure | undefined> {
    const outcome = await client.delete(name, { signal: closing.signal, timeoutMs: TIMEOUT_MS });
    return outcome.ok || outcome.failure.kind === 'gone' ? undefined : outcome.failure;
  }

  function pauseMs({ retryAfterMs = 0 }: Failure): number {
    const growing = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
    return Math.max(growing * (0.5 + random.uniform() / 2), Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS));
  }

  function settle(name: string): void {
    queued.get(name)?.finish();
    queued.delete(name);
    deleted.add(name);
    const [oldest] = deleted;
    if (deleted.size > MAX_REMEMBERED && oldest !== undefined) deleted.delete(oldest);
  }

  function giveUp(failure: Failure): void {
    log.warn(
      { count: waiting.length, err: toError(failure) },
      'CertificateRequests are not deleted: left to the sweep',
    );
    for (const name of waiting.splice(0)) {
      queued.get(name)?.finish();
      queued.delete(name);
    }
    failures = 0;
  }

  return {
    add(name) {
      if (queued.has(name) || closing.signal.aborted) return;
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
      startWorkers();
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
        failures = Math.min(failures, 1);
        resting?.abort();
        const deadline = clock.deadline(CLOSE_TIMEOUT_MS);
        const all = Promise.all([...queued.values()].map(({ done }) => done));
        await orAborted(all, deadline.signal).catch(() => {});
        deadline.clear();
        closing.abort(new Error('closing'));
        resting?.abort();
      })();
      return closed;
    },
  };
}
