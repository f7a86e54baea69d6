import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { ResourceKey, Store } from '../store.ts';
import {
  changeOf,
  checkKey,
  checkQuery,
  checkRecord,
  checkTime,
  closedError,
  createChangeListeners,
  keyOf,
} from '../store-rules.ts';
import { createCommitQueue } from './commit-queue.ts';
import { openDatabase } from './open-database.ts';
import type { Reader } from './reader.ts';

export interface SqliteStoreOptions {
  /** The database file. Made, with its folder, when there is none. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** How soon a change by another process on the same file is noticed. */
const FOREIGN_CHECK_MS = 1000;

/**
 * SQLite in WAL mode with synchronous=FULL: a write that has resolved survives a crash of the process and of the machine. Several processes
 * may use one file.
 *
 * @throws ConfigError when the file cannot be used, or belongs to a newer mesh-ca
 */
export async function openSqliteStore({ path, clock, log }: SqliteStoreOptions): Promise<Store> {
  const listeners = createChangeListeners((error) => log.error({ err: error }, 'a listener for store changes failed'));
  const tellForeignWrite = () => listeners.tell([{ kind: 'unknown' }]);
  const tellKeys = (keys: readonly ResourceKey[]) => listeners.tell(keys.map(changeOf));

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

  return {
    getResource: async (key) => openReader().getResource(key),
    async listResources(query) {
      checkQuery(query);
      return openReader().listResources(query);
    },
    async putResource(resource, { expectedVersion } = {}) {
      checkKey(resource);
      return queue.write(
        () => writer.putResource(resource, expectedVersion),
        () => tellKeys([keyOf(resource)]),
      );
    },
    async createResources(resources) {
      resources.forEach(checkKey);
      return queue.write(
        () => writer.createResources(resources),
        (created) => created && tellKeys(resources.map(keyOf)),
      );
    },
    deleteResource: (key) =>
      queue.write(
        () => writer.deleteResource(key),
        (deleted) => deleted && tellKeys([keyOf(key)]),
      ),
    async deleteMesh(mesh) {
      const deleted = await queue.write(
        () => writer.deleteMesh(mesh),
        (keys) => tellKeys(keys ?? []),
      );
      return deleted !== undefined;
    },

    getCertificate: async (mesh, dataplane) => openReader().getCertificate(mesh, dataplane),
    listCertificates: async (mesh) => openReader().listCertificates(mesh),
    async recordCertificate(record) {
      checkRecord(record);
      return queue.write(() => writer.putCertificate(record));
    },
    deleteCertificate: (mesh, dataplane) => queue.write(() => writer.deleteCertificate(mesh, dataplane)),

    async recordTrustStatement(statement) {
      checkTime('statedAt', statement.statedAt);
      return queue.write(() => writer.putStatement(statement));
    },
    listTrustStatements: async (mesh) => openReader().listStatements(mesh),
    getTrustStatement: async (mesh, dataplane) => openReader().getStatement(mesh, dataplane),

    getTrustBundle: async (mesh) => openReader().getBundle(mesh),
    getTrustBundleVersion: async (mesh, version) => openReader().getBundleVersion(mesh, version),
    appendTrustBundle: (mesh, body, previousVersion) =>
      queue.write(() => writer.appendBundle(mesh, body, previousVersion)),

    onChange: (listener) => listeners.add(listener),
    async ping() {
      openReader().revision();
      await queue.write(() => writer.ping());
    },
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}
