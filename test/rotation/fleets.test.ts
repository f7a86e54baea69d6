import { describe, expect, it } from 'vitest';
import { createLastSeen } from '../../src/issuance/last-seen.ts';
import { IssuerUnavailableError, NotFoundError } from '../../src/issuer/errors.ts';
import { BundleVersions } from '../../src/rotation/bundle-versions.ts';
import { Fleets } from '../../src/rotation/fleets.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import type { CertificateRecord, Store } from '../../src/store/store.ts';
import { createHolders } from '../../src/trust/holders.ts';
import { readBundle } from '../../src/trust/trust-bundle.ts';
import { createFakeClock, type FakeClock } from '../conformance/issuer-deps.ts';
import { buildRecord } from '../conformance/store.ts';
import { type BundleSpec, bodyOf, READ_AT, rootHash } from './build-fleet.ts';

const ONLINE_MS = 300_000;
const SETTLE_MS = 30_000;
const BUNDLES: readonly BundleSpec[] = [{ 'ca-1': ['a'] }, { 'ca-1': ['a'], 'vault-1': ['b'] }];

interface Given {
  readonly clock?: FakeClock;
  readonly store?: Store;
  readonly bundles?: readonly BundleSpec[];
}

/** A mesh `default` in a memory store, read by a process that starts now. */
async function startFleet({ clock = createFakeClock(READ_AT), store: given, bundles = BUNDLES }: Given = {}) {
  const store = given ?? createMemoryStore({ clock });
  if (given === undefined) {
    await store.putResource({ type: 'Mesh', mesh: '', name: 'default', body: '{}' });
    for (const [index, spec] of bundles.entries()) await store.appendTrustBundle('default', bodyOf(spec), index);
  }
  const holders = createHolders({ store, clock, log: silentLog });
  const lastSeen = createLastSeen(clock);
  const world = {
    ...{ clock, store, holders, lastSeen },
    /** What asking for the bundle answers; default: the newest in the store. */
    failure: undefined as Error | undefined,
    signal: new AbortController().signal,
    read: () => fleets.read('default', { signal: world.signal }),
    async member(name: string) {
      return (await world.read()).members.find(({ dataplane }) => dataplane === name);
    },
    ago: (ms: number) => new Date(clock.now().getTime() - ms),
    async record(dataplane: string, changes: Partial<CertificateRecord> = {}) {
      const issuedAt = clock.now();
      const notAfter = new Date(issuedAt.getTime() + 24 * 3_600_000);
      await store.recordCertificate(buildRecord({ dataplane, issuedAt, notAfter, ...changes }));
    },
    /** The same store, in a process that starts now. */
    restart: () => startFleet({ clock, store }),
  };
  const get = async (mesh: string) => {
    if (world.failure !== undefined) throw world.failure;
    const stored = await store.getTrustBundle(mesh);
    return readBundle(mesh, stored?.version ?? 0, stored?.body ?? '[]');
  };
  const options = { store, holders, lastSeen, clock, bundles: { get }, onlineForMs: ONLINE_MS, settleMs: SETTLE_MS };
  const fleets = new Fleets(options);
  return world;
}

describe('who belongs to the fleet', () => {
  it('has a certificate, said something, or asked for something; sorted, each once, nobody of another mesh', async () => {
    const { record, holders, lastSeen, store, read } = await startFleet();
    await store.putResource({ type: 'Mesh', mesh: '', name: 'other', body: '{}' });
    await store.putResource({ type: 'Dataplane', mesh: 'default', name: 'only-registered', body: '{}' });
    lastSeen.note('default', 'a-asked');
    lastSeen.note('default', 'z-all');
    lastSeen.note('other', 'elsewhere');
    await holders.accepted('default', 'm-said', 1);
    await holders.accepted('default', 'z-all', 1);
    await record('b-holds');
    await record('z-all');
    await record('elsewhere', { mesh: 'other' });
    expect((await read()).members.map(({ dataplane }) => dataplane)).toEqual(['a-asked', 'b-holds', 'm-said', 'z-all']);
  });

  it('is not the identity of test certificates', async () => {
    const { record, lastSeen, read } = await startFleet();
    await record('mesh-ca-test');
    lastSeen.note('default', 'mesh-ca-test');
    expect((await read()).members).toEqual([]);
  });

  it('is gone when it was forgotten', async () => {
    const { record, store, lastSeen, holders, read } = await startFleet();
    await record('web');
    lastSeen.note('default', 'web');
    await store.forgetDataplane('default', 'web');
    lastSeen.forget('default', 'web');
    holders.forget('default', 'web');
    expect((await read()).members).toEqual([]);
  });
});

