import { setMaxListeners } from 'node:events';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { KubernetesClient } from './client.ts';
import { type Failure, type FailureKind, toError } from './failure.ts';

/** Removes objects behind the callers' backs. Bounded; what it gives up on is left to the sweep. */
export interface DeleteQueue {
  /** Idempotent while it is under way. `onRequest` is called for each request that it takes. */
  add(name: string, onRequest?: () => void): void;
  /** It is queued: somebody sees to it. */
  has(name: string): boolean;
  /**
   * It was deleted a short time ago, or must not be: what a watch tells of it is no reason to try again. Another object of its name, by its UID, is
   * one: of a create call that was repeated, and done after the first object had gone.
   */
  wasDeleted(name: string, uid: string | null | undefined): boolean;
  /** Resolves when an object of this name is no longer to be deleted. Rejects with the signal's reason. */
  gone(name: string, signal: AbortSignal): Promise<void>;
  /** Waits for all that is queued now. Names of those that stay: refused, or given up on. Rejects with the signal's reason. */
  settled(signal: AbortSignal): Promise<readonly string[]>;
  readonly size: number;
  /** Waits for what is under way as long as something is deleted, at most five seconds. Idempotent. */
  close(): Promise<void>;
}

const WORKERS = 16;
const MAX_QUEUED = 20_000;
/** A first call that is not answered by then is made again: after a half-open connection that is the fresh one. */
const FIRST_TIMEOUT_MS = 1_000;
const TIMEOUT_MS = 3_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const LONGEST_RETRY_AFTER_MS = 30_000;
/** Failures in a row, some ten minutes of them, after which all is left to the sweep. */
const MAX_FAILURES = 120;
/** An object that the cluster does not want to have deleted is asked for so often, then it is left to the sweep. */
const MAX_REFUSALS = 3;
/** They are about one object: others may do well. */
const REFUSALS: ReadonlySet<FailureKind> = new Set(['denied', 'invalid', 'conflict']);
const MAX_REMEMBERED = 4_096;
const CLOSE_TIMEOUT_MS = 5_000;
/** A server that is away when we close is not waited for long. */
const CLOSE_STALL_MS = 1_500;
/** One line of a kind in this time, however many objects it is about. */
const COMPLAIN_EVERY_MS = 60_000;

interface Entry {
  /** True: it is gone. */
  readonly done: Promise<boolean>;
  finish(isGone: boolean): void;
  readonly onRequest: (() => void) | undefined;
  hasFailed: boolean;
}

