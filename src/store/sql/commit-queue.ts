import { StoreUnavailableError } from '../../issuer/errors.ts';
import { closedError } from '../store-rules.ts';
import { RETRY_AFTER_MS, toStoreError } from './store-error.ts';

/** What the queue needs of a database. */
export interface CommitPort {
  /** Waits until this process may write; rejects when it may not within reason. */
  begin(): Promise<void>;
  /** Resolves once what was written since `begin` is durable. */
  commit(): Promise<void>;
  /** Never throws. */
  rollback(): void;
  /** False when an error has already ended the transaction, and with it the work of all. */
  isOpen(): boolean;
}

export interface CommitQueue {
  /**
   * Runs `work` in the next transaction, together with whatever else is waiting, in the order of the calls; resolves with its result once
   * that is durable. What `work` throws rejects this call alone: work of more than one step must undo them itself.
   * `onDurable` runs just before the promise resolves.
   *
   * @throws StoreUnavailableError when too many are waiting
   */
  write<T>(work: () => T, onDurable?: (result: T) => void): Promise<T>;
  /** Takes no more and waits for what was taken. */
  close(): Promise<void>;
}

const LARGEST_BATCH = 512;
const MOST_WAITING = 10_000;

interface Job {
  run(): void;
  settle(): void;
  fail(error: unknown): void;
}

/**
 * Group commit without timers: an idle queue commits at once, a busy one gathers what arrives while the disk is at work. The more there is
 * to do the larger the groups become.
 */
export function createCommitQueue(port: CommitPort): CommitQueue {
  const waiting: Job[] = [];
  let draining: Promise<void> | undefined;
  let closed = false;

  async function drain(): Promise<void> {
    // Gathers what is called in one go, before the first transaction begins.
    await undefined;
    while (waiting.length > 0) await commitBatch();
    draining = undefined;
  }

  async function commitBatch(): Promise<void> {
    let jobs: Job[] = [];
    try {
      await port.begin();
      jobs = waiting.splice(0, LARGEST_BATCH);
      const done = runAll(jobs);
      await port.commit();
      for (const job of done) job.settle();
    } catch (error) {
      port.rollback();
      if (jobs.length === 0) jobs = waiting.splice(0, waiting.length);
      for (const job of jobs) job.fail(error);
    }
  }

  /** Those whose work succeeded. Throws when the transaction itself is gone. */
  function runAll(jobs: readonly Job[]): Job[] {
    const done: Job[] = [];
    for (const job of jobs) {
      try {
        job.run();
        done.push(job);
      } catch (error) {
        if (!port.isOpen()) throw error;
        job.fail(error);
      }
    }
    return done;
  }

  return {
    write(work, onDurable) {
      return new Promise((resolve, reject) => {
        if (closed) throw closedError();
        if (waiting.length >= MOST_WAITING) {
          const options = { retryAfterMs: RETRY_AFTER_MS, fix: 'send fewer requests at once, or use a faster disk' };
          throw new StoreUnavailableError(`${waiting.length} writes are waiting for the store's disk`, options);
        }
        let result: ReturnType<typeof work>;
        waiting.push({
          run: () => {
            result = work();
          },
          settle: () => {
            onDurable?.(result);
            resolve(result);
          },
          fail: (error) => reject(toStoreError(error)),
        });
        draining ??= drain();
      });
    },
    async close() {
      closed = true;
      await draining;
    },
  };
}
