import type { Clock } from '../../runtime/clock.ts';
import type {
  CountedHolder,
  ListQuery,
  ResourceKey,
  ResourcePage,
  StoredCertificate,
  StoredResource,
  StoredTrustBundle,
  TrustStatement,
} from '../store.ts';
import { integerOf, type ReadConnection, type Row, type Statement, textOf } from './driver.ts';
import { pause } from './pause.ts';
import { bundleOf, certificateOf, certificatesOf, holdersOf, resourceOf, statementOf, statementsOf } from './rows.ts';
import { READS } from './statements.ts';

export interface BeginQuery {
  readonly type: string;
  /** Bodies that begin otherwise are not counted. */
  readonly prefix: string;
  /** Characters that tell one begin from another. */
  readonly length: number;
}

/** Point reads answer at once, on the calling thread. Each sees everything that was committed before. */
export interface Reader {
  getResource(key: ResourceKey): StoredResource | undefined;
  listResources(query: ListQuery): Promise<ResourcePage>;
  countByBegin(query: BeginQuery): ReadonlyMap<string, number>;
  getCertificate(mesh: string, dataplane: string): StoredCertificate | undefined;
  listCertificates(mesh: string): Promise<readonly StoredCertificate[]>;
  listHolders(mesh: string): Promise<readonly CountedHolder[]>;
  getStatement(mesh: string, dataplane: string): TrustStatement | undefined;
  listStatements(mesh: string): Promise<readonly TrustStatement[]>;
  getBundle(mesh: string): StoredTrustBundle | undefined;
  getBundleVersion(mesh: string, version: number): StoredTrustBundle | undefined;
  revision(): number;
}

type Statements = { readonly [name in keyof typeof READS]: Statement };

/** Rows read in one go of a long list, some milliseconds; other work gets its turn in between. */
const CHUNK_ROWS = 500;
const BREATH_MS = 1;

export function createReader(connection: ReadConnection, clock: Clock): Reader {
  const prepared = Object.entries(READS).map(([name, text]) => [name, connection.prepare(text)]);
  const sql = Object.fromEntries(prepared) as Statements;

  /** All of a list: `readChunk` answers up to CHUNK_ROWS that follow after `last`. */
  async function readInChunks<T>(readChunk: (last: T | undefined) => readonly T[]): Promise<T[]> {
    const found: T[] = [];
    for (;;) {
      const chunk = readChunk(found.at(-1));
      for (const one of chunk) found.push(one);
      if (chunk.length < CHUNK_ROWS) return found;
      await pause(clock, BREATH_MS);
    }
  }

  function readOfMesh<T extends { readonly dataplane: string }>(
    statement: Statement,
    mesh: string,
    parse: (mesh: string, rows: readonly Row[]) => readonly T[],
  ): Promise<T[]> {
    return readInChunks<T>((last) => parse(mesh, statement.all(mesh, last?.dataplane ?? '', CHUNK_ROWS)));
  }

  function readAll({ type, mesh, nameContains = '' }: ListQuery): Promise<StoredResource[]> {
    return readInChunks<StoredResource>((last) => {
      const rows =
        mesh === undefined
          ? sql.listInAll.all(type, last?.mesh ?? '', last?.name ?? '', nameContains, CHUNK_ROWS)
          : sql.listInMesh.all(type, mesh, last?.name ?? '', nameContains, CHUNK_ROWS);
      return rows.map(resourceOf);
    });
  }

  /** Page and count are of one moment. */
  function readPage({ type, mesh, nameContains = '', offset = 0 }: ListQuery, size: number): ResourcePage {
    sql.begin.run();
    try {
      const rows =
        mesh === undefined
          ? sql.pageInAll.all(type, nameContains, size, offset)
          : sql.pageInMesh.all(type, mesh, nameContains, size, offset);
      const count =
        mesh === undefined ? sql.countInAll.get(type, nameContains) : sql.countInMesh.get(type, mesh, nameContains);
      return { items: rows.map(resourceOf), total: integerOf(count ?? [], 0) };
    } finally {
      sql.commit.run();
    }
  }

  return {
    getResource({ type, mesh, name }) {
      const row = sql.getResource.get(type, mesh, name);
      return row && resourceOf(row);
    },

    async listResources(query) {
      if (query.size !== undefined) return readPage(query, query.size);
      const all = await readAll(query);
      return { items: all.slice(query.offset ?? 0), total: all.length };
    },

    countByBegin({ type, prefix, length }) {
      const rows = sql.countByBegin.all(length, type, prefix.length, prefix);
      return new Map(rows.map((row) => [textOf(row, 0), integerOf(row, 1)]));
    },

    getCertificate(mesh, dataplane) {
      const row = sql.getCertificate.get(mesh, dataplane);
      return row && certificateOf(mesh, row);
    },
    listCertificates: (mesh) => readOfMesh(sql.listCertificates, mesh, certificatesOf),
    listHolders: (mesh) => readOfMesh(sql.listHolders, mesh, holdersOf),

    getStatement(mesh, dataplane) {
      const row = sql.getStatement.get(mesh, dataplane);
      return row && statementOf(mesh, row);
    },
    listStatements: (mesh) => readOfMesh(sql.listStatements, mesh, statementsOf),

    getBundle(mesh) {
      const row = sql.getBundle.get(mesh);
      return row && bundleOf(mesh, row);
    },
    getBundleVersion(mesh, version) {
      const row = sql.getBundleVersion.get(mesh, version);
      return row && bundleOf(mesh, row);
    },
    revision: () => integerOf(sql.revision.get() ?? [], 0),
  };
}
