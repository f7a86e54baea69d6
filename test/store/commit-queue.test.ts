import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../src/issuer/errors.ts';
import { type CommitPort, createCommitQueue } from '../../src/store/sql/commit-queue.ts';

/** A disk that commits when told to, or at once when `free`. */
function createPort({ free = true } = {}) {
  const state = { commits: 0, rollbacks: 0, open: false, failBegin: false, failCommit: false };
  let finish: () => void = () => {};
  const port: CommitPort = {
    async begin() {
      if (state.failBegin) throw new Error('no lock');
      state.open = true;
    },
    async commit() {
      if (!free)
        await new Promise<void>((resolve) => {
          finish = resolve;
        });
      if (state.failCommit) throw new Error('disk full');
      state.open = false;
      state.commits++;
    },
    rollback() {
      state.open = false;
      state.rollbacks++;
    },
    isOpen: () => state.open,
  };
  return { port, state, finishCommit: () => finish() };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('the commit queue', () => {
  it('commits what is called in one go at once, and gathers what comes while the disk is at work', async () => {
    const { port, state, finishCommit } = createPort({ free: false });
    const queue = createCommitQueue(port);
    const first = [queue.write(() => 1), queue.write(() => 2)];
    await turn();
    const later = Array.from({ length: 100 }, (_, i) => queue.write(() => i));
    await turn();
    finishCommit();
    expect(await Promise.all(first)).toEqual([1, 2]);
    await turn();
    expect(state.commits).toBe(1);
    finishCommit();
    expect(await Promise.all(later)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect(state.commits).toBe(2);
  });

  it('puts no more than 512 into one commit', async () => {
    const { port, state } = createPort();
    const queue = createCommitQueue(port);
    await Promise.all(Array.from({ length: 1025 }, () => queue.write(() => {})));
    expect(state.commits).toBe(3);
  });

  it('refuses the 10,001st waiting write, with a time to come back, and keeps the others', async () => {
    const { port } = createPort();
    const queue = createCommitQueue(port);
    const writes = Array.from({ length: 10_000 }, (_, i) => queue.write(() => i));
    const refused = queue.write(() => -1);
    await expect(refused).rejects.toThrow(StoreUnavailableError);
    await expect(refused).rejects.toThrow('10000 writes are waiting');
    await expect(refused).rejects.toMatchObject({ retry: true, retryAfterMs: 1000 });
    expect((await Promise.all(writes)).at(-1)).toBe(9999);
    expect(await queue.write(() => 'again')).toBe('again');
  });

  it('runs in the order of calls and tells each what is durable before its promise resolves', async () => {
    const { port, state } = createPort();
    const queue = createCommitQueue(port);
    const events: string[] = [];
    const write = (name: string) =>
      queue
        .write(
          () => events.push(`run ${name} after ${state.commits} commits`),
          () => events.push(`told ${name} after ${state.commits} commits`),
        )
        .then(() => events.push(`resolved ${name}`));
    await Promise.all([write('a'), write('b')]);
    expect(events).toEqual([
      'run a after 0 commits',
      'run b after 0 commits',
      'told a after 1 commits',
      'told b after 1 commits',
      'resolved a',
      'resolved b',
    ]);
  });

  it('rejects only the call whose own work throws', async () => {
    const { port, state } = createPort();
    const queue = createCommitQueue(port);
    const told: string[] = [];
    const bad = queue.write(
      () => {
        throw new Error('conflict');
      },
      () => told.push('bad'),
    );
    const good = queue.write(
      () => 'good',
      () => told.push('good'),
    );
    await expect(bad).rejects.toThrow('conflict');
    expect(await good).toBe('good');
    expect([told, state.commits, state.rollbacks]).toEqual([['good'], 1, 0]);
  });

  it('rejects all of a commit when an error has ended its transaction, and goes on with the next', async () => {
    const { port, state } = createPort();
    const queue = createCommitQueue(port);
    const good = queue.write(() => 'good');
    const fatal = queue.write(() => {
      state.open = false;
      throw new Error('disk I/O error');
    });
    expect((await Promise.allSettled([good, fatal])).map((result) => result.status)).toEqual(['rejected', 'rejected']);
    expect(await queue.write(() => 'next')).toBe('next');
  });

  it.each(['failBegin', 'failCommit'] as const)('rejects all, tells nobody and rolls back on %s', async (failure) => {
    const { port, state } = createPort();
    const queue = createCommitQueue(port);
    state[failure] = true;
    const told: number[] = [];
    const writes = [1, 2].map((i) =>
      queue.write(
        () => i,
        (each) => told.push(each),
      ),
    );
    for (const write of writes) await expect(write).rejects.toThrow(/no lock|disk full/);
    expect([told, state.rollbacks]).toEqual([[], 1]);
    state[failure] = false;
    expect(await queue.write(() => 'next')).toBe('next');
  });

  it('finishes what it has taken when it is closed, and takes no more', async () => {
    const { port, finishCommit } = createPort({ free: false });
    const queue = createCommitQueue(port);
    const write = queue.write(() => 'done');
    let closed = false;
    const closing = queue.close().then(() => {
      closed = true;
    });
    await turn();
    await expect(queue.write(() => 'late')).rejects.toThrow('the store is closed');
    expect(closed).toBe(false);
    finishCommit();
    expect(await write).toBe('done');
    await closing;
  });
});