export function createDeleteQueue(
  client: Pick<KubernetesClient, 'delete'>,
  { clock, random, log }: Pick<IssuerDeps, 'clock' | 'random' | 'log'>,
): DeleteQueue {
  const queued = new Map<string, Entry>();
  const waiting = new Set<string>();
  /** Name -> UID, if that was told; in the order of their end. */
  const deleted = new Map<string, string | undefined>();
  const complaints = new Map<string, { atMs: number; unsaid: number }>();
  const closing = new AbortController();
  setMaxListeners(0, closing.signal);
  let workers = 0;
  /** In a row, over all objects: while the server is not well, one worker alone tries. */
  let failures = 0;
  let resting: AbortController | undefined;
  let onProgress = () => {};
  let closed: Promise<void> | undefined;

  async function work(): Promise<void> {
    workers += 1;
    try {
      while (!closing.signal.aborted && (failures === 0 || workers === 1)) {
        const [name] = waiting;
        if (name === undefined) return;
        waiting.delete(name);
        const outcome = await remove(name);
        if (typeof outcome === 'string') {
          failures = 0;
          settle(name, outcome === 'gone');
          startWorkers();
          continue;
        }
        failures += 1;
        const entry = queued.get(name);
        if (entry !== undefined) entry.hasFailed = true;
        waiting.add(name);
        complain('a CertificateRequest cannot be deleted: tried again', { name, err: toError(outcome) });
        if (failures >= MAX_FAILURES) return giveUpAll(outcome);
        if (workers === 1) await rest(pauseMs(outcome));
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
    const wanted = failures === 0 ? Math.min(WORKERS, waiting.size) : 1;
    while (workers < wanted) void work();
  }

  /** `gone`, `stays` when it is not to be tried again, or the failure. Lost and garbled answers are found out by asking again. */
  async function remove(name: string): Promise<Failure | 'gone' | 'stays'> {
    const { hasFailed = false, onRequest } = queued.get(name) ?? {};
    const call = {
      signal: closing.signal,
      timeoutMs: hasFailed ? TIMEOUT_MS : FIRST_TIMEOUT_MS,
      ...(onRequest && { onRequest }),
    };
    for (let refusals = 1; ; refusals += 1) {
      const outcome = await client.delete(name, call);
      if (outcome.ok) remember(name, outcome.value.uid);
      if (outcome.ok || outcome.failure.kind === 'gone') return 'gone';
      if (!REFUSALS.has(outcome.failure.kind)) return outcome.failure;
      if (refusals === MAX_REFUSALS) {
        remember(name, undefined);
        complain('the cluster does not let a CertificateRequest be deleted', { name, err: toError(outcome.failure) });
        return 'stays';
      }
      await clock.sleep(FIRST_PAUSE_MS * 2 ** refusals, closing.signal);
    }
  }

  function pauseMs({ retryAfterMs = 0 }: Failure): number {
    const growing = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 10));
    return Math.max(growing * (0.5 + random.uniform() / 2), Math.min(retryAfterMs, LONGEST_RETRY_AFTER_MS));
  }

  function remember(name: string, uid: string | undefined): void {
    deleted.set(name, uid);
    const [oldest] = deleted.keys();
    if (deleted.size > MAX_REMEMBERED && oldest !== undefined) deleted.delete(oldest);
  }

  function settle(name: string, isGone: boolean): void {
    queued.get(name)?.finish(isGone);
    queued.delete(name);
    onProgress();
  }

  function giveUpAll(failure: Failure): void {
    const count = waiting.size;
    log.warn({ count, err: toError(failure) }, 'CertificateRequests are not deleted: left to the sweep');
    for (const name of waiting) settle(name, false);
    waiting.clear();
    failures = 0;
  }

  function complain(message: string, fields: Readonly<Record<string, unknown>>): void {
    const last = complaints.get(message);
    const nowMs = clock.monotonicMs();
    if (last !== undefined && nowMs - last.atMs < COMPLAIN_EVERY_MS) {
      last.unsaid += 1;
      return;
    }
    complaints.set(message, { atMs: nowMs, unsaid: 0 });
    log.warn({ ...fields, ...(last !== undefined && last.unsaid > 0 && { unsaid: last.unsaid }) }, message);
  }

  /** Until all is deleted, the time is over, or nothing was deleted for a while. */
  async function drain(): Promise<void> {
    const deadline = clock.deadline(CLOSE_TIMEOUT_MS);
    try {
      while (queued.size > 0 && !deadline.signal.aborted) {
        const progress = new Promise<void>((resolve) => {
          onProgress = resolve;
        });
        const stall = clock.deadline(CLOSE_STALL_MS, deadline.signal);
        await orAborted(progress, stall.signal).finally(() => stall.clear());
      }
    } catch {
      // What is left is for the sweep.
    } finally {
      deadline.clear();
    }
  }

  return {
    add(name, onRequest) {
      if (queued.has(name) || closing.signal.aborted) return;
      if (queued.size >= MAX_QUEUED) {
        complain('too many CertificateRequests wait for deletion: left to the sweep', { name });
        return;
      }
      let finish: Entry['finish'] = () => {};
      const done = new Promise<boolean>((resolve) => {
        finish = resolve;
      });
      queued.set(name, { done, finish, onRequest, hasFailed: false });
      waiting.add(name);
      startWorkers();
    },
    has: (name) => queued.has(name),
    wasDeleted(name, uid) {
      const known = deleted.get(name);
      return deleted.has(name) && (known === undefined || !uid || known === uid);
    },
    async gone(name, signal) {
      const entry = queued.get(name);
      if (entry !== undefined) await orAborted(entry.done, signal);
      deleted.delete(name);
    },
    async settled(signal) {
      const entries = [...queued];
      const areGone = await orAborted(Promise.all(entries.map(([, { done }]) => done)), signal);
      return entries.map(([name]) => name).filter((_, index) => areGone[index] !== true);
    },
    get size() {
      return queued.size;
    },
    close() {
      closed ??= (async () => {
        // All at once: one that gets no answer must not hold up the others now.
        failures = 0;
        resting?.abort();
        startWorkers();
        await drain();
        closing.abort(new Error('closing'));
        resting?.abort();
      })();
      return closed;
    },
  };
}
