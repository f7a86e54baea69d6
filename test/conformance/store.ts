import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConflictError, NotFoundError } from '../../src/issuer/errors.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import type {
  CertificateRecord,
  PutResource,
  ResourceKey,
  Store,
  StoreChange,
  TrustStatement,
} from '../../src/store/store.ts';

/** A clock whose `now` the test sets; sleeping is real. */
export interface TestClock extends Clock {
  set(iso: string): void;
}

function createTestClock(): TestClock {
  let now = new Date('2026-01-02T03:04:05.678Z');
  return {
    ...systemClock,
    now: () => new Date(now),
    set: (iso) => {
      now = new Date(iso);
    },
  };
}

const HASH = 'ab'.repeat(32);

/** The Mesh that `buildRecord` records for. */
export const DEFAULT_MESH: PutResource = { type: 'Mesh', mesh: '', name: 'default', body: '{}' };

/** A record with good values for all that a test does not care about. */
export function buildRecord(changes: Partial<CertificateRecord> = {}): CertificateRecord {
  return {
    mesh: 'default',
    dataplane: 'web-1',
    backend: 'ca-1',
    backendType: 'builtin',
    backendHash: HASH,
    identityHash: 'cd'.repeat(32),
    keyHash: 'ef'.repeat(32),
    leaf: Buffer.from([0x30, 0x82, 0x00, 0xff, 0x00]),
    chain: [],
    rootHashes: ['01'.repeat(32)],
    serialNumber: '0a1b2c',
    issuedAt: new Date('2026-01-02T03:04:05.678Z'),
    notBefore: new Date('2026-01-02T03:03:55.000Z'),
    notAfter: new Date('2026-02-01T03:04:05.000Z'),
    renewAt: new Date('2026-01-26T03:04:05.001Z'),
    ...changes,
  };
}

function buildStatement(changes: Partial<TrustStatement> = {}): TrustStatement {
  return { mesh: 'default', dataplane: 'web-1', bundleVersion: 1, statedAt: new Date(1000), ...changes };
}

const secret = (name: string, body = '{}', mesh = 'default'): PutResource => ({ type: 'Secret', mesh, name, body });
const mesh = (name: string): PutResource => ({ type: 'Mesh', mesh: '', name, body: '{}' });
const dataplane = (name: string, inMesh = 'default'): PutResource => ({
  ...secret(name, '{}', inMesh),
  type: 'Dataplane',
});

