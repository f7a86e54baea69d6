import SyncDatabase from 'libsql';
import PromiseDatabase from 'libsql/promise';

/** What can be bound. Times are integer milliseconds, texts may hold NUL. */
export type Bound = string | number | Buffer | null;
/** Columns in the order of the statement. Read them with `textOf`, `integerOf`, `bytesOf`. */
export type Row = readonly unknown[];

export interface Statement {
  /** Number of changed rows. */
  run(...values: Bound[]): number;
  get(...values: Bound[]): Row | undefined;
  all(...values: Bound[]): Row[];
}

/** Read on the calling thread: a prepared point read takes some microseconds, and WAL readers never wait for the writer. */
export interface ReadConnection {
  prepare(sql: string): Statement;
  close(): void;
}

/**
 * One writing connection. Its statements run on the calling thread and never touch the disk's sync; `execOffThread` runs on a thread of the
 * driver, which is where COMMIT with its fsync belongs. Nothing else may use the connection until that promise has settled.
 */
export interface WriteConnection {
  prepare(sql: string): Promise<WriteStatement>;
  execOffThread(sql: string): Promise<void>;
  readonly inTransaction: boolean;
  close(): void;
}

/** `all` is missing on purpose: on this connection the driver would make it asynchronous. */
export type WriteStatement = Omit<Statement, 'all'>;

interface NativeStatement {
  run(values: Bound[]): { readonly changes: number };
  get(values: Bound[]): unknown;
  all(values: Bound[]): unknown;
  raw(): unknown;
  readonly reader: boolean;
}

interface NativeWriter {
  prepare(sql: string): Promise<NativeStatement>;
  exec(sql: string): Promise<void>;
  readonly inTransaction: boolean;
  close(): void;
}

/** `busyTimeoutMs`: how long the calling thread may block when another process recovers the file. */
export function openReadConnection(path: string, busyTimeoutMs: number): ReadConnection {
  const database = new SyncDatabase(path, { timeout: busyTimeoutMs });
  const statements: Release[] = [];
  return {
    prepare: (sql) => wrapStatement(database.prepare(sql) as unknown as NativeStatement, statements),
    close: () => closeAll(database, statements),
  };
}

/** Answers SQLITE_BUSY at once: waiting for another process is the caller's, who can do it without blocking a thread. */
export function openWriteConnection(path: string): WriteConnection {
  const database = new PromiseDatabase(path, { timeout: 0 }) as unknown as NativeWriter;
  const statements: Release[] = [];
  return {
    prepare: async (sql) => wrapStatement(await database.prepare(sql), statements),
    execOffThread: (sql) => database.exec(sql),
    get inTransaction() {
      return database.inTransaction;
    },
    close: () => closeAll(database, statements),
  };
}

type Release = () => void;

/** Always an array of values: the driver takes a single object for named parameters, and adds `_metadata` to row objects. */
function wrapStatement(statement: NativeStatement, statements: Release[]): Statement {
  if (statement.reader) statement.raw();
  let native: NativeStatement | undefined = statement;
  statements.push(() => {
    native = undefined;
  });
  const open = () => {
    if (native === undefined) throw new Error('the connection to the database is closed');
    return native;
  };
  return {
    run: (...values) => open().run(values).changes,
    get: (...values) => open().get(values) as Row | undefined,
    all: (...values) => open().all(values) as Row[],
  };
}

/** The driver has no `finalize`: it lets go of the file when the connection is closed and the last statement is garbage. */
function closeAll(database: { close(): unknown }, statements: Release[]): void {
  for (const release of statements.splice(0)) release();
  database.close();
}

export function isBusy(error: unknown): boolean {
  return codeOf(error).startsWith('SQLITE_BUSY');
}

/** SQLite's own name of what went wrong (`SQLITE_FULL`), '' when it is another error. */
export function codeOf(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error)) return '';
  return typeof error.code === 'string' ? error.code : '';
}

/** For columns selected with CAST(... AS BLOB): the driver cuts a TEXT at its first NUL. */
export function textOf(row: Row, column: number): string {
  const value = row[column];
  if (typeof value === 'string') return value;
  return bytesOf(row, column).toString('utf8');
}

export function integerOf(row: Row, column: number): number {
  const value = row[column];
  if (typeof value !== 'number') throw new Error(`column ${column} holds ${typeof value} in place of an integer`);
  return value;
}

export function bytesOf(row: Row, column: number): Buffer {
  const value = row[column];
  if (Buffer.isBuffer(value)) return value;
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  throw new Error(`column ${column} holds ${value === null ? 'null' : typeof value} in place of bytes`);
}
