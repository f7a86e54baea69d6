import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CaError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { openSqliteStore } from '../../src/store/sql/sqlite-store.ts';
import type { PutResource, Store } from '../../src/store/store.ts';
import { buildRecord } from '../conformance/store.ts';
import { temporaryFolder } from './temporary-folder.ts';

const mesh = (name: string, body = '{}'): PutResource => ({ type: 'Mesh', mesh: '', name, body });
const dataplane = (inMesh: string): PutResource => ({ type: 'Dataplane', mesh: inMesh, name: 'web-1', body: '{}' });
const ca = (inMesh: string): PutResource => ({ type: 'Secret', mesh: inMesh, name: 'ca', body: '{}' });
const builtin = (inMesh: string): PutResource => ({ ...ca(inMesh), owned: true });
const USES_CA = '{"uses":"ca"}';

const deleteMesh = (store: Store, name: string) => store.deleteMesh(name, { unlessAny: 'Dataplane' });
const exists = async (store: Store, key: PutResource) => (await store.getResource(key)) !== undefined;
const usesMissingCa = async (store: Store, name: string) =>
  (await store.getResource(mesh(name)))?.body === USES_CA && !(await exists(store, ca(name)));

interface Race {
  readonly what: string;
  /** What is there before. */
  readonly before: (name: string) => readonly PutResource[];
  /** Both as the service does them: look, then write under the condition that it still is so. */
  readonly write: (store: Store, name: string) => Promise<unknown>;
  readonly remove: (store: Store, name: string) => Promise<unknown>;
  readonly leavesOrphan: (store: Store, name: string) => Promise<boolean>;
}

const RACES: readonly Race[] = [
  {
    what: 'PUT Dataplane and DELETE Mesh',
    before: (name) => [mesh(name)],
    write: (store, name) => store.putResource(dataplane(name), { requires: [mesh(name)] }),
    remove: deleteMesh,
    leavesOrphan: async (store, name) => (await exists(store, dataplane(name))) && !(await exists(store, mesh(name))),
  },
  {
    what: 'PUT Mesh and DELETE Mesh with its builtin secrets',
    before: (name) => [mesh(name), builtin(name)],
    write: (store, name) => store.putResource(mesh(name, USES_CA), { requires: [ca(name)] }),
    remove: deleteMesh,
    leavesOrphan: usesMissingCa,
  },
  {
    what: 'PUT Mesh that uses a secret and DELETE Secret',
    before: (name) => [mesh(name), ca(name)],
    write: (store, name) => store.putResource(mesh(name, USES_CA), { requires: [ca(name)] }),
    async remove(store, name) {
      const seen = await store.getResource(mesh(name));
      if (seen === undefined || seen.body === USES_CA) return;
      await store.deleteResource(ca(name), { unchanged: [seen] });
    },
    leavesOrphan: usesMissingCa,
  },
  {
    what: 'creation of secrets and DELETE Mesh',
    before: (name) => [mesh(name)],
    write: (store, name) => store.createResources([builtin(name)], { requires: [mesh(name)] }),
    remove: deleteMesh,
    leavesOrphan: async (store, name) => (await exists(store, ca(name))) && !(await exists(store, mesh(name))),
  },
  {
    what: 'a certificate and DELETE Mesh',
    before: (name) => [mesh(name)],
    write: (store, name) => store.recordCertificate(buildRecord({ mesh: name })),
    remove: deleteMesh,
    leavesOrphan: async (store, name) => (await store.getCertificate(name, 'web-1')) !== undefined,
  },
  {
    what: 'a certificate and DELETE Dataplane',
    before: (name) => [mesh(name), dataplane(name)],
    write: (store, name) => store.recordCertificate(buildRecord({ mesh: name }), { requires: [dataplane(name)] }),
    async remove(store, name) {
      await store.deleteResource(dataplane(name));
      await store.forgetDataplane(name, 'web-1');
    },
    leavesOrphan: async (store, name) => (await store.getCertificate(name, 'web-1')) !== undefined,
  },
  {
    what: 'a trust statement and DELETE Mesh',
    before: (name) => [mesh(name)],
    write: (store, name) =>
      store.recordTrustStatement({ mesh: name, dataplane: 'web-1', bundleVersion: 1, statedAt: new Date(1000) }),
    remove: deleteMesh,
    leavesOrphan: async (store, name) => (await store.getTrustStatement(name, 'web-1')) !== undefined,
  },
];

const ROUNDS = 200;
/** Rounds that run at the same time, each with a mesh of its own. */
const LANES = 4;

describe.each([
  ['one store', 1],
  ['two stores on one file', 2],
])('writing and deleting at the same time, through %s', (_, stores) => {
  it.each(RACES)('$what: never an orphan', async ({ before, write, remove, leavesOrphan }) => {
    const path = join(temporaryFolder(), 'mesh-ca.db');
    const open = () => openSqliteStore({ path, clock: systemClock, log: silentLog });
    const here = await open();
    const there = stores === 1 ? here : await open();
    const names = Array.from({ length: 2 * ROUNDS }, (_, round) => `m-${round}`);
    await here.createResources(names.flatMap(before));
    const orphans: string[] = [];
    const unexpected: unknown[] = [];

    /** Odd rounds begin with the deletion, even ones with the writing; the other one follows 0 to 3 ms later, so that every order comes. */
    const run = async (round: number) => {
      const name = `m-${round}`;
      const steps = [() => write(here, name), () => remove(there, name)];
      if (round % 2 === 1) steps.reverse();
      const pauseMs = Math.floor(round / 2) % 4;
      const results = await Promise.allSettled(
        steps.map(async (step, place) => {
          if (place * pauseMs > 0) await systemClock.sleep(pauseMs);
          await step();
        }),
      );
      for (const result of results) {
        if (result.status === 'rejected' && !isRefusal(result.reason)) unexpected.push(result.reason);
      }
      if (await leavesOrphan(here, name)) orphans.push(name);
    };
    const lane = async (first: number) => {
      for (let round = first; round < names.length; round += LANES) await run(round);
    };
    await Promise.all(Array.from({ length: LANES }, (_, first) => lane(first)));

    expect(unexpected).toEqual([]);
    expect(orphans).toEqual([]);
    await Promise.all([here.close(), there.close()]);
  });
});

function isRefusal(error: unknown): boolean {
  return error instanceof CaError && (error.code === 'ERR_CONFLICT' || error.code === 'ERR_NOT_FOUND');
}