/** The one suite that decides whether an implementation is a store. `create` gives an empty one that takes its time from `clock`. */
export function testStore(name: string, create: (clock: Clock) => Promise<Store>): void {
  describe(`${name} keeps the store contract`, () => {
    let store: Store;
    const clock = createTestClock();

    beforeEach(async () => {
      clock.set('2026-01-02T03:04:05.678Z');
      store = await create(clock);
    });
    afterEach(() => store.close());

    describe('resources', () => {
      it('gives back what was put, at version 1 with the time of the clock', async () => {
        const put = await store.putResource({ ...secret('tls', '{"data":"c2VjcmV0"}'), owned: true });
        const now = new Date('2026-01-02T03:04:05.678Z');
        const expected = {
          ...secret('tls', '{"data":"c2VjcmV0"}'),
          version: 1,
          createdAt: now,
          modifiedAt: now,
          owned: true,
        };
        expect(put).toEqual(expected);
        expect(await store.getResource(put)).toEqual(expected);
      });

      it('answers undefined for a key that differs in any part', async () => {
        await store.putResource(secret('tls'));
        const keys: ResourceKey[] = [
          { type: 'Dataplane', mesh: 'default', name: 'tls' },
          { type: 'Secret', mesh: 'other', name: 'tls' },
          { type: 'Secret', mesh: 'default', name: 'TLS' },
        ];
        for (const key of keys) expect(await store.getResource(key)).toBeUndefined();
      });

      it('grows the version and keeps createdAt and owned when a resource is replaced', async () => {
        await store.putResource({ ...secret('tls', '1'), owned: true });
        clock.set('2026-01-03T00:00:00.001Z');
        const replaced = await store.putResource({ ...secret('tls', '2'), owned: false });
        expect(replaced).toMatchObject({ body: '2', version: 2, owned: true });
        expect(replaced.createdAt).toEqual(new Date('2026-01-02T03:04:05.678Z'));
        expect(replaced.modifiedAt).toEqual(new Date('2026-01-03T00:00:00.001Z'));
        expect(await store.getResource(replaced)).toEqual(replaced);
      });

      it.each([
        ['not there', 0, 0, true],
        ['not there', 0, 1, false],
        ['at version 2', 2, 2, true],
        ['at version 2', 2, 1, false],
        ['at version 2', 2, 3, false],
        ['at version 2', 2, 0, false],
      ])(
        'lets a resource that is %s (%i) be put with expectedVersion %i: %s',
        async (_, found, expectedVersion, allowed) => {
          for (let version = 0; version < found; version++) await store.putResource(secret('tls', 'before'));
          const put = store.putResource(secret('tls', 'after'), { expectedVersion });
          if (allowed) {
            expect(await put).toMatchObject({ version: found + 1, body: 'after' });
            return;
          }
          await expect(put).rejects.toThrow(ConflictError);
          await expect(put).rejects.toThrow(/^Secret default\/tls /);
          const is = found === 0 ? 'does not exist' : `version ${found}`;
          const wanted = expectedVersion === 0 ? 'should not exist' : `version ${expectedVersion} was expected`;
          await expect(put).rejects.toThrow(is);
          await expect(put).rejects.toThrow(wanted);
          const left = await store.getResource(secret('tls'));
          expect(left === undefined ? 0 : [left.version, left.body]).toEqual(found === 0 ? 0 : [found, 'before']);
        },
      );

      it('lets exactly one of 100 parallel puts with the same expectedVersion win', async () => {
        await store.putResource(secret('tls'));
        const puts = Array.from({ length: 100 }, (_, i) =>
          store.putResource(secret('tls', `${i}`), { expectedVersion: 1 }),
        );
        const results = await Promise.allSettled(puts);
        const won = results.filter((result) => result.status === 'fulfilled');
        expect(won).toHaveLength(1);
        expect(await store.getResource(secret('tls'))).toEqual(won[0]?.value);
        for (const result of results)
          if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(ConflictError);
      });

      it('counts 100 parallel puts of one key as 100 versions', async () => {
        const puts = await Promise.all(Array.from({ length: 100 }, () => store.putResource(secret('tls'))));
        expect(puts.map((put) => put.version).sort((a, b) => a - b)).toEqual(
          Array.from({ length: 100 }, (_, i) => i + 1),
        );
      });

      it('starts again at version 1 after a resource was deleted', async () => {
        await store.putResource(secret('tls'));
        await store.putResource(secret('tls'));
        expect(await store.deleteResource(secret('tls'))).toBe(true);
        expect(await store.getResource(secret('tls'))).toBeUndefined();
        expect(await store.deleteResource(secret('tls'))).toBe(false);
        expect(await store.putResource(secret('tls'))).toMatchObject({ version: 1 });
      });

      it.each([
        ['an empty text', ''],
        ['letters beyond ASCII', 'žluťoučký 日本語 \u{1f511} ‮'],
        ['NUL in the middle', 'before\0after'],
        ['quotes, backslashes and line ends', `"'\\\r\n\t; DROP TABLE resources; --`],
        ['what looks like a mark of encryption', 'enc:v1:00000000:AAAA'],
        ['a megabyte', 'x'.repeat(1 << 20)],
      ])('keeps %s byte for byte in body, mesh and name', async (_, text) => {
        const resource = { type: 'Secret', mesh: `m${text.slice(0, 99)}`, name: `n${text.slice(0, 99)}`, body: text };
        await store.putResource(resource);
        expect(await store.getResource(resource)).toMatchObject(resource);
        expect((await store.listResources({ type: 'Secret', mesh: resource.mesh })).items).toMatchObject([resource]);
      });

      it('refuses a key without type or name, and changes nothing', async () => {
        await expect(store.putResource(secret(''))).rejects.toThrow(TypeError);
        await expect(store.createResources([secret('a'), { ...secret('b'), type: '' }])).rejects.toThrow(TypeError);
        expect(await store.getResource(secret('a'))).toBeUndefined();
      });
    });

    describe('requires', () => {
      const writes: [string, (store: Store, requires: ResourceKey[]) => Promise<unknown>][] = [
        ['putResource', (store, requires) => store.putResource(secret('tls'), { requires })],
        ['createResources', (store, requires) => store.createResources([secret('tls'), secret('key')], { requires })],
      ];

      it.each(writes)('lets %s go through when all of it is there', async (_, write) => {
        await store.createResources([mesh('default'), secret('ca')]);
        await write(store, [mesh('default'), secret('ca')]);
        expect(await store.getResource(secret('tls'))).toMatchObject({ version: 1 });
        for (const key of [secret('tls'), secret('key')]) await store.deleteResource(key);
        await write(store, []);
        expect(await store.getResource(secret('tls'))).toMatchObject({ version: 1 });
      });

      it.each(
        writes.flatMap(([name, write]) => [
          { name, write, lacks: mesh('default'), message: 'there is no Mesh "default"' },
          { name, write, lacks: secret('ca'), message: 'there is no Secret "ca" in mesh "default"' },
          { name, write, lacks: secret('tls'), message: 'there is no Secret "tls" in mesh "default"' },
        ]),
      )('has $name refused: $message', async ({ write, lacks, message }) => {
        const required = [mesh('default'), secret('ca')];
        await store.createResources(required.filter((key) => key.name !== lacks.name || key.type !== lacks.type));
        const told: StoreChange[] = [];
        store.onChange((change) => told.push(change));
        const refused = write(store, [...required, secret('tls')]);
        await expect(refused).rejects.toThrow(NotFoundError);
        await expect(refused).rejects.toThrow(message);
        expect(await store.getResource(secret('tls'))).toBeUndefined();
        expect(await store.getResource(secret('key'))).toBeUndefined();
        expect(told).toEqual([]);
      });

      it('comes before expectedVersion and before keys that exist', async () => {
        await store.putResource(secret('tls', 'old'));
        const options = { requires: [mesh('default')], expectedVersion: 7 };
        await expect(store.putResource(secret('tls', 'new'), options)).rejects.toThrow(NotFoundError);
        await expect(store.createResources([secret('tls', 'new')], options)).rejects.toThrow(NotFoundError);
        await store.putResource(mesh('default'));
        await expect(store.putResource(secret('tls', 'new'), options)).rejects.toThrow(ConflictError);
        expect(await store.createResources([secret('tls', 'new')], options)).toBe(false);
        expect(await store.getResource(secret('tls'))).toMatchObject({ body: 'old', version: 1 });
      });

      it('stands in the order of calls: what was deleted before is missing, what was made before is there', async () => {
        await store.putResource(mesh('default'));
        const results = await Promise.allSettled([
          store.putResource(dataplane('before'), { requires: [mesh('default')] }),
          store.deleteMesh('default'),
          store.putResource(dataplane('between'), { requires: [mesh('default')] }),
          store.putResource(mesh('default')),
          store.putResource(dataplane('after'), { requires: [mesh('default')] }),
        ]);
        expect(results.map((result) => result.status === 'fulfilled')).toEqual([true, true, false, true, true]);
        expect((await store.listResources({ type: 'Dataplane' })).items.map((item) => item.name)).toEqual([
          'after',
          'before',
        ]);
      });
    });

    describe('deleteResource', () => {
      it('goes through while what was looked at is unchanged', async () => {
        await store.createResources([secret('tls'), secret('other')]);
        const seen = await store.putResource(mesh('default'));
        const other = await store.putResource(secret('other'));
        expect(await store.deleteResource(secret('tls'), { unchanged: [seen, other] })).toBe(true);
        expect(await store.getResource(secret('tls'))).toBeUndefined();
      });

      it.each([
        ['changed', async () => void (await store.putResource(mesh('default'))), 'is at version 2'],
        ['deleted', async () => void (await store.deleteMesh('default')), 'was deleted'],
        [
          'deleted and made again',
          async () => {
            await store.deleteMesh('default');
            clock.set('2026-01-02T03:04:05.679Z');
            await store.putResource(mesh('default'));
          },
          'was deleted and made again',
        ],
      ])('takes nothing when what was looked at was %s meanwhile', async (_, change, message) => {
        await store.putResource(secret('tls'));
        const seen = await store.putResource(mesh('default'));
        await change();
        const told: StoreChange[] = [];
        store.onChange((each) => told.push(each));
        const deletion = store.deleteResource(secret('tls'), { unchanged: [seen] });
        await expect(deletion).rejects.toThrow(ConflictError);
        await expect(deletion).rejects.toThrow(`Mesh default ${message}, version 1 was looked at`);
        expect(await store.getResource(secret('tls'))).toBeDefined();
        expect(told).toEqual([]);
      });

      it('answers false for what is not there, whatever else has changed', async () => {
        const seen = await store.putResource(mesh('default'));
        await store.putResource(mesh('default'));
        expect(await store.deleteResource(secret('tls'), { unchanged: [seen] })).toBe(false);
      });

      it('refuses a Mesh: what hangs on it would stay behind', async () => {
        await store.putResource(mesh('default'));
        await expect(store.deleteResource(mesh('default'))).rejects.toThrow(TypeError);
        expect(await store.getResource(mesh('default'))).toBeDefined();
      });
    });

    describe('createResources', () => {
      it('creates all when none exists', async () => {
        expect(await store.createResources([secret('a', '1'), { ...secret('b', '2'), owned: true }])).toBe(true);
        expect(await store.getResource(secret('a'))).toMatchObject({ body: '1', version: 1, owned: false });
        expect(await store.getResource(secret('b'))).toMatchObject({ body: '2', version: 1, owned: true });
      });

      it('creates none when one exists', async () => {
        await store.putResource(secret('b', 'old'));
        expect(await store.createResources([secret('a'), secret('b', 'new'), secret('c')])).toBe(false);
        expect(await store.getResource(secret('a'))).toBeUndefined();
        expect(await store.getResource(secret('b'))).toMatchObject({ body: 'old', version: 1 });
        expect(await store.getResource(secret('c'))).toBeUndefined();
      });

      it('creates none when the same key is asked for twice', async () => {
        expect(await store.createResources([secret('a', '1'), secret('a', '2')])).toBe(false);
        expect(await store.getResource(secret('a'))).toBeUndefined();
      });

      it('has nothing to do for an empty list', async () => {
        expect(await store.createResources([])).toBe(true);
      });

      it('lets one of 50 racing pairs win whole', async () => {
        const pairs = Array.from({ length: 50 }, (_, i) => [secret('cert', `${i}`), secret('key', `${i}`)]);
        const created = await Promise.all(pairs.map((pair) => store.createResources(pair)));
        expect(created.filter(Boolean)).toHaveLength(1);
        const winner = `${created.indexOf(true)}`;
        expect(await store.getResource(secret('cert'))).toMatchObject({ body: winner });
        expect(await store.getResource(secret('key'))).toMatchObject({ body: winner });
      });
    });

    describe('listResources', () => {
      beforeEach(async () => {
        const names = ['b', 'a', 'Z', '\u{1f600}', '\uff5e', 'web_1', 'web%1'];
        for (const each of names) await store.putResource(secret(each));
        await store.putResource(secret('a', '{}', 'a-mesh'));
        await store.putResource({ ...secret('a'), type: 'Dataplane' });
      });

      it('lists thousands over several meshes, each once and in order', async () => {
        const all = ['m1', 'm2', 'm3'].flatMap((each) =>
          Array.from({ length: 700 }, (_, i) => dataplane(`web-${String(i).padStart(3, '0')}`, each)),
        );
        await store.createResources(all);
        const expected = [dataplane('a'), ...all].map((key) => `${key.mesh}/${key.name}`);
        expect(await list({ type: 'Dataplane' })).toEqual({ names: expected, total: 2101 });
        expect(await list({ type: 'Dataplane', mesh: 'm2' })).toEqual({ names: expected.slice(701, 1401), total: 700 });
        const found = await list({ type: 'Dataplane', nameContains: '-1', offset: 250 });
        expect(found).toEqual({ names: expected.filter((each) => each.includes('-1')).slice(250), total: 300 });
      });

      const list = async (query: Partial<Parameters<Store['listResources']>[0]>) => {
        const page = await store.listResources({ type: 'Secret', ...query });
        return { names: page.items.map((item) => `${item.mesh}/${item.name}`), total: page.total };
      };

      it('sorts by mesh and name in the order of their bytes', async () => {
        const names = ['Z', 'a', 'b', 'web%1', 'web_1', '\uff5e', '\u{1f600}'].map((each) => `default/${each}`);
        expect(await list({})).toEqual({ names: ['a-mesh/a', ...names], total: 8 });
        expect(await list({ mesh: 'default' })).toEqual({ names, total: 7 });
      });

      it.each([
        ['a name part', { nameContains: 'eb' }, ['default/web%1', 'default/web_1'], 2],
        ['a part with a sign that SQL could misread', { nameContains: 'b%' }, ['default/web%1'], 1],
        ['case, which counts', { nameContains: 'z' }, [], 0],
        ['an empty name part', { nameContains: '', mesh: 'a-mesh' }, ['a-mesh/a'], 1],
        ['mesh and name part', { mesh: 'default', nameContains: 'a' }, ['default/a'], 1],
        ['a mesh that is not there', { mesh: 'none' }, [], 0],
        ['a page', { mesh: 'default', offset: 1, size: 2 }, ['default/a', 'default/b'], 7],
        ['a page over all meshes', { offset: 1, size: 1 }, ['default/Z'], 8],
        ['an offset without size', { mesh: 'default', offset: 6 }, ['default/\u{1f600}'], 7],
        ['a size of 0', { size: 0 }, [], 8],
        ['an offset beyond the end', { offset: 100, size: 10 }, [], 8],
        ['a page of what a name part finds', { nameContains: 'web', offset: 1, size: 5 }, ['default/web_1'], 2],
      ])('honours %s', async (_, query, names, total) => {
        expect(await list(query)).toEqual({ names, total });
      });

      it.each([{ offset: -1 }, { size: -1 }, { size: 1.5 }, { offset: Number.NaN }])('refuses %j', async (query) => {
        await expect(list(query)).rejects.toThrow(TypeError);
      });
    });

    describe('certificates', () => {
      beforeEach(async () => {
        await store.createResources([mesh('default'), mesh('other')]);
      });

      it('gives back every field, the bytes and the chain in order', async () => {
        const record = buildRecord({
          chain: [Buffer.from('issuer\0'), Buffer.alloc(0), Buffer.alloc(5000, 7)],
          rootHashes: ['11'.repeat(32), '22'.repeat(32)],
        });
        await store.recordCertificate(record);
        expect(await store.getCertificate('default', 'web-1')).toEqual({ ...record, regenerations: 1 });
        expect(await store.listCertificates('default')).toEqual([{ ...record, regenerations: 1 }]);
      });

      it('is not recorded for a mesh that was deleted and made again, and harms no other record', async () => {
        const madeAt = (await store.getResource(mesh('default')))?.createdAt;
        if (madeAt === undefined) throw new Error('no mesh');
        await store.recordCertificate(buildRecord(), { meshCreatedAt: madeAt });
        clock.set('2026-01-02T03:04:06.678Z');
        await store.deleteMesh('default');
        await store.putResource(mesh('default'));
        const [late, other] = await Promise.allSettled([
          store.recordCertificate(buildRecord(), { meshCreatedAt: madeAt }),
          store.recordCertificate(buildRecord({ mesh: 'other' })),
        ]);
        expect(late).toMatchObject({ status: 'rejected', reason: { code: 'ERR_CONFLICT' } });
        expect(other.status).toBe('fulfilled');
        expect(await store.getCertificate('default', 'web-1')).toBeUndefined();
      });

      it('keeps its own bytes when the caller writes over his', async () => {
        const leaf = Buffer.from('leaf');
        await store.recordCertificate(buildRecord({ leaf }));
        leaf.fill(0);
        expect((await store.getCertificate('default', 'web-1'))?.leaf.toString()).toBe('leaf');
      });

      it('keeps the last one of a data plane and counts how many there were', async () => {
        await store.recordCertificate(buildRecord({ serialNumber: '01', chain: [Buffer.from('old')] }));
        await store.recordCertificate(buildRecord({ serialNumber: '02', chain: [Buffer.from('new')] }));
        await store.recordCertificate(buildRecord({ dataplane: 'web-2' }));
        expect(await store.getCertificate('default', 'web-1')).toMatchObject({
          serialNumber: '02',
          chain: [Buffer.from('new')],
          regenerations: 2,
        });
        expect(await store.getCertificate('default', 'web-2')).toMatchObject({ regenerations: 1 });
        expect(await store.getCertificate('other', 'web-1')).toBeUndefined();
      });

      it('keeps the order of calls: of many at once for one data plane the last one stands', async () => {
        await Promise.all(
          Array.from({ length: 700 }, (_, i) => store.recordCertificate(buildRecord({ serialNumber: `${i}` }))),
        );
        expect(await store.getCertificate('default', 'web-1')).toMatchObject({
          serialNumber: '699',
          regenerations: 700,
        });
      });

      it('shows a record to whoever reads after its promise has resolved', async () => {
        const write = async (i: number) => {
          await store.recordCertificate(buildRecord({ dataplane: `web-${i}`, serialNumber: `${i}` }));
          return (await store.getCertificate('default', `web-${i}`))?.serialNumber;
        };
        const seen = await Promise.all(Array.from({ length: 200 }, (_, i) => write(i)));
        expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => `${i}`));
      });

      it('lists a whole mesh by data plane in the order of their bytes, and no other mesh', async () => {
        const names = Array.from({ length: 1100 }, (_, i) => `web-${i}`);
        await Promise.all(names.map((dataplane) => store.recordCertificate(buildRecord({ dataplane }))));
        await store.recordCertificate(buildRecord({ mesh: 'other' }));
        expect((await store.listCertificates('default')).map((record) => record.dataplane)).toEqual(names.sort());
        expect(await store.listCertificates('none')).toEqual([]);
      });

      it('lists who holds what, without the certificates: the last one of each, thousands in the order of their bytes', async () => {
        const names = Array.from({ length: 1100 }, (_, i) => `web-${i}`).sort();
        await Promise.all(
          names.map((dataplane) => store.recordCertificate(buildRecord({ dataplane, chain: [Buffer.from('a')] }))),
        );
        const last = {
          dataplane: 'web-7',
          backend: 'vault-1',
          rootHashes: ['11'.repeat(32), '22'.repeat(32)],
          serialNumber: 'ff00',
          issuedAt: new Date('2026-01-03T00:00:00.001Z'),
          notAfter: new Date('2026-01-04T00:00:00.000Z'),
        };
        await store.recordCertificate(buildRecord({ mesh: 'other', ...last, backend: 'ca-2' }));
        await store.recordCertificate(buildRecord(last));
        const holders = await store.listHolders('default');
        expect(holders.map(({ dataplane }) => dataplane)).toEqual(names);
        expect(holders.find(({ dataplane }) => dataplane === 'web-7')).toEqual({ ...last, regenerations: 2 });
        expect(await store.listHolders('other')).toEqual([{ ...last, backend: 'ca-2', regenerations: 1 }]);
        expect(await store.listHolders('none')).toEqual([]);
      });

      it('lists holders whose names are not in the basic plane in the order of their bytes', async () => {
        const names = ['\u{1f600}', '\ufffd', 'z', '\u00e9', '\ue000'];
        for (const dataplane of names) await store.recordCertificate(buildRecord({ dataplane }));
        const sorted = ['z', '\u00e9', '\ue000', '\ufffd', '\u{1f600}'];
        expect((await store.listHolders('default')).map(({ dataplane }) => dataplane)).toEqual(sorted);
      });

      it.each([
        ['the Mesh was never there', 'none', {}, 'there is no Mesh "none"'],
        ['the Mesh was deleted', 'gone', {}, 'there is no Mesh "gone"'],
        [
          'something else is required and not there',
          'default',
          { requires: [mesh('other'), dataplane('web-1')] },
          'there is no Dataplane "web-1" in mesh "default"',
        ],
      ])(
        'refuses a record when %s, and takes the others that share its commit',
        async (_, inMesh, options, message) => {
          await store.putResource(mesh('gone'));
          await store.deleteMesh('gone');
          const chain = [Buffer.from('shared')];
          const [before, refused, after] = await Promise.allSettled([
            store.recordCertificate(buildRecord({ dataplane: 'before', chain })),
            store.recordCertificate(buildRecord({ mesh: inMesh, chain }), options),
            store.recordCertificate(buildRecord({ dataplane: 'after', chain })),
          ]);
          expect([before.status, after.status]).toEqual(['fulfilled', 'fulfilled']);
          expect(refused).toMatchObject({ status: 'rejected', reason: { message } });
          expect(refused.status === 'rejected' && refused.reason).toBeInstanceOf(NotFoundError);
          expect(await store.getCertificate(inMesh, 'web-1')).toBeUndefined();
          expect((await store.listCertificates('default')).map((record) => record.dataplane)).toEqual([
            'after',
            'before',
          ]);
        },
      );

      it('takes a record when everything required is there, one that was made in the same commit included', async () => {
        await Promise.all([
          store.putResource(mesh('new')),
          store.putResource(dataplane('web-1', 'new')),
          store.recordCertificate(buildRecord({ mesh: 'new' }), { requires: [dataplane('web-1', 'new')] }),
        ]);
        expect(await store.getCertificate('new', 'web-1')).toMatchObject({ regenerations: 1 });
      });

      it('refuses a time that is none, and keeps what it had', async () => {
        await store.recordCertificate(buildRecord({ serialNumber: '01' }));
        const bad = store.recordCertificate(buildRecord({ serialNumber: '02', notAfter: new Date(Number.NaN) }));
        await expect(bad).rejects.toThrow('notAfter is not a time');
        expect(await store.getCertificate('default', 'web-1')).toMatchObject({ serialNumber: '01', regenerations: 1 });
      });
    });

    describe('trust statements', () => {
      beforeEach(async () => {
        await store.createResources([mesh('default'), mesh('other')]);
      });

      it('keeps the newest of each data plane, whatever order they come in', async () => {
        await store.recordTrustStatement(buildStatement({ bundleVersion: 3, statedAt: new Date(2000) }));
        await store.recordTrustStatement(buildStatement({ bundleVersion: 2, statedAt: new Date(1000) }));
        await store.recordTrustStatement(buildStatement({ dataplane: 'a', bundleVersion: 1 }));
        await store.recordTrustStatement(buildStatement({ mesh: 'other', bundleVersion: 9 }));
        const newest = buildStatement({ bundleVersion: 3, statedAt: new Date(2000) });
        expect(await store.getTrustStatement('default', 'web-1')).toEqual(newest);
        expect(await store.listTrustStatements('default')).toEqual([buildStatement({ dataplane: 'a' }), newest]);
        expect(await store.getTrustStatement('default', 'none')).toBeUndefined();
        expect(await store.listTrustStatements('none')).toEqual([]);
      });

      it('refuses one for a mesh that is not there, and takes the others that share its commit', async () => {
        const [refused, taken] = await Promise.allSettled([
          store.recordTrustStatement(buildStatement({ mesh: 'none' })),
          store.recordTrustStatement(buildStatement()),
        ]);
        expect(refused).toMatchObject({ status: 'rejected', reason: { message: 'there is no Mesh "none"' } });
        expect(refused.status === 'rejected' && refused.reason).toBeInstanceOf(NotFoundError);
        expect(taken.status).toBe('fulfilled');
        expect(await store.listTrustStatements('none')).toEqual([]);
        expect(await store.listTrustStatements('default')).toHaveLength(1);
      });

      it('takes a lower bundle version that was stated later: the proxy has fallen back', async () => {
        await store.recordTrustStatement(buildStatement({ bundleVersion: 3, statedAt: new Date(1000) }));
        await store.recordTrustStatement(buildStatement({ bundleVersion: 2, statedAt: new Date(2000) }));
        expect(await store.getTrustStatement('default', 'web-1')).toMatchObject({ bundleVersion: 2 });
      });
    });

    describe('forgetDataplane', () => {
      it('takes record, count and trust statement of one data plane, and nothing else', async () => {
        await store.createResources([mesh('default'), mesh('other'), dataplane('web-1')]);
        const each = [{}, { dataplane: 'web-2' }, { mesh: 'other' }];
        for (const key of each) {
          await store.recordCertificate(buildRecord(key));
          await store.recordTrustStatement(buildStatement(key));
        }
        await store.forgetDataplane('default', 'web-1');
        expect(await store.getCertificate('default', 'web-1')).toBeUndefined();
        expect(await store.getTrustStatement('default', 'web-1')).toBeUndefined();
        expect(await store.listCertificates('default')).toMatchObject([{ dataplane: 'web-2' }]);
        expect(await store.listTrustStatements('default')).toMatchObject([{ dataplane: 'web-2' }]);
        expect(await store.getCertificate('other', 'web-1')).toBeDefined();
        expect(await store.getTrustStatement('other', 'web-1')).toBeDefined();
        expect(await store.getResource(dataplane('web-1'))).toBeDefined();
      });

      it('lets one made again start afresh, with an older statement, too', async () => {
        await store.putResource(mesh('default'));
        await store.recordCertificate(buildRecord());
        await store.recordTrustStatement(buildStatement({ bundleVersion: 9, statedAt: new Date(2000) }));
        await store.forgetDataplane('default', 'web-1');
        await store.recordCertificate(buildRecord());
        await store.recordTrustStatement(buildStatement({ bundleVersion: 1, statedAt: new Date(1000) }));
        expect(await store.getCertificate('default', 'web-1')).toMatchObject({ regenerations: 1 });
        expect(await store.getTrustStatement('default', 'web-1')).toMatchObject({ bundleVersion: 1 });
      });

      it.each([
        ['a record', (store: Store) => store.recordCertificate(buildRecord())],
        ['a statement', (store: Store) => store.recordTrustStatement(buildStatement())],
        ['nothing', async () => {}],
      ])('does not mind when there is %s alone', async (_, write) => {
        await store.putResource(mesh('default'));
        await write(store);
        await store.forgetDataplane('default', 'web-1');
        await store.forgetDataplane('default', 'web-1');
        expect(await store.listCertificates('default')).toEqual([]);
        expect(await store.listHolders('default')).toEqual([]);
        expect(await store.listTrustStatements('default')).toEqual([]);
      });
    });

    describe('trust bundles', () => {
      it('appends versions and finds each of them', async () => {
        expect(await store.getTrustBundle('default')).toBeUndefined();
        const first = await store.appendTrustBundle('default', '{"roots":["é\\u0000"]}', 0);
        expect(first).toEqual({ mesh: 'default', version: 1, body: '{"roots":["é\\u0000"]}', createdAt: clock.now() });
        clock.set('2026-03-01T00:00:00Z');
        const second = await store.appendTrustBundle('default', 'b', 1);
        expect(await store.getTrustBundle('default')).toEqual(second);
        expect(await store.getTrustBundleVersion('default', 1)).toEqual(first);
        expect(await store.getTrustBundleVersion('default', 3)).toBeUndefined();
        expect(await store.appendTrustBundle('other', 'c', 0)).toMatchObject({ version: 1 });
      });

      it.each([0, 2])('refuses to append to version 1 when %i was expected', async (previous) => {
        await store.appendTrustBundle('default', 'a', 0);
        const append = store.appendTrustBundle('default', 'b', previous);
        await expect(append).rejects.toThrow(ConflictError);
        await expect(append).rejects.toThrow(`mesh default is at version 1, version ${previous} was expected`);
        expect(await store.getTrustBundle('default')).toMatchObject({ version: 1, body: 'a' });
      });

      it('lets one of 50 racing writers append', async () => {
        const appends = Array.from({ length: 50 }, (_, i) => store.appendTrustBundle('default', `${i}`, 0));
        const won = (await Promise.allSettled(appends)).filter((result) => result.status === 'fulfilled');
        expect(won).toHaveLength(1);
        expect(await store.getTrustBundle('default')).toEqual(won[0]?.value);
      });
    });

    describe('deleteMesh', () => {
      it('takes the mesh, what it owns, its certificates and statements, and nothing else', async () => {
        for (const each of ['default', 'other']) {
          await store.putResource(mesh(each));
          await store.putResource({ ...secret('owned', '{}', each), owned: true });
          await store.putResource(secret('own', '{}', each));
          await store.recordCertificate(buildRecord({ mesh: each, chain: [Buffer.from('shared')] }));
          await store.recordTrustStatement(buildStatement({ mesh: each }));
          await store.appendTrustBundle(each, 'a', 0);
        }
        expect(await store.deleteMesh('default')).toBe(true);
        expect(await store.getResource(mesh('default'))).toBeUndefined();
        expect(await store.getResource(secret('owned'))).toBeUndefined();
        expect(await store.getResource(secret('own'))).toBeDefined();
        expect(await store.listCertificates('default')).toEqual([]);
        expect(await store.listTrustStatements('default')).toEqual([]);
        expect(await store.getResource(mesh('other'))).toBeDefined();
        expect(await store.getResource(secret('owned', '{}', 'other'))).toBeDefined();
        expect(await store.listCertificates('other')).toMatchObject([{ chain: [Buffer.from('shared')] }]);
        expect(await store.listTrustStatements('other')).toHaveLength(1);
      });

      it('goes on counting bundle versions when the mesh is made again', async () => {
        await store.putResource(mesh('default'));
        await store.appendTrustBundle('default', 'a', 0);
        await store.appendTrustBundle('default', 'b', 1);
        await store.deleteMesh('default');
        await store.putResource(mesh('default'));
        expect(await store.getTrustBundle('default')).toMatchObject({ version: 2 });
        await expect(store.appendTrustBundle('default', 'c', 0)).rejects.toThrow(ConflictError);
        expect(await store.appendTrustBundle('default', 'c', 2)).toMatchObject({ version: 3 });
      });

      it('answers false and takes nothing when there is no such mesh', async () => {
        await store.putResource({ ...secret('owned'), owned: true });
        expect(await store.deleteMesh('default')).toBe(false);
        expect(await store.deleteMesh('default', { unlessAny: 'Secret' })).toBe(false);
        expect(await store.getResource(secret('owned'))).toBeDefined();
      });

      it('takes nothing while a resource of the type unlessAny is in the mesh', async () => {
        await store.createResources([mesh('default'), { ...secret('owned'), owned: true }]);
        await store.createResources([dataplane('web-2'), dataplane('web-1')]);
        await store.recordCertificate(buildRecord());
        await store.recordTrustStatement(buildStatement());
        const told: StoreChange[] = [];
        store.onChange((change) => told.push(change));
        const deletion = store.deleteMesh('default', { unlessAny: 'Dataplane' });
        await expect(deletion).rejects.toThrow(ConflictError);
        await expect(deletion).rejects.toThrow('Mesh default still has Dataplane default/web-1');
        expect(await store.getResource(mesh('default'))).toBeDefined();
        expect(await store.getResource(secret('owned'))).toBeDefined();
        expect(await store.listCertificates('default')).toHaveLength(1);
        expect(await store.listTrustStatements('default')).toHaveLength(1);
        expect(told).toEqual([]);
      });

      it.each([
        ['nothing', []],
        ['another type', [secret('own')]],
        ['that type in another mesh', [mesh('other'), dataplane('web-1', 'other')]],
      ])('with unlessAny takes a mesh when there is %s', async (_, others) => {
        await store.createResources([mesh('default'), ...others]);
        expect(await store.deleteMesh('default', { unlessAny: 'Dataplane' })).toBe(true);
        expect(await store.getResource(mesh('default'))).toBeUndefined();
      });

      it('stands in the order of calls with certificates that share a chain', async () => {
        await store.putResource(mesh('default'));
        const chain = [Buffer.from('shared')];
        const results = await Promise.allSettled([
          store.recordCertificate(buildRecord({ dataplane: 'before', chain })),
          store.deleteMesh('default'),
          store.recordCertificate(buildRecord({ dataplane: 'between', chain })),
          store.recordTrustStatement(buildStatement({ dataplane: 'between' })),
          store.putResource(mesh('default')),
          store.recordCertificate(buildRecord({ dataplane: 'after', chain })),
        ]);
        expect(results.map((result) => result.status === 'fulfilled')).toEqual([true, true, false, false, true, true]);
        expect(await store.listTrustStatements('default')).toEqual([]);
        expect(await store.listCertificates('default')).toMatchObject([{ dataplane: 'after', chain }]);
      });
    });

    describe('onChange', () => {
      it('tells each changed key once, when it can be read, and not what failed or changed nothing', async () => {
        const told: [StoreChange, number | undefined][] = [];
        const reads: Promise<void>[] = [];
        store.onChange((change) => {
          if (change.kind !== 'resource') throw new Error('only own changes were made');
          reads.push(store.getResource(change.key).then((found) => void told.push([change, found?.version])));
        });
        await store.putResource(secret('a'));
        await Promise.allSettled([store.putResource(secret('a'), { expectedVersion: 7 })]);
        await store.createResources([secret('b'), secret('c')]);
        await store.createResources([secret('c'), secret('d')]);
        await store.deleteResource(secret('b'));
        await store.deleteResource(secret('b'));
        await Promise.all(reads);
        const change = (key: string) => ({ kind: 'resource', key: { type: 'Secret', mesh: 'default', name: key } });
        expect(told.map(([each]) => each)).toEqual([change('a'), change('b'), change('c'), change('b')]);
        expect(told.map(([, version]) => version)).toEqual([1, 1, 1, undefined]);
      });

      it('has told before the promise resolves', async () => {
        const told: StoreChange[] = [];
        store.onChange((change) => told.push(change));
        await store.putResource(secret('a'));
        expect(told).toHaveLength(1);
      });

      it('tells a deleted mesh and everything it owned', async () => {
        await store.putResource(mesh('default'));
        await store.createResources([
          { ...secret('key'), owned: true },
          { ...secret('cert'), owned: true },
          secret('stays'),
        ]);
        const told: StoreChange[] = [];
        store.onChange((change) => told.push(change));
        await store.deleteMesh('default');
        await store.deleteMesh('default');
        const keys = told.map((change) => (change.kind === 'resource' ? `${change.key.type} ${change.key.name}` : ''));
        expect(keys).toEqual(['Mesh default', 'Secret cert', 'Secret key']);
      });

      it('ends when asked to, and one listener does not disturb another or the writer', async () => {
        let first = 0;
        let last = 0;
        const end = store.onChange(() => first++);
        store.onChange(() => {
          throw new Error('a mistake of this listener');
        });
        store.onChange(() => last++);
        await store.putResource(secret('a'));
        end();
        end();
        await store.putResource(secret('a'));
        expect([first, last]).toEqual([1, 2]);
      });
    });

    describe('its life', () => {
      it('can be read and written when pinged', async () => {
        await expect(store.ping()).resolves.toBeUndefined();
      });

      it('rejects every call after close, which may be repeated', async () => {
        await Promise.all([store.close(), store.close()]);
        await store.close();
        const calls: Record<string, () => Promise<unknown>> = {
          getResource: () => store.getResource(secret('a')),
          listResources: () => store.listResources({ type: 'Secret' }),
          putResource: () => store.putResource(secret('a')),
          createResources: () => store.createResources([secret('a')]),
          deleteResource: () => store.deleteResource(secret('a')),
          deleteMesh: () => store.deleteMesh('default'),
          getCertificate: () => store.getCertificate('default', 'web-1'),
          listCertificates: () => store.listCertificates('default'),
          listHolders: () => store.listHolders('default'),
          recordCertificate: () => store.recordCertificate(buildRecord()),
          forgetDataplane: () => store.forgetDataplane('default', 'web-1'),
          recordTrustStatement: () => store.recordTrustStatement(buildStatement()),
          listTrustStatements: () => store.listTrustStatements('default'),
          getTrustStatement: () => store.getTrustStatement('default', 'web-1'),
          getTrustBundle: () => store.getTrustBundle('default'),
          getTrustBundleVersion: () => store.getTrustBundleVersion('default', 1),
          appendTrustBundle: () => store.appendTrustBundle('default', 'a', 0),
          ping: () => store.ping(),
        };
        const members = Object.keys(store).filter((member) => member !== 'close' && member !== 'onChange');
        expect(Object.keys(calls).sort()).toEqual(members.sort());
        for (const call of Object.values(calls)) await expect(call()).rejects.toThrow('the store is closed');
      });

      it('finishes the writes under way before close resolves', async () => {
        await store.putResource(mesh('default'));
        let done = 0;
        const writes = Array.from({ length: 600 }, async (_, i) => {
          await store.recordCertificate(buildRecord({ dataplane: `web-${i}` }));
          done++;
        });
        await store.close();
        await Promise.all(writes);
        expect(done).toBe(600);
      });
    });
  });
}
