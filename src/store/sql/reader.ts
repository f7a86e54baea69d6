import type { Clock } from '../../runtime/clock.ts';
import type {
  ListQuery,
  ResourceKey,
  ResourcePage,
  StoredCertificate,
  StoredResource,
  StoredTrustBundle,
  TrustStatement,
} from '../store.ts';
import { integerOf, type ReadConnection, type Row, type Statement } from './driver.ts';
import { pause } from './pause.ts';
import { bundleOf, certificateOf, resourceOf, statementOf } from './rows.ts';
import { READS } from './statements.ts';

/** Point reads answer at once, on the calling thread. Each sees everything that was committed before. */
export interface Reader {
  getResource(key: ResourceKey): StoredResource | undefined;
  listResources(query: ListQuery): ResourcePage;
  getCertificate(mesh: string, dataplane: string): StoredCertificate | undefined;
  listCertificates(mesh: string): Promise<readonly StoredCertificate[]>;
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
/** SQLite's word for "no limit". */
const NO_LIMIT = -1;

export function createReader(connection: ReadConnection, clock: Clock): Reader {
  const prepared = Object.entries(READS).map(([name, text]) => [name, connection.prepare(text)]);
  const sql = Object.fromEntries(prepared) as Statements;

  /** Rows of `statement(mesh, <after this data plane>, <limit>)`, whole. */
  async function readInChunks<T extends { readonly dataplane: string }>(
    statement: Statement,
    mesh: string,
    parse: (mesh: string, row: Row) => T,
  ): Promise<readonly T[]> {
    const found: T[] = [];
    for (;;) {
      const rows = statement.all(mesh, found.at(-1)?.dataplane ?? '', CHUNK_ROWS);
      for (const row of rows) found.push(parse(mesh, row));
      if (rows.length < CHUNK_ROWS) return found;
      await pause(clock, BREATH_MS);
    }
  }

  return {
    getResource({ type, mesh, name }) {
      const row = sql.getResource.get(type, mesh, name);
      return row && resourceOf(row);
    },

    listResources({ type, mesh, nameContains = '', offset = 0, size = NO_LIMIT }) {
      sql.begin.run();
      try {
        const rows =
          mesh === undefined
            ? sql.listInAll.all(type, nameContains, size, offset)
            : sql.listInMesh.all(type, mesh, nameContains, size, offset);
        const items = rows.map(resourceOf);
        if (size === NO_LIMIT && offset === 0) return { items, total: items.length };
        const count =
          mesh === undefined ? sql.countInAll.get(type, nameContains) : sql.countInMesh.get(type, mesh, nameContains);
        return { items, total: integerOf(count ?? [], 0) };
      } finally {
        sql.commit.run();
      }
    },

    getCertificate(mesh, dataplane) {
      const row = sql.getCertificate.get(mesh, dataplane);
      return row && certificateOf(mesh, row);
    },
    listCertificates: (mesh) => readInChunks(sql.listCertificates, mesh, certificateOf),

    getStatement(mesh, dataplane) {
      const row = sql.getStatement.get(mesh, dataplane);
      return row && statementOf(mesh, row);
    },
    listStatements: (mesh) => readInChunks(sql.listStatements, mesh, statementOf),

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
