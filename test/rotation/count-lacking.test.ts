import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLastSeen, type LastSeen } from '../../src/issuance/last-seen.ts';
import { createCountLacking } from '../../src/rotation/count-lacking.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import type { Store } from '../../src/store/store.ts';
import type { CountLacking } from '../../src/trust/root-gate.ts';
import { createFakeClock, type FakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { calm } from './rotation-world.ts';

const ONLINE_FOR_MS = 60_000;

let clock: FakeClock;
let store: Store;
let lastSeen: LastSeen;
let lacking: CountLacking;

const start = () => {
  lastSeen = createLastSeen(clock);
  lacking = createCountLacking({ store, lastSeen, clock, onlineForMs: ONLINE_FOR_MS });
};
const count = (version: number, mesh = 'default') => lacking(mesh, version, calm());
const state = (dataplane: string, bundleVersion: number, mesh = 'default') =>
  store.recordTrustStatement({ mesh, dataplane, bundleVersion, statedAt: clock.now() });

beforeEach(async () => {
  clock = createFakeClock(TEST_START);
  store = createMemoryStore({ clock });
  for (const name of ['default', 'other']) await store.putResource({ type: 'Mesh', mesh: '', name, body: '{}' });
  start();
});
afterEach(() => store.close());

describe('who lacks a version of the bundle', () => {
  it('is everybody online who said before that it holds an older one', async () => {
    await state('web-1', 6);
    await state('web-2', 7);
    await state('web-3', 8);
    await state('web-4', 6, 'other');
    expect(await count(7)).toBe(1);
    expect(await count(8)).toBe(2);
    expect(await count(6)).toBe(0);
    await state('web-1', 7);
    expect(await count(7)).toBe(0);
  });

  it('is nobody who has never said what it holds', async () => {
    lastSeen.note('default', 'web-1');
    expect(await count(7)).toBe(0);
  });

  it('is nobody who is offline, and everybody who asks or holds a poll', async () => {
    for (const name of ['web-1', 'web-2', 'web-3']) await state(name, 6);
    const release = lastSeen.hold('default', 'web-3');
    clock.advance(ONLINE_FOR_MS - 1);
    expect(await count(7)).toBe(3);
    clock.advance(1);
    expect(await count(7)).toBe(1);
    lastSeen.note('default', 'web-2');
    lastSeen.note('other', 'web-1');
    expect(await count(7)).toBe(2);
    release();
    clock.advance(ONLINE_FOR_MS);
    expect(await count(7)).toBe(0);
  });

  it('is nobody who was not heard of since the start', async () => {
    await state('web-1', 6);
    await state('web-2', 6);
    clock.advance(1_000);
    start();
    expect(await count(7)).toBe(0);
    lastSeen.note('default', 'web-1');
    expect(await count(7)).toBe(1);
    clock.advance(ONLINE_FOR_MS / 2);
    await state('web-2', 6);
    expect(await count(7)).toBe(2);
  });

  it('is not told to who no longer waits', async () => {
    const stop = new AbortController();
    stop.abort(new Error('too late'));
    await expect(lacking('default', 7, { signal: stop.signal })).rejects.toThrow('too late');
  });
});
