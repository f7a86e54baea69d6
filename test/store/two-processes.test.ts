import { join } from 'node:path';
import Database from 'libsql';
import { describe, expect, it, vi } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { openSqliteStore } from '../../src/store/sql/sqlite-store.ts';
import type { StoreChange } from '../../src/store/store.ts';
import { buildRecord, DEFAULT_MESH } from '../conformance/store.ts';
import { startChild } from './start-child.ts';
import { temporaryFolder } from './temporary-folder.ts';

const open = (path: string) => openSqliteStore({ path, clock: systemClock, log: silentLog });

describe('processes that share one SQLite file', () => {
  it('may all make it at the same time, and each thing they race for is won once and whole', async () => {
    const path = join(temporaryFolder(), 'new', 'mesh-ca.db');
    const children = [startChild('race', path), startChild('race', path), startChild('race', path)];
    for (const child of children) expect(await child.ended()).toBe(0);

    const won = children.flatMap((child) => child.lines);
    expect(new Set(won).size).toBe(won.length);
    expect(won.filter((line) => line.startsWith('pair')).length).toBe(20);
    const store = await open(path);
    expect(await store.getTrustBundle('default')).toMatchObject({ version: 300 });
    for (let i = 0; i < 20; i++) {
      const [cert, key] = await Promise.all(
        ['cert', 'key'].map((part) => store.getResource({ type: 'Secret', mesh: 'default', name: `${i}-${part}` })),
      );
      const winner = children.find((child) => child.lines.includes(`pair ${i}`))?.process.pid;
      expect([cert?.body, key?.body]).toEqual([`${winner}`, `${winner}`]);
    }
    await store.close();
  });

  it('wait for one that holds the lock, at start and when they write', async () => {
    const path = join(temporaryFolder(), 'mesh-ca.db');
    const store = await open(path);
    await store.putResource(DEFAULT_MESH);
    await store.close();
    const other = new Database(path);
    other.exec('BEGIN IMMEDIATE');
    const child = startChild('wait', path);
    await child.printed(1);
    await systemClock.sleep(300);
    expect(child.process.exitCode).toBeNull();
    other.exec('COMMIT');
    expect(await child.ended()).toBe(0);
    expect(child.lines).toEqual(['starts', 'written']);
    other.close();
  });

  it('see each other: a read after a write that has resolved elsewhere finds it', async () => {
    const path = join(temporaryFolder(), 'mesh-ca.db');
    const [one, two] = await Promise.all([open(path), open(path)]);
    await one.putResource(DEFAULT_MESH);
    await one.recordCertificate(buildRecord());
    expect(await two.getCertificate('default', 'web-1')).toMatchObject({ regenerations: 1 });
    await two.recordCertificate(buildRecord());
    expect(await one.getCertificate('default', 'web-1')).toMatchObject({ regenerations: 2 });
    await Promise.all([one.close(), two.close()]);
  });

  it('are told "unknown" of what another one changed, of their own changes by key, and of certificates nothing', async () => {
    const path = join(temporaryFolder(), 'mesh-ca.db');
    const [here, there] = await Promise.all([open(path), open(path)]);
    const told: StoreChange[] = [];
    here.onChange((change) => told.push(change));
    const { body, ...key } = DEFAULT_MESH;

    await here.putResource({ ...key, body });
    await there.recordCertificate(buildRecord());
    expect(told).toEqual([{ kind: 'resource', key }]);

    await there.putResource({ ...key, body: '{"changed":true}' });
    await vi.waitFor(() => expect(told).toEqual([{ kind: 'resource', key }, { kind: 'unknown' }]), 5000);
    await there.appendTrustBundle('default', '{}', 0);
    await vi.waitFor(() => expect(told).toHaveLength(3), 5000);
    expect(told[2]).toEqual({ kind: 'unknown' });

    await there.putResource({ ...key, body: '{"changed":"again"}' });
    await here.putResource({ ...key, body: '{"changed":"here"}' });
    expect(told.slice(3)).toEqual([{ kind: 'unknown' }, { kind: 'resource', key }]);
    await Promise.all([here.close(), there.close()]);
  });
});
