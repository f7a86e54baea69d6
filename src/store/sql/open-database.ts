import { closeSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { CaError, ConfigError } from '../../issuer/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import { makeFolder } from '../../runtime/make-folder.ts';
import { codeOf, openReadConnection, openWriteConnection, type WriteConnection } from './driver.ts';
import { MIGRATIONS, MIGRATIONS_TABLE } from './migrations.ts';
import { createReader, type Reader } from './reader.ts';
import { retryWhileBusy } from './retry-while-busy.ts';
import { createWriter, type Writer } from './writer.ts';

export interface OpenDatabase {
  readonly writer: Writer;
  readonly reader: Reader;
  /** Empties the write-ahead log where no other process needs it, and lets go of the file. */
  close(): Promise<void>;
}

export interface OpenDatabaseOptions {
  readonly path: string;
  readonly clock: Clock;
  /** Called inside a transaction that finds writes of another process. */
  readonly onForeignWrite: () => void;
}

/** How long a read may block its thread while another process repairs the file after a crash. */
const READ_BUSY_TIMEOUT_MS = 5000;

/**
 * One connection to write, one to read. The file is made when there is none (0600, a missing parent folder 0700) and brought to the newest
 * schema. Safe while other processes do the same.
 *
 * @throws ConfigError when the file cannot be used, or belongs to a newer mesh-ca
 * @throws StoreUnavailableError when another process does not let go of its lock
 */
export async function openDatabase({ path, clock, onForeignWrite }: OpenDatabaseOptions): Promise<OpenDatabase> {
  const connections: { close(): void }[] = [];
  try {
    makeFolder(dirname(path));
    // SQLite gives the -wal and -shm files beside it the mode of this one.
    closeSync(openSync(path, 'a', 0o600));
    const connection = openWriteConnection(path);
    connections.push(connection);
    await setUp(connection, clock);
    await migrate(connection, path, clock);
    const writer = await createWriter({ connection, clock, onForeignWrite });
    const readConnection = openReadConnection(path, READ_BUSY_TIMEOUT_MS);
    connections.push(readConnection);
    const reader = createReader(readConnection, clock);
    writer.noticeRevision(reader.revision());
    const close = async () => {
      readConnection.close();
      await connection.execOffThread('PRAGMA wal_checkpoint(TRUNCATE)').finally(() => connection.close());
    };
    return { writer, reader, close };
  } catch (error) {
    for (const each of connections) each.close();
    if (error instanceof CaError) throw error;
    throw unusable(path, error);
  }
}

async function setUp(connection: WriteConnection, clock: Clock): Promise<void> {
  await retryWhileBusy(clock, () => connection.execOffThread('PRAGMA journal_mode = WAL'));
  await connection.execOffThread('PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
}

async function migrate(connection: WriteConnection, path: string, clock: Clock): Promise<void> {
  await retryWhileBusy(clock, () => connection.execOffThread(MIGRATIONS_TABLE));
  const prepare = (sql: string) => retryWhileBusy(clock, () => connection.prepare(sql));
  const begin = await prepare('BEGIN IMMEDIATE');
  const current = await prepare('SELECT coalesce(max(version), 0) FROM schema_migrations');
  const note = await prepare('INSERT INTO schema_migrations (version, applied_at) VALUES (?, ?)');
  for (;;) {
    // Looked up inside each transaction: another process may have been quicker.
    await retryWhileBusy(clock, () => begin.run());
    const version = Number(current.get()?.[0]);
    const sql = MIGRATIONS[version];
    if (sql === undefined) {
      await connection.execOffThread('ROLLBACK');
      if (version > MIGRATIONS.length) throw newerSchema(path, version);
      return;
    }
    await connection.execOffThread(sql);
    note.run(version + 1, clock.now().getTime());
    await connection.execOffThread('COMMIT');
  }
}

function newerSchema(path: string, version: number): ConfigError {
  const message = `database ${path} has schema version ${version}, this mesh-ca knows versions up to ${MIGRATIONS.length}`;
  return new ConfigError(message, {
    fix: 'start the mesh-ca that wrote it or a newer one, or give another MESH_CA_STORE',
  });
}

function unusable(path: string, cause: unknown): ConfigError {
  const what = codeOf(cause) === 'SQLITE_NOTADB' ? 'is not a SQLite database' : `cannot be opened: ${messageOf(cause)}`;
  const fix = 'check that MESH_CA_STORE names a file that this user may read and write, or one that does not exist yet';
  return new ConfigError(`database ${path} ${what}`, { cause, fix });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