describe('a data plane is online', () => {
  it.each([
    ['it asked for anything', async ({ lastSeen }: World) => lastSeen.note('default', 'web')],
    ['it got a certificate', async ({ record }: World) => record('web')],
    ['it said which bundle it holds', async ({ holders }: World) => holders.accepted('default', 'web', 1)],
  ])('for dataplaneOnlineFor after %s', async (_, act) => {
    const world = await startFleet();
    world.clock.advance(ONLINE_MS);
    await act(world);
    world.clock.advance(ONLINE_MS - 1);
    expect(await world.member('web')).toMatchObject({ online: true, unheard: false });
    world.clock.advance(1);
    expect(await world.member('web')).toMatchObject({ online: false, unheard: false });
  });

  it('for as long as it holds a poll or a stream', async () => {
    const { lastSeen, clock, member } = await startFleet();
    const release = lastSeen.hold('default', 'web');
    clock.advance(10 * ONLINE_MS);
    expect(await member('web')).toMatchObject({ online: true, unheard: false });
    release();
    clock.advance(ONLINE_MS);
    expect(await member('web')).toMatchObject({ online: false });
  });
});

describe('after a start', () => {
  it.each([
    ['was heard of long before', 10 * ONLINE_MS],
    ['was heard of just before', 1000],
  ])(
    'a data plane with an unexpired certificate that %s counts as online and unheard for dataplaneOnlineFor',
    async (_, beforeMs) => {
      const before = await startFleet();
      await before.record('web');
      before.clock.advance(beforeMs);
      const { clock, member } = await before.restart();
      clock.advance(ONLINE_MS - 1);
      expect(await member('web')).toMatchObject({ online: true, unheard: true });
      clock.advance(1);
      expect(await member('web')).toMatchObject({ online: false, unheard: false });
    },
  );

  it('it is heard of as soon as it asks, states, or gets a certificate, also from another process', async () => {
    const before = await startFleet();
    for (const name of ['a', 'b', 'c', 'd']) await before.record(name);
    before.clock.advance(10 * ONLINE_MS);
    const { lastSeen, store, record, clock, read } = await before.restart();
    lastSeen.note('default', 'a');
    await store.recordTrustStatement({ mesh: 'default', dataplane: 'b', bundleVersion: 1, statedAt: clock.now() });
    await record('c');
    const unheard = (await read()).members.map(({ dataplane, unheard }) => [dataplane, unheard]);
    expect(unheard).toEqual([
      ['a', false],
      ['b', false],
      ['c', false],
      ['d', true],
    ]);
  });

  it('one whose certificate has expired, or that has none, is offline', async () => {
    const before = await startFleet();
    await before.record('expired', { notAfter: new Date(READ_AT.getTime() + ONLINE_MS) });
    await before.holders.accepted('default', 'none', 1);
    before.clock.advance(ONLINE_MS);
    const { read } = await before.restart();
    expect((await read()).members).toMatchObject([
      { dataplane: 'expired', online: false, unheard: false, certificate: undefined },
      { dataplane: 'none', online: false, unheard: false },
    ]);
  });
});

