import { beforeEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/runtime/log.ts';
import { writeBundle } from '../../src/trust/bundle-formats.ts';
import { BundleWaits } from '../../src/trust/bundle-waits.ts';
import { bundleBody, readBundle } from '../../src/trust/trust-bundle.ts';
import { createFakeClock, type FakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { passTime, settle } from '../support/pass-time.ts';
import { caDer, createTrustWorld, live, MESH } from './trust-world.ts';

const LONG_MS = 300_000;
let clock: FakeClock;
let waits: BundleWaits;
beforeEach(() => {
  clock = createFakeClock(TEST_START);
  waits = new BundleWaits(clock, silentLog);
});

/** What each wait came to, in order. */
function begin(count: number, options: { mesh?: string; endsAtMs?: number; signal?: AbortSignal } = {}) {
  const { mesh = 'm', endsAtMs = LONG_MS, signal } = options;
  const over: boolean[] = [];
  const all = Array.from({ length: count }, () => waits.begin(mesh, endsAtMs, signal ?? new AbortController().signal));
  for (const wait of all) void wait.over.then((hasChanged) => over.push(hasChanged));
  return { over, all };
}
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe('waits for a bundle', () => {
  it('end by a change in their mesh and in no other', async () => {
    const [mine, other] = [begin(2), begin(1, { mesh: 'other' })];
    waits.wake('m');
    await settle();
    expect([mine.over, other.over]).toEqual([[true, true], []]);
  });

  it('by the thousand are woken in turn, all of them, and leave nothing behind', async () => {
    const { over } = begin(10_000);
    waits.wake('m');
    await settle();
    expect(over.length).toBeLessThan(10_000);
    await passTime(clock, 200);
    expect([over, clock.pending]).toEqual([times(10_000, true), 0]);
  });

  it('end without a change when their time is over, not before', async () => {
    const { over } = begin(1, { endsAtMs: 30_000 });
    const late = begin(1);
    await passTime(clock, 29_950);
    expect(over).toEqual([]);
    await passTime(clock, 150);
    expect([over, late.over]).toEqual([[false], []]);
  });

  it('end when who waits is gone', async () => {
    const gone = new AbortController();
    const [mine, other] = [begin(1, { signal: gone.signal }), begin(1)];
    gone.abort();
    await settle();
    expect([mine.over, other.over]).toEqual([[false], []]);
  });

  it('that come too late are over at once', async () => {
    const { over } = begin(1, { endsAtMs: 0 });
    const gone = begin(1, { signal: AbortSignal.abort() });
    await settle();
    expect([over, gone.over, clock.pending]).toEqual([[false], [false], 0]);
  });

  it('all end when the server drains, also those that are being woken and those to come', async () => {
    const woken = begin(2_000);
    waits.wake('m');
    const waiting = begin(10);
    waits.endAll();
    const late = begin(1);
    for (let turn = 0; turn < 10; turn += 1) await settle();
    expect([woken.over, waiting.over, late.over]).toEqual([times(2_000, true), times(10, false), [false]]);
    expect(clock.pending).toBe(0);
  });

  it('that were ended by their owner cost nothing more', async () => {
    const { over, all } = begin(3);
    for (const { end } of all) {
      end();
      end();
    }
    waits.wake('m');
    await passTime(clock, 100);
    expect([over, clock.pending]).toEqual([times(3, false), 0]);
  });
});

describe('a held poll', () => {
  it('is answered once the version differs, also when that came before it waited', async () => {
    const world = await createTrustWorld(clock);
    world.upstream.up.roots = [await caDer('old')];
    const one = world.start();
    await world.put({ name: 'a', type: 'up' });
    expect(await one.version()).toBe(1);
    const polls = Array.from({ length: 100 }, () => one.bundles.waitForChange(MESH, 1, LONG_MS, live()));
    await one.bundles.learn(MESH, 'a', [await caDer('new')], live());
    expect(new Set((await Promise.all(polls)).map((bundle) => bundle?.version))).toEqual(new Set([2]));
    expect((await one.bundles.waitForChange(MESH, 1, LONG_MS, live()))?.version).toBe(2);
    await one.close();
  });

  it('of a mesh that is deleted hears that it is gone', async () => {
    const world = await createTrustWorld(clock);
    world.upstream.up.roots = [await caDer('old')];
    const one = world.start();
    await world.put({ name: 'a', type: 'up' });
    await one.version();
    const poll = one.bundles.waitForChange(MESH, 1, LONG_MS, live());
    await world.store.deleteMesh(MESH);
    await expect(poll).rejects.toThrow('mesh "m" not found');
    await one.close();
  });

  it('is not woken by what leaves the bundle as it is', async () => {
    const world = await createTrustWorld(clock);
    world.upstream.up.roots = [await caDer('old')];
    const one = world.start();
    await world.put({ name: 'a', type: 'up' });
    await one.version();
    const poll = one.bundles.waitForChange(MESH, 1, 60_000, live());
    await world.putSecret('unrelated', 'x');
    one.tellUnknown();
    await passTime(clock, 60_100);
    expect(await poll).toBe(undefined);
    await one.close();
  });
});

describe('the text of a bundle', () => {
  it('is of that bundle, in each format, however often it is written', async () => {
    const bundleOf = async (name: string, version: number) =>
      readBundle('m', version, bundleBody(new Map([['a', [await caDer(name)]]])));
    const [one, other] = [await bundleOf('one', 1), await bundleOf('other', 2)];
    const both = (format: Parameters<typeof writeBundle>[1]) =>
      [one, other, one, other].map((bundle) => writeBundle(bundle, format));
    expect(both('application/x-pem-file')).toEqual([one.pem, other.pem, one.pem, other.pem]);
    const versions = both('application/json').map((text) => JSON.parse(text).version);
    expect(versions).toEqual(['1', '2', '1', '2']);
    const sequences = both('application/spiffe+json').map((text) => JSON.parse(text).spiffe_sequence);
    expect(sequences).toEqual([1, 2, 1, 2]);
  });
});
