import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../src/issuer/errors.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { createCommitQueue } from '../../src/store/sql/commit-queue.ts';
import { retryWhileBusy } from '../../src/store/sql/retry-while-busy.ts';
import { toStoreError } from '../../src/store/sql/store-error.ts';
import { startChild } from './start-child.ts';
import { temporaryFolder } from './temporary-folder.ts';

const sqliteError = (code: string) => Object.assign(new Error('as SQLite tells it'), { code });

/** A clock on which a sleep takes no time, but has passed. */
function createJumpingClock(): Clock {
  let now = 0;
  return {
    ...systemClock,
    monotonicMs: () => now,
    sleep: async (ms) => {
      now += ms;
    },
  };
}

describe('trouble of the file or its disk', () => {
  it.each([
    ['SQLITE_FULL', 'the disk of the store is full (SQLITE_FULL)', 'make room'],
    ['SQLITE_IOERR_WRITE', 'the disk of the store fails (SQLITE_IOERR_WRITE)', 'log of the system'],
    ['SQLITE_READONLY_DBMOVED', 'the store cannot be written (SQLITE_READONLY_DBMOVED)', 'may write'],
    ['SQLITE_CANTOPEN', 'a file of the store cannot be opened (SQLITE_CANTOPEN)', 'ulimit -n'],
    ['SQLITE_BUSY_RECOVERY', 'another process holds the lock of the store (SQLITE_BUSY_RECOVERY)', 'fuser'],
  ])('%s is told as: %s', (code, message, fix) => {
    const cause = sqliteError(code);
    const error = toStoreError(cause);
    expect(error).toBeInstanceOf(StoreUnavailableError);
    expect(error).toMatchObject({ message, cause, retry: true, retryAfterMs: 1000 });
    expect(error).toMatchObject({ fix: expect.stringContaining(fix) });
  });

  it.each([sqliteError('SQLITE_CONSTRAINT_CHECK'), sqliteError('SQLITE_CORRUPT'), new Error('a mistake'), 'a text'])(
    'is not: %s',
    (error) => {
      expect(toStoreError(error)).toBe(error);
    },
  );

  it('reaches every write that shared the commit', async () => {
    const queue = createCommitQueue({
      begin: async () => {},
      commit: async () => {
        throw sqliteError('SQLITE_FULL');
      },
      rollback: () => {},
      isOpen: () => true,
    });
    const writes = [queue.write(() => 1), queue.write(() => 2)];
    for (const write of writes) await expect(write).rejects.toThrow(StoreUnavailableError);
  });

  it('is a lock that another process has held for 10 seconds', async () => {
    const cause = sqliteError('SQLITE_BUSY');
    let attempts = 0;
    const waiting = retryWhileBusy(createJumpingClock(), () => {
      attempts++;
      throw cause;
    });
    await expect(waiting).rejects.toThrow(StoreUnavailableError);
    await expect(waiting).rejects.toThrow('another process has held the lock of the store for 10000 ms');
    await expect(waiting).rejects.toMatchObject({ cause, fix: expect.stringContaining('fuser') });
    expect(attempts).toBeGreaterThan(100);
  });

  it.runIf(process.platform === 'linux')(
    'is a disk that takes no more bytes: writes are refused, what was taken before can be read',
    async () => {
      const child = startChild('fill', join(temporaryFolder(), 'mesh-ca.db'), { largestFileKiB: 400 });
      expect(await child.ended()).toBe(0);
      expect(child.lines).toEqual([
        'ERR_STORE_UNAVAILABLE the disk of the store fails (SQLITE_IOERR_WRITE)',
        'all that was taken is there',
      ]);
    },
  );
});