describe('what a data plane holds', () => {
  it('is the bundle that it said last, with the roots of that version, whatever the present one is', async () => {
    const { holders, read } = await startFleet();
    await holders.accepted('default', 'new', 2);
    await holders.accepted('default', 'old', 1);
    await holders.accepted('default', 'fell-back', 2);
    await holders.accepted('default', 'fell-back', 1);
    const { members } = await read();
    const [a, b] = [rootHash('a'), rootHash('b')];
    expect(members.map(({ heldVersion, heldRoots }) => [heldVersion, [...heldRoots].sort()])).toEqual([
      [1, [a]],
      [2, [a, b].sort()],
      [1, [a]],
    ]);
    const [first, , last] = members;
    expect(first?.heldRoots).toBe(last?.heldRoots);
  });

  it('is nothing when it never said so, or names a version that there never was', async () => {
    const { store, lastSeen, clock, read } = await startFleet();
    lastSeen.note('default', 'silent');
    await store.recordTrustStatement({
      mesh: 'default',
      dataplane: 'strange',
      bundleVersion: 9,
      statedAt: clock.now(),
    });
    const { members } = await read();
    expect(members.map(({ heldVersion, heldRoots }) => [heldVersion, heldRoots.size])).toEqual([
      [undefined, 0],
      [9, 0],
    ]);
  });

  it('comes with what it refused', async () => {
    const { holders, lastSeen, member } = await startFleet();
    lastSeen.note('default', 'web');
    holders.refused('default', 'web', { what: 'trust bundle', version: '2', message: 'no' });
    expect((await member('web'))?.refusal).toMatchObject({ version: '2', message: 'no' });
  });

  it('is its certificate until that has expired', async () => {
    const { record, clock, member } = await startFleet();
    await record('web', { notAfter: new Date(READ_AT.getTime() + 1000), rootHashes: ['aa'], serialNumber: '0b' });
    clock.advance(999);
    expect((await member('web'))?.certificate).toMatchObject({ rootHashes: ['aa'], serialNumber: '0b' });
    clock.advance(1);
    expect((await member('web'))?.certificate).toBeUndefined();
  });
});

describe('a certificate is in use', () => {
  const inUse = async (world: World) => (await world.member('web'))?.certificate?.inUse;

  it('over HTTP, rotationSettle after it was answered', async () => {
    const world = await startFleet();
    await world.record('web');
    world.clock.advance(SETTLE_MS - 1);
    expect(await inUse(world)).toBe(false);
    world.clock.advance(1);
    expect(await inUse(world)).toBe(true);
  });

  it('over HTTP, at once when its data plane sends it as current', async () => {
    const world = await startFleet();
    await world.record('web', { serialNumber: '02' });
    world.holders.uses('default', 'web', '02');
    expect(await inUse(world)).toBe(true);
  });

  it('over HTTP, rotationSettle after its data plane said last that it uses another one', async () => {
    const world = await startFleet();
    await world.record('web', { serialNumber: '02' });
    world.clock.advance(SETTLE_MS);
    world.holders.uses('default', 'web', '01');
    expect(await inUse(world)).toBe(false);
    world.clock.advance(SETTLE_MS);
    expect(await inUse(world)).toBe(true);
  });

  it('over SDS, once it was acknowledged, however long that takes', async () => {
    const world = await startFleet();
    await world.record('web', { serialNumber: '02' });
    world.holders.sent('default', 'web', '02');
    world.clock.advance(10 * SETTLE_MS);
    expect(await inUse(world)).toBe(false);
    world.holders.uses('default', 'web', '02');
    expect(await inUse(world)).toBe(true);
  });

  it('over SDS, not while it has not even been sent', async () => {
    const world = await startFleet();
    world.holders.sent('default', 'web', '01');
    world.holders.uses('default', 'web', '01');
    await world.record('web', { serialNumber: '02' });
    world.clock.advance(10 * SETTLE_MS);
    expect(await inUse(world)).toBe(false);
  });
});

describe('the certificate before, while nobody knows whether the newest is in use,', () => {
  const certificateBefore = async (world: World) => (await world.member('web'))?.certificate?.before;
  const settle = (world: World) => world.clock.advance(SETTLE_MS);

  it('is the one that it was seen to use, at every reading until the newest is in use', async () => {
    const world = await startFleet();
    await world.record('web', { serialNumber: '01', backend: 'ca-1' });
    settle(world);
    expect(await certificateBefore(world)).toBeUndefined();
    await world.record('web', { serialNumber: '02', backend: 'vault-1' });
    expect(await certificateBefore(world)).toMatchObject({ serialNumber: '01', backend: 'ca-1' });
    expect(await certificateBefore(world)).toMatchObject({ serialNumber: '01' });
    settle(world);
    expect(await world.member('web')).toMatchObject({ certificate: { inUse: true, before: undefined } });
    await world.record('web', { serialNumber: '03', backend: 'vault-1' });
    expect(await certificateBefore(world)).toMatchObject({ serialNumber: '02', backend: 'vault-1' });
  });

  it('is the one that it acknowledged, over SDS', async () => {
    const world = await startFleet();
    for (const serialNumber of ['01', '02']) {
      await world.record('web', { serialNumber });
      world.holders.sent('default', 'web', serialNumber);
      if (serialNumber === '01') world.holders.uses('default', 'web', serialNumber);
      await world.read();
    }
    settle(world);
    expect(await certificateBefore(world)).toMatchObject({ serialNumber: '01' });
  });

  it.each<[string, (world: World) => Promise<unknown>]>([
    ['was never seen to be in use', async () => {}],
    [
      'was not the last: one in between was never seen to be in use',
      async (world) => {
        settle(world);
        await world.read();
        await world.record('web', { serialNumber: '02' });
      },
    ],
    [
      'was that of another data plane of the same name',
      async (world) => {
        settle(world);
        await world.read();
        await world.store.forgetDataplane('default', 'web');
      },
    ],
  ])('is unknown when it %s', async (_, act) => {
    const world = await startFleet();
    await world.record('web', { serialNumber: '01' });
    await act(world);
    await world.record('web', { serialNumber: '03' });
    expect(await world.member('web')).toMatchObject({ certificate: { inUse: false, before: undefined } });
  });

  it('is unknown after a start', async () => {
    const world = await startFleet();
    await world.record('web', { serialNumber: '01' });
    settle(world);
    await world.read();
    await world.record('web', { serialNumber: '02' });
    expect(await certificateBefore(await world.restart())).toBeUndefined();
  });
});

