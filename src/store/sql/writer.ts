import type { Clock } from '../../runtime/clock.ts';
import type {
  CertificateRecord,
  PutResource,
  RecordOptions,
  Requirements,
  ResourceKey,
  Store,
  StoredResource,
  StoredTrustBundle,
  TrustStatement,
} from '../store.ts';
import {
  bundleConflict,
  changedConflict,
  isSameRevision,
  keyOf,
  meshKey,
  missingError,
  occupiedConflict,
  remadeConflict,
  versionConflict,
} from '../store-rules.ts';
import type { CommitPort } from './commit-queue.ts';
import { integerOf, textOf, type WriteConnection, type WriteStatement } from './driver.ts';
import { retryWhileBusy } from './retry-while-busy.ts';
import { packChain, recordJsonOf } from './rows.ts';
import { WRITES } from './statements.ts';

/** What can be done inside a transaction of the commit queue. Every method does all it says or, when it throws, nothing. */
export interface Writer extends CommitPort {
  putResource(resource: PutResource, options: Parameters<Store['putResource']>[1]): StoredResource;
  createResources(resources: readonly PutResource[], options: Requirements | undefined): boolean;
  deleteResource(key: ResourceKey, options: Parameters<Store['deleteResource']>[1]): boolean;
  /** The keys that went. Undefined when there is no such mesh. */
  deleteMesh(mesh: string, options: Parameters<Store['deleteMesh']>[1]): readonly ResourceKey[] | undefined;
  putCertificate(record: CertificateRecord, options: RecordOptions | undefined): void;
  forgetDataplane(mesh: string, dataplane: string): void;
  putStatement(statement: TrustStatement): void;
  appendBundle(mesh: string, body: string, previousVersion: number): StoredTrustBundle;
  /** Writes something that nobody reads. */
  ping(): void;
  /** Takes note of a revision read from the file. True when another process has written since. */
  noticeRevision(value: number): boolean;
}

type Statements = { readonly [name in keyof typeof WRITES]: WriteStatement };

export interface WriterOptions {
  readonly connection: WriteConnection;
  readonly clock: Clock;
  /** Called inside a transaction that finds writes of another process. */
  readonly onForeignWrite: () => void;
}

