import type { Clock } from '../../runtime/clock.ts';
import { createListeners } from '../../runtime/listeners.ts';
import type { Log } from '../../runtime/log.ts';
import type { ResourceKey, Store, StoreChange } from '../store.ts';
import {
  changeOf,
  checkDeletable,
  checkKey,
  checkQuery,
  checkRecord,
  checkTime,
  closedError,
  keyOf,
} from '../store-rules.ts';
import { createCommitQueue } from './commit-queue.ts';
import { openDatabase } from './open-database.ts';
import type { BeginQuery, Reader } from './reader.ts';
import { toStoreError } from './store-error.ts';

export interface SqliteStoreOptions {
  /** The database file. Made, with its folder, when there is none. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
}

export interface OpenSqlite {
  readonly store: Store;
  /** How many bodies of a type there are of each begin (their first `length` characters), without reading them out. */
  countByBegin(query: BeginQuery): Promise<ReadonlyMap<string, number>>;
}

/** How soon a change by another process on the same file is noticed. */
const FOREIGN_CHECK_MS = 1000;

/**
 * SQLite in WAL mode with synchronous=FULL: a write that has resolved survives a crash of the process and of the machine. Several processes
 * may use one file.
 *
 * @throws ConfigError when the file cannot be used, or belongs to a newer mesh-ca
 * @throws StoreUnavailableError when another process does not let go of its lock
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const { store } = await openSqlite(options);
  return store;
}

/** The store, together with what its contract has no word for. Throws as `openSqliteStore` does. */
export async function openSqlite({ path, clock, log }: SqliteStoreOptions): Promise<OpenSqlite> {
  const listeners = createListeners<StoreChange>((error) =>
    log.error({ err: error }, 'a listener for store changes failed'),
  );
  const tellForeignWrite = () => listeners.tell({ kind: 'unknown' });
  const tellKeys = (keys: readonly ResourceKey[]) => {
    for (const key of keys) listeners.tell(changeOf(key));
  };

  const database = await openDatabase({ path, clock, onForeignWrite: tellForeignWrite });
  const { writer, reader } = database;
  const queue = createCommitQueue(writer);

  const stop = new AbortController();
  const watching = watchForeignWrites();
  let closing: Promise<void> | undefined;

  async function watchForeignWrites(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        await clock.sleep(FOREIGN_CHECK_MS, stop.signal);
        if (writer.noticeRevision(openReader().revision())) tellForeignWrite();
      } catch (error) {
        if (!stop.signal.aborted) log.warn({ err: error }, 'cannot look for changes by other processes');
      }
    }
  }

  function openReader(): Reader {
    if (closing !== undefined) throw closedError();
    return reader;
  }

  async function read<T>(work: (reader: Reader) => T | Promise<T>): Promise<T> {
    try {
      return await work(openReader());
    } catch (error) {
      throw toStoreError(error);
    }
  }

  async function close(): Promise<void> {
    stop.abort();
    await Promise.all([queue.close(), watching]);
    try {
      await database.close();
    } catch (error) {
      log.debug({ err: error }, 'the write-ahead log stays for the next start');
    }
    listeners.clear();
  }

  const store: Store = {
    getResource: (key) => read((reader) => reader.getResource(key)),
    async listResources(query) {
      checkQuery(query);
      return read((reader) => reader.listResources(query));
    },
    async putResource(resource, options) {
      checkKey(resource);
      return queue.write(
        () => writer.putResource(resource, options),
        () => tellKeys([keyOf(resource)]),
      );
    },
    async createResources(resources, options) {
      resources.forEach(checkKey);
      return queue.write(
        () => writer.createResources(resources, options),
        (created) => created && tellKeys(resources.map(keyOf)),
      );
    },
    async deleteResource(key, options) {
      checkDeletable(key);
      return queue.write(
        () => writer.deleteResource(key, options),
        (deleted) => deleted && tellKeys([keyOf(key)]),
      );
    },
    async deleteMesh(mesh, options) {
      const deleted = await queue.write(
        () => writer.deleteMesh(mesh, options),
        (keys) => tellKeys(keys ?? []),
      );
      return deleted !== undefined;
    },

    getCertificate: (mesh, dataplane) => read((reader) => reader.getCertificate(mesh, dataplane)),
    listCertificates: (mesh) => read((reader) => reader.listCertificates(mesh)),
    listHolders: (mesh) => read((reader) => reader.listHolders(mesh)),
    async recordCertificate(record, options) {
      checkRecord(record);
      return queue.write(() => writer.putCertificate(record, options));
    },
    forgetDataplane: (mesh, dataplane) => queue.write(() => writer.forgetDataplane(mesh, dataplane)),

    async recordTrustStatement(statement) {
      checkTime('statedAt', statement.statedAt);
      return queue.write(() => writer.putStatement(statement));
    },
    listTrustStatements: (mesh) => read((reader) => reader.listStatements(mesh)),
    getTrustStatement: (mesh, dataplane) => read((reader) => reader.getStatement(mesh, dataplane)),

    getTrustBundle: (mesh) => read((reader) => reader.getBundle(mesh)),
    getTrustBundleVersion: (mesh, version) => read((reader) => reader.getBundleVersion(mesh, version)),
    appendTrustBundle: (mesh, body, previousVersion) =>
      queue.write(() => writer.appendBundle(mesh, body, previousVersion)),

    onChange: (listener) => listeners.add(listener),
    async ping() {
      await read((reader) => reader.revision());
      await queue.write(() => writer.ping());
    },
    close: () => {
      closing ??= close();
      return closing;
    },
  };
  return { store, countByBegin: (query) => read((reader) => reader.countByBegin(query)) };
}