describe('the bundle', () => {
  it('comes with its version and those before it, newest first', async () => {
    const { read } = await startFleet();
    const { bundle, versions, readAt } = await read();
    expect(bundle.version).toBe(2);
    expect(versions.map(({ version, roots }) => [version, roots.size])).toEqual([
      [2, 2],
      [1, 1],
    ]);
    expect(versions.map(({ madeAt }) => madeAt)).toEqual([READ_AT, READ_AT]);
    expect(readAt).toEqual(READ_AT);
  });

  it('is the last one in the store when a backend does not tell its roots', async () => {
    const world = await startFleet();
    world.failure = new IssuerUnavailableError('vault is sealed');
    expect((await world.read()).bundle.version).toBe(2);
  });

  it('is empty when there never was one', async () => {
    const world = await startFleet({ bundles: [] });
    world.failure = new IssuerUnavailableError('vault is sealed');
    world.lastSeen.note('default', 'web');
    expect(await world.read()).toMatchObject({
      bundle: { version: 0, roots: [] },
      versions: [],
      members: [{ online: true }],
    });
  });

  it('is asked for: a mesh that is not there is told', async () => {
    const world = await startFleet();
    world.failure = new NotFoundError('mesh "default" not found');
    await expect(world.read()).rejects.toBe(world.failure);
  });

  it('is not read for who has given up', async () => {
    const world = await startFleet();
    const gone = new AbortController();
    world.signal = gone.signal;
    const reason = new Error('the caller went away');
    gone.abort(reason);
    await expect(world.read()).rejects.toBe(reason);
  });
});

describe('versions of bundles', () => {
  function countedVersions(most?: number) {
    const reads: number[] = [];
    const getTrustBundleVersion = async (mesh: string, version: number) => {
      reads.push(version);
      if (version > 30) return undefined;
      return { mesh, version, body: bodyOf({ 'ca-1': ['a'] }), createdAt: READ_AT };
    };
    return { reads, versions: new BundleVersions({ getTrustBundleVersion }, most) };
  }

  it('are read once', async () => {
    const { versions, reads } = countedVersions();
    await versions.upTo('m', 3);
    await versions.upTo('m', 4);
    await versions.get('m', 2);
    expect(reads).toEqual([3, 2, 1, 4]);
  });

  it('are told 16 back at most', async () => {
    const { versions } = countedVersions();
    const told = (await versions.upTo('m', 30)).map(({ version }) => version);
    expect(told).toEqual(Array.from({ length: 16 }, (_, i) => 30 - i));
  });

  it('are forgotten, the one not asked for longest first, when there are too many', async () => {
    const { versions, reads } = countedVersions(2);
    for (const version of [1, 2, 1, 3, 1, 2]) await versions.get('m', version);
    expect(reads).toEqual([1, 2, 3, 2]);
  });

  it('that never were are asked for again', async () => {
    const { versions, reads } = countedVersions();
    expect(await versions.get('m', 31)).toBeUndefined();
    expect(await versions.get('m', 31)).toBeUndefined();
    expect(reads).toEqual([31, 31]);
  });
});

type World = Awaited<ReturnType<typeof startFleet>>;
