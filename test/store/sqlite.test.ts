import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'libsql';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { MIGRATIONS } from '../../src/store/sql/migrations.ts';
import { openSqliteStore } from '../../src/store/sql/sqlite-store.ts';
import { buildRecord, DEFAULT_MESH, testStore } from '../conformance/store.ts';
import { temporaryFolder } from './temporary-folder.ts';

testStore('the SQLite store', (clock) =>
  openSqliteStore({ path: join(temporaryFolder(), 'mesh-ca.db'), clock, log: silentLog }),
);

const open = (path: string) => openSqliteStore({ path, clock: systemClock, log: silentLog });
const newPath = () => join(temporaryFolder(), 'mesh-ca.db');

function query(path: string, sql: string): unknown[] {
  const database = new Database(path);
  const rows = database.prepare(sql).raw().all();
  database.close();
  return rows;
}

function change(path: string, sql: string): void {
  const database = new Database(path);
  database.exec(sql);
  database.close();
}

describe('the SQLite file', () => {
  it('holds everything when it is opened again', async () => {
    const path = newPath();
    const before = await open(path);
    const resource = await before.putResource(DEFAULT_MESH);
    const record = buildRecord({ chain: [Buffer.from('issuer')] });
    await before.recordCertificate(record);
    await before.recordTrustStatement({ mesh: 'default', dataplane: 'web-1', bundleVersion: 1, statedAt: new Date(5) });
    const bundle = await before.appendTrustBundle('default', '{}', 0);
    await before.close();

    const after = await open(path);
    expect(await after.getResource(resource)).toEqual(resource);
    expect(await after.getCertificate('default', 'web-1')).toEqual({ ...record, regenerations: 1 });
    expect(await after.getTrustStatement('default', 'web-1')).toMatchObject({
      bundleVersion: 1,
      statedAt: new Date(5),
    });
    expect(await after.getTrustBundle('default')).toEqual(bundle);
    await after.close();
  });

  it('is readable by its owner alone, as is the folder made for it', async () => {
    const folder = join(temporaryFolder(), 'new', 'data');
    const store = await open(join(folder, 'mesh-ca.db'));
    await store.ping();
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    const modes = readdirSync(folder).map((file) => [file, statSync(join(folder, file)).mode & 0o777]);
    expect(modes).toEqual(['mesh-ca.db', 'mesh-ca.db-shm', 'mesh-ca.db-wal'].map((file) => [file, 0o600]));
    await store.close();
  });

  it('syncs each commit: WAL with synchronous FULL, and foreign keys that count', async () => {
    const path = newPath();
    const store = await open(path);
    await store.putResource(DEFAULT_MESH);
    await store.recordCertificate(buildRecord());
    expect(query(path, 'PRAGMA journal_mode')).toEqual([['wal']]);
    expect(query(path, 'PRAGMA foreign_key_list(certificates)')).toHaveLength(1);
    await store.close();
    expect(statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0).toBe(0);
  });

  it('keeps a chain once for a thousand certificates, and no longer than a mesh needs it', async () => {
    const path = newPath();
    const store = await open(path);
    const chain = [Buffer.alloc(900, 1), Buffer.alloc(900, 2)];
    await store.createResources([DEFAULT_MESH, { ...DEFAULT_MESH, name: 'other' }]);
    const names = Array.from({ length: 1000 }, (_, i) => `web-${i}`);
    await Promise.all(names.map((dataplane) => store.recordCertificate(buildRecord({ dataplane, chain }))));
    await store.recordCertificate(buildRecord({ mesh: 'other', chain: [Buffer.from('another')] }));
    expect(query(path, 'SELECT count(*) FROM chains')).toEqual([[2]]);
    await store.deleteMesh('default');
    expect(query(path, 'SELECT count(*) FROM chains')).toEqual([[1]]);
    await store.close();
  });

  it('of a newer mesh-ca is refused and left as it is', async () => {
    const path = newPath();
    await (await open(path)).close();
    const newer = MIGRATIONS.length + 1;
    change(path, `INSERT INTO schema_migrations VALUES (${newer}, 0)`);
    const refusal = open(path);
    await expect(refusal).rejects.toThrow(ConfigError);
    await expect(refusal).rejects.toThrow(
      `database ${path} has schema version ${newer}, this mesh-ca knows versions up to ${MIGRATIONS.length}`,
    );
    await expect(refusal).rejects.toMatchObject({ fix: expect.stringContaining('newer') });
    expect(query(path, 'SELECT max(version) FROM schema_migrations')).toEqual([[newer]]);
  });

  it.each([
    ['a text', (path: string) => writeFileSync(path, 'no database '.repeat(100)), 'is not a SQLite database'],
    ['a folder', () => {}, 'cannot be opened: EISDIR'],
  ])('that is %s is refused with its name', async (what, prepare, message) => {
    const path = what === 'a folder' ? temporaryFolder() : newPath();
    prepare(path);
    const refusal = open(path);
    await expect(refusal).rejects.toThrow(ConfigError);
    await expect(refusal).rejects.toThrow(`database ${path} ${message}`);
  });

  it('that lacks what its schema version promises is refused with its name', async () => {
    const path = newPath();
    await (await open(path)).close();
    change(path, 'DROP TABLE revision');
    const refusal = open(path);
    await expect(refusal).rejects.toThrow(ConfigError);
    await expect(refusal).rejects.toThrow(`database ${path} cannot be opened: no such table: revision`);
  });

  it('below a file that is no folder is refused with its name', async () => {
    const file = newPath();
    writeFileSync(file, '');
    await expect(open(join(file, 'mesh-ca.db'))).rejects.toThrow(
      `database ${join(file, 'mesh-ca.db')} cannot be opened`,
    );
  });

  it('notes every change of resources and bundles for other processes, and no certificate', async () => {
    const path = newPath();
    const store = await open(path);
    const secret = { ...DEFAULT_MESH, type: 'Secret', mesh: 'default' };
    const writes: [string, () => Promise<unknown>][] = [
      ['putResource', () => store.putResource(DEFAULT_MESH)],
      ['createResources', () => store.createResources([secret, { ...secret, name: 'other' }])],
      ['deleteResource', () => store.deleteResource(secret)],
      ['deleteResource of nothing', () => store.deleteResource(secret)],
      ['appendTrustBundle', () => store.appendTrustBundle('default', '{}', 0)],
      ['recordCertificate', () => store.recordCertificate(buildRecord())],
      ['forgetDataplane', () => store.forgetDataplane('default', 'web-1')],
      ['a refused deleteMesh', () => store.deleteMesh('default', { unlessAny: 'Secret' }).catch(() => {})],
      ['deleteMesh', () => store.deleteMesh('default')],
      ['deleteMesh of nothing', () => store.deleteMesh('default')],
    ];
    const revision = () => Number(query(path, 'SELECT value FROM revision').flat()[0]);
    const noted: string[] = [];
    for (const [name, write] of writes) {
      const before = revision();
      await write();
      if (revision() > before) noted.push(name);
    }
    expect(noted).toEqual(['putResource', 'createResources', 'deleteResource', 'appendTrustBundle', 'deleteMesh']);
    await store.close();
  });

  it('lists 20,000 resources in steps: others read what was written meanwhile', async () => {
    const path = newPath();
    const store = await open(path);
    const change = { type: 'Dataplane', mesh: 'default', name: 'web-000000', body: 'new' };
    const all = Array.from({ length: 20_000 }, (_, i) => ({
      ...change,
      name: `web-${String(i).padStart(6, '0')}`,
      body: 'old',
    }));
    await store.createResources(all);
    let listed = false;
    const listing = store.listResources({ type: 'Dataplane' }).then((page) => {
      listed = true;
      return page;
    });
    await store.putResource(change);
    expect((await store.getResource(change))?.body).toBe('new');
    expect(listed).toBe(false);
    const { items, total } = await listing;
    expect([items.length, total]).toEqual([20_000, 20_000]);
    await store.close();
  });

  it('is really written to by a ping', async () => {
    const path = newPath();
    const store = await open(path);
    const before = statSync(`${path}-wal`).size;
    await store.ping();
    expect(statSync(`${path}-wal`).size).toBeGreaterThan(before);
    await store.close();
  });

  it('says on ping that it cannot be written', async () => {
    const path = newPath();
    const store = await open(path);
    change(path, 'DROP TABLE revision');
    await expect(store.ping()).rejects.toThrow('no such table');
    await store.close();
  });

  it('loses only the call that fails, not the ones that share its commit', async () => {
    const path = newPath();
    const store = await open(path);
    await store.putResource(DEFAULT_MESH);
    change(
      path,
      "CREATE TRIGGER refuse BEFORE INSERT ON certificates WHEN new.dataplane = 'bad' BEGIN SELECT raise(ABORT, 'refused'); END",
    );
    const names = ['a', 'bad', 'b'];
    const results = await Promise.allSettled(
      names.map((dataplane) => store.recordCertificate(buildRecord({ dataplane }))),
    );
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((await store.listCertificates('default')).map((record) => record.dataplane)).toEqual(['a', 'b']);
    await store.close();
  });

  it('keeps nothing of a call of several steps that fails in the middle', async () => {
    const path = newPath();
    const store = await open(path);
    change(
      path,
      "CREATE TRIGGER refuse BEFORE INSERT ON resources WHEN new.name = 'bad' BEGIN SELECT raise(ABORT, 'refused'); END",
    );
    const make = (name: string) => ({ type: 'Secret', mesh: 'default', name, body: '{}' });
    const results = await Promise.allSettled([
      store.putResource(make('before')),
      store.createResources([make('a'), make('bad')]),
      store.putResource(make('after')),
    ]);
    expect(results.map((result) => result.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    const { items } = await store.listResources({ type: 'Secret' });
    expect(items.map((item) => item.name)).toEqual(['after', 'before']);
    await store.close();
  });

  it('keeps nothing of a mesh deletion that fails in the middle', async () => {
    const path = newPath();
    const store = await open(path);
    change(path, "CREATE TRIGGER refuse BEFORE DELETE ON trust_statements BEGIN SELECT raise(ABORT, 'refused'); END");
    await store.putResource(DEFAULT_MESH);
    await store.recordCertificate(buildRecord());
    await store.recordTrustStatement({ mesh: 'default', dataplane: 'web-1', bundleVersion: 1, statedAt: new Date(5) });
    await expect(store.deleteMesh('default')).rejects.toThrow('refused');
    expect(await store.getResource({ type: 'Mesh', mesh: '', name: 'default' })).toBeDefined();
    expect(await store.listCertificates('default')).toHaveLength(1);
    await store.close();
  });

  it('takes a write whose turn another process has held up', async () => {
    const path = newPath();
    const store = await open(path);
    await store.putResource(DEFAULT_MESH);
    const other = new Database(path);
    other.exec('BEGIN IMMEDIATE');
    const write = store.recordCertificate(buildRecord());
    await systemClock.sleep(50);
    expect(await store.getCertificate('default', 'web-1')).toBeUndefined();
    other.exec('COMMIT');
    await write;
    expect(await store.getCertificate('default', 'web-1')).toBeDefined();
    other.close();
    await store.close();
  });
});
