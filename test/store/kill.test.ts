import { join } from 'node:path';
import Database from 'libsql';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { openSqliteStore } from '../../src/store/sql/sqlite-store.ts';
import { startChild } from './start-child.ts';
import { temporaryFolder } from './temporary-folder.ts';

describe('a store whose process is killed while it writes', () => {
  it('has everything that was said to be durable, and nothing half-written, three times over', async () => {
    const path = join(temporaryFolder(), 'mesh-ca.db');
    const promised: string[] = [];
    for (let round = 1; round <= 3; round++) {
      const child = startChild('record', path);
      await child.printed(300 * round);
      child.process.kill('SIGKILL');
      expect(await child.ended()).toBe('SIGKILL');
      expect(child.lines.length).toBeGreaterThanOrEqual(300 * round);
      promised.push(...child.lines);

      const store = await openSqliteStore({ path, clock: systemClock, log: silentLog });
      const records = await store.listCertificates('default');
      const resources = (await store.listResources({ type: 'Dataplane' })).items;
      await store.close();

      const recorded = new Set(records.map((record) => record.dataplane));
      const stored = new Set(resources.map((resource) => resource.name));
      expect(promised.filter((name) => !recorded.has(name) || !stored.has(name))).toEqual([]);
      for (const record of records) {
        expect(record.chain.map((der) => der.length)).toEqual([700]);
        expect(record.notAfter.getTime()).toBeGreaterThan(0);
        expect(record.regenerations).toBe(1);
      }
      expect(new Set(resources.map((resource) => resource.body))).toEqual(new Set(['{"half":"written"}']));
      const database = new Database(path);
      expect(database.prepare('PRAGMA integrity_check').raw().all()).toEqual([['ok']]);
      expect(database.prepare('PRAGMA foreign_key_check').raw().all()).toEqual([]);
      database.close();
    }
  });
});
