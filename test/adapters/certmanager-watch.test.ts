import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Failure, FailureKind } from '../../adapters/certmanager/failure.ts';
import { createFollowers } from '../../adapters/certmanager/followers.ts';
import { listRequests } from '../../adapters/certmanager/list-requests.ts';
import type { CertificateRequest } from '../../adapters/certmanager/replies.ts';
import { createWatchHealth } from '../../adapters/certmanager/watch-health.ts';
import { readWatchLine } from '../../adapters/certmanager/watch-line.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { live } from '../conformance/issuer.ts';
import { createFakeClock, TEST_START } from '../conformance/issuer-deps.ts';

const failure = (kind: FailureKind): Failure => ({ kind, message: kind, fix: 'none' });

function requestOf(name: string, version: string): CertificateRequest {
  return { metadata: { name, resourceVersion: version, labels: null, annotations: null }, spec: { request: '' } };
}

describe('waiting for the watch', () => {
  function start() {
    const clock = createFakeClock(TEST_START);
    const health = createWatchHealth(
      { clock, random: { bytes: Buffer.alloc, uniform: () => 0 }, log: silentLog },
      'one',
    );
    let told = 'waits';
    health.untilGood(live().signal).then(
      () => {
        told = 'good';
      },
      (error: Error) => {
        told = error.message;
      },
    );
    const fail = async (ms: number, kind: FailureKind) => {
      clock.advance(ms);
      health.noteFailure(failure(kind));
      await new Promise((resolve) =>
        queueMicrotask(() => queueMicrotask(() => queueMicrotask(() => resolve(undefined)))),
      );
      return told;
    };
    return { health, fail, told: () => told };
  }

  it('goes on while the server is away for a moment, and is told when it stays away', async () => {
    const { fail } = start();
    expect(await fail(0, 'unreachable')).toBe('waits');
    expect(await fail(9_000, 'unreachable')).toBe('waits');
    expect(await fail(1_000, 'unreachable')).toBe('unreachable');
  });

  it('is not told what a server says that has just come back, however long it was away', async () => {
    const { fail, health, told } = start();
    expect(await fail(0, 'unreachable')).toBe('waits');
    expect(await fail(30_000, 'unreachable')).toBe('unreachable');
    const late = health.untilGood(live().signal);
    await fail(100, 'forbidden');
    health.noteGood();
    await late;
    expect(told()).toBe('unreachable');
  });

  it('is told at once what a server refuses that was not away', async () => {
    const { fail } = start();
    expect(await fail(0, 'forbidden')).toBe('forbidden');
  });

  it('is told the second failure of a server that answers', async () => {
    const { fail } = start();
    expect(await fail(0, 'server')).toBe('waits');
    expect(await fail(100, 'server')).toBe('server');
  });

  it('grows between attempts to 1.5 s, or as long as the server says, at most half a minute', () => {
    const { health } = start();
    const pauses = Array.from({ length: 12 }, () => {
      health.noteFailure(failure('server'));
      return health.pauseMs(failure('server'));
    });
    expect(pauses.slice(0, 3)).toEqual([50, 100, 200]);
    expect(pauses.at(-1)).toBe(750);
    expect(health.pauseMs({ ...failure('rate-limited'), retryAfterMs: 4_000 })).toBe(4_000);
    expect(health.pauseMs({ ...failure('rate-limited'), retryAfterMs: 4_000_000 })).toBe(30_000);
  });
});

describe('a line of the watch', () => {
  it.each([
    ['no JSON', '<html>', { kind: 'over', mustList: true, failure: { kind: 'malformed' } }],
    ['no event', '{}', { kind: 'over', mustList: true }],
    ['410', '{"type":"ERROR","object":{"code":410}}', { kind: 'over', mustList: true, failure: { kind: 'expired' } }],
    ['500', '{"type":"ERROR","object":{"code":500}}', { kind: 'over', mustList: false, failure: { kind: 'server' } }],
    ['a bookmark', '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}', { version: '7' }],
    ['an object of another form', '{"type":"ADDED","object":{"metadata":{"name":7}}}', { kind: 'unreadable' }],
    ['a new object', lineOf('ADDED'), { kind: 'changed', version: '5' }],
    ['the end of an object', lineOf('DELETED'), { kind: 'deleted', name: 'one', version: '5' }],
  ])('is understood: %s', (_name, line, expected) => {
    expect(readWatchLine(line)).toMatchObject(expected);
  });

  it('never makes the watch fail otherwise, whatever it is', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (line) => void readWatchLine(line)));
  });

  function lineOf(type: string): string {
    return JSON.stringify({ type, object: requestOf('one', '5') });
  }
});

describe('a list of all requests', () => {
  it('is read page by page, and tells who is gone', async () => {
    const pages = [[requestOf('a', '1')], [requestOf('b', '2')], []];
    const asked: (string | undefined)[] = [];
    const client = {
      async list({ schema, continueToken }: Parameters<Parameters<typeof listRequests>[0]['list']>[0]) {
        asked.push(continueToken);
        const items = pages[asked.length - 1] ?? [];
        const token = asked.length < pages.length ? String(asked.length) : '';
        return { ok: true, value: schema.parse({ metadata: { resourceVersion: '9', continue: token }, items }) };
      },
    } as Parameters<typeof listRequests>[0];
    const strangers: string[] = [];
    const followers = createFollowers(({ name }) => strangers.push(name));
    const heard: string[] = [];
    for (const name of ['b', 'gone', 'not-yet']) {
      const follow = followers.follow(name, (request) => heard.push(`${name} ${request?.metadata.resourceVersion}`));
      if (name !== 'not-yet') follow.created();
    }
    const take = followers.expectList();
    const listed = await listRequests(client, 'all', { signal: live().signal, timeoutMs: 1_000 });
    if (!listed.ok) throw new Error(listed.failure.message);
    expect([asked, listed.value.version]).toEqual([[undefined, '1', '2'], '9']);
    expect(take(listed.value.items)).toBe(true);
    expect([heard, strangers]).toEqual([['b 2', 'gone undefined'], ['a']]);
    expect(followers.expectList()([requestOf('b', '2')])).toBe(true);
  });
});