export async function createWriter({ connection, clock, onForeignWrite }: WriterOptions): Promise<Writer> {
  const sql = await prepareAll(connection, clock);
  /** Hashes of the chains that this transaction has already put. */
  const chainsPut = new Set<string>();
  /** Meshes that this transaction has found, and when each was made. It keeps every other writer out, so that they stay until it deletes one itself. */
  const meshesFound = new Map<string, number>();
  /** Newest value of the table `revision` that this process has written or noticed. */
  let revision = 0;
  let revisionBefore = 0;

  function atomically<T>(work: () => T): T {
    sql.savepoint.run();
    try {
      const result = work();
      sql.releaseSavepoint.run();
      return result;
    } catch (error) {
      if (connection.inTransaction) {
        sql.rollbackToSavepoint.run();
        sql.releaseSavepoint.run();
      }
      throw error;
    }
  }

  function bumpRevision(): void {
    const row = sql.bumpRevision.get();
    if (row === undefined) throw new Error('the store has lost its revision row');
    const value = integerOf(row, 0);
    if (value > revision + 1) onForeignWrite();
    revision = value;
  }

  function checkRequired(keys: readonly ResourceKey[] = []): void {
    for (const key of keys) {
      if (sql.resourceExists.get(key.type, key.mesh, key.name) === undefined) throw missingError(key);
    }
  }

  /** @param madeAt when the caller's Mesh was made; another one of the same name will not do */
  function checkMesh(mesh: string, madeAt?: Date): void {
    let foundMs = meshesFound.get(mesh);
    if (foundMs === undefined) {
      const key = meshKey(mesh);
      const row = sql.findResource.get(key.type, key.mesh, key.name);
      if (row === undefined) throw missingError(key);
      foundMs = integerOf(row, 1);
      meshesFound.set(mesh, foundMs);
    }
    if (madeAt !== undefined && madeAt.getTime() !== foundMs) throw remadeConflict(mesh);
  }

  function checkUnchanged(seen: StoredResource): void {
    const row = sql.findResource.get(seen.type, seen.mesh, seen.name);
    const found = row && { version: integerOf(row, 0), createdAt: new Date(integerOf(row, 1)) };
    if (!isSameRevision(found, seen)) throw changedConflict(seen, found);
  }

  function checkNoneOf(type: string, mesh: string): void {
    const row = sql.findInMesh.get(type, mesh);
    if (row !== undefined) throw occupiedConflict(mesh, { type, mesh, name: textOf(row, 0) });
  }

  function forgetFound(): void {
    chainsPut.clear();
    meshesFound.clear();
  }

  function insertResource(resource: PutResource): StoredResource {
    const now = clock.now();
    const { type, mesh, name, body, owned = false } = resource;
    sql.insertResource.run(type, mesh, name, body, now.getTime(), now.getTime(), owned ? 1 : 0);
    return { type, mesh, name, body, version: 1, createdAt: now, modifiedAt: now, owned };
  }

  return {
    async begin() {
      revisionBefore = revision;
      await retryWhileBusy(clock, () => sql.begin.run());
      revisionBefore = revision;
      forgetFound();
    },
    commit: () => connection.execOffThread('COMMIT'),
    rollback() {
      revision = revisionBefore;
      try {
        if (connection.inTransaction) sql.rollback.run();
      } catch {
        // The disk is gone: the next BEGIN will tell.
      }
    },
    isOpen: () => connection.inTransaction,

    putResource(resource, { expectedVersion, requires } = {}) {
      checkRequired(requires);
      const { type, mesh, name, body } = resource;
      const existing = sql.findResource.get(type, mesh, name);
      const version = existing === undefined ? 0 : integerOf(existing, 0);
      if (expectedVersion !== undefined && expectedVersion !== version) {
        throw versionConflict(resource, version, expectedVersion);
      }
      return atomically(() => {
        bumpRevision();
        if (existing === undefined) return insertResource(resource);
        const modifiedAt = clock.now();
        sql.updateResource.run(body, modifiedAt.getTime(), type, mesh, name);
        const createdAt = new Date(integerOf(existing, 1));
        const owned = integerOf(existing, 2) === 1;
        return { ...keyOf(resource), body, version: version + 1, createdAt, modifiedAt, owned };
      });
    },

    createResources(resources, { requires } = {}) {
      checkRequired(requires);
      const ids = new Set(resources.map((resource) => JSON.stringify(keyOf(resource))));
      if (ids.size < resources.length) return false;
      if (resources.some(({ type, mesh, name }) => sql.findResource.get(type, mesh, name) !== undefined)) return false;
      return atomically(() => {
        if (resources.length > 0) bumpRevision();
        for (const resource of resources) insertResource(resource);
        return true;
      });
    },

    deleteResource: ({ type, mesh, name }, { unchanged = [] } = {}) =>
      atomically(() => {
        if (sql.resourceExists.get(type, mesh, name) === undefined) return false;
        unchanged.forEach(checkUnchanged);
        sql.deleteResource.run(type, mesh, name);
        bumpRevision();
        return true;
      }),

    deleteMesh: (mesh, { unlessAny } = {}) =>
      atomically(() => {
        const key = meshKey(mesh);
        if (sql.deleteResource.run(key.type, key.mesh, key.name) === 0) return undefined;
        if (unlessAny !== undefined) checkNoneOf(unlessAny, mesh);
        bumpRevision();
        const found = sql.findOwned.get(mesh) ?? ['[]'];
        const owned = JSON.parse(textOf(found, 0)) as [type: string, name: string][];
        sql.deleteOwned.run(mesh);
        sql.deleteCertificates.run(mesh);
        sql.deleteStatements.run(mesh);
        sql.deleteUnusedChains.run();
        forgetFound();
        return [key, ...owned.map(([type, name]) => ({ type, mesh, name }))];
      }),

    putCertificate(record, { requires, meshCreatedAt } = {}) {
      checkMesh(record.mesh, meshCreatedAt);
      checkRequired(requires);
      const chain = packChain(record.chain);
      if (chain !== undefined) {
        const id = chain.hash.toString('latin1');
        if (!chainsPut.has(id)) sql.putChain.run(chain.hash, chain.bytes);
        chainsPut.add(id);
      }
      sql.putCertificate.run(record.mesh, record.dataplane, chain?.hash ?? null, recordJsonOf(record), record.leaf);
    },

    forgetDataplane: (mesh, dataplane) =>
      atomically(() => {
        sql.deleteCertificate.run(mesh, dataplane);
        sql.deleteStatement.run(mesh, dataplane);
      }),

    putStatement({ mesh, dataplane, bundleVersion, statedAt }) {
      checkMesh(mesh);
      sql.putStatement.run(mesh, dataplane, bundleVersion, statedAt.getTime());
    },

    appendBundle(mesh, body, previousVersion) {
      const found = Number(sql.findBundleVersion.get(mesh)?.[0] ?? 0);
      if (found !== previousVersion) throw bundleConflict(mesh, found, previousVersion);
      return atomically(() => {
        bumpRevision();
        const bundle = { mesh, version: found + 1, body, createdAt: clock.now() };
        sql.insertBundle.run(mesh, bundle.version, body, bundle.createdAt.getTime());
        return bundle;
      });
    },

    ping: () => void sql.ping.run(),

    noticeRevision(value) {
      if (value <= revision) return false;
      revision = value;
      return true;
    },
  };
}

async function prepareAll(connection: WriteConnection, clock: Clock): Promise<Statements> {
  const prepared: [string, WriteStatement][] = [];
  for (const [name, text] of Object.entries(WRITES)) {
    prepared.push([name, await retryWhileBusy(clock, () => connection.prepare(text))]);
  }
  return Object.fromEntries(prepared) as Statements;
}
