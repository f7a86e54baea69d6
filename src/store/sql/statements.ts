/**
 * Every statement of the store, prepared once at opening. A text that goes out is cast to BLOB, because the driver cuts a TEXT at its first
 * NUL; one that comes in needs nothing. `READS` runs on the reading connection, `WRITES` on the writing one, inside a transaction.
 */

const RESOURCE =
  'CAST(type AS BLOB), CAST(mesh AS BLOB), CAST(name AS BLOB), CAST(body AS BLOB), version, created_at, modified_at, owned';
const CERTIFICATE = `CAST(c.dataplane AS BLOB), c.regenerations, c.record, c.leaf, h.certificates
  FROM certificates c LEFT JOIN chains h ON h.hash = c.chain`;
/** In the order of `holderOf`. */
const HOLDER = `json_extract(record, '$.backend', '$.rootHashes', '$.serialNumber', '$.issuedAt', '$.notAfter')`;
const BUNDLE = 'version, CAST(body AS BLOB), created_at FROM trust_bundles';

/**
 * `page...`: by offset. `list...`: what follows after a key, for lists that are read in steps. Short things that come by the thousands come as one
 * JSON text: a row that the driver makes costs several times as much as what stands in it.
 */
export const READS = {
  begin: 'BEGIN',
  commit: 'COMMIT',
  getResource: `SELECT ${RESOURCE} FROM resources WHERE type = ? AND mesh = ? AND name = ?`,
  pageInMesh: `SELECT ${RESOURCE} FROM resources WHERE type = ? AND mesh = ? AND instr(name, ?) > 0
    ORDER BY name LIMIT ? OFFSET ?`,
  pageInAll: `SELECT ${RESOURCE} FROM resources WHERE type = ? AND instr(name, ?) > 0 ORDER BY mesh, name LIMIT ? OFFSET ?`,
  listInMesh: `SELECT ${RESOURCE} FROM resources WHERE type = ? AND mesh = ? AND name > ? AND instr(name, ?) > 0
    ORDER BY name LIMIT ?`,
  listInAll: `SELECT ${RESOURCE} FROM resources WHERE type = ? AND (mesh, name) > (?, ?) AND instr(name, ?) > 0
    ORDER BY mesh, name LIMIT ?`,
  countInMesh: 'SELECT count(*) FROM resources WHERE type = ? AND mesh = ? AND instr(name, ?) > 0',
  countInAll: 'SELECT count(*) FROM resources WHERE type = ? AND instr(name, ?) > 0',
  countByBegin: `SELECT CAST(substr(body, 1, ?) AS BLOB), count(*) FROM resources WHERE type = ? AND substr(body, 1, ?) = ?
    GROUP BY 1`,
  getCertificate: `SELECT ${CERTIFICATE} WHERE c.mesh = ? AND c.dataplane = ?`,
  listCertificates: `SELECT ${CERTIFICATE} WHERE c.mesh = ? AND c.dataplane > ? ORDER BY c.dataplane LIMIT ?`,
  listHolders: `SELECT CAST(json_group_array(json_array(dataplane, regenerations, ${HOLDER})) AS BLOB) FROM
    (SELECT dataplane, regenerations, record FROM certificates WHERE mesh = ? AND dataplane > ? ORDER BY dataplane LIMIT ?)`,
  getStatement: `SELECT CAST(dataplane AS BLOB), bundle_version, stated_at FROM trust_statements
    WHERE mesh = ? AND dataplane = ?`,
  listStatements: `SELECT CAST(json_group_array(json_array(dataplane, bundle_version, stated_at)) AS BLOB) FROM
    (SELECT dataplane, bundle_version, stated_at FROM trust_statements WHERE mesh = ? AND dataplane > ?
    ORDER BY dataplane LIMIT ?)`,
  getBundle: `SELECT ${BUNDLE} WHERE mesh = ? ORDER BY version DESC LIMIT 1`,
  getBundleVersion: `SELECT ${BUNDLE} WHERE mesh = ? AND version = ?`,
  revision: 'SELECT value FROM revision',
} as const;

export const WRITES = {
  begin: 'BEGIN IMMEDIATE',
  rollback: 'ROLLBACK',
  savepoint: 'SAVEPOINT job',
  releaseSavepoint: 'RELEASE job',
  rollbackToSavepoint: 'ROLLBACK TO job',
  bumpRevision: 'UPDATE revision SET value = value + 1 RETURNING value',
  resourceExists: 'SELECT 1 FROM resources WHERE type = ? AND mesh = ? AND name = ?',
  findInMesh: 'SELECT CAST(name AS BLOB) FROM resources WHERE type = ? AND mesh = ? ORDER BY name LIMIT 1',
  findResource: 'SELECT version, created_at, owned FROM resources WHERE type = ? AND mesh = ? AND name = ?',
  insertResource: `INSERT INTO resources (type, mesh, name, body, version, created_at, modified_at, owned)
    VALUES (?, ?, ?, ?, 1, ?, ?, ?)`,
  updateResource: `UPDATE resources SET body = ?, version = version + 1, modified_at = ?
    WHERE type = ? AND mesh = ? AND name = ?`,
  deleteResource: 'DELETE FROM resources WHERE type = ? AND mesh = ? AND name = ?',
  findOwned: `SELECT json_group_array(json_array(type, name)) FROM
    (SELECT type, name FROM resources WHERE mesh = ? AND owned = 1 ORDER BY name)`,
  deleteOwned: 'DELETE FROM resources WHERE mesh = ? AND owned = 1',
  putChain: 'INSERT INTO chains (hash, certificates) VALUES (?, ?) ON CONFLICT DO NOTHING',
  putCertificate: `INSERT INTO certificates (mesh, dataplane, regenerations, chain, record, leaf) VALUES (?, ?, 1, ?, ?, ?)
    ON CONFLICT DO UPDATE SET regenerations = regenerations + 1, chain = excluded.chain, record = excluded.record,
    leaf = excluded.leaf`,
  deleteCertificate: 'DELETE FROM certificates WHERE mesh = ? AND dataplane = ?',
  deleteCertificates: 'DELETE FROM certificates WHERE mesh = ?',
  deleteUnusedChains: `DELETE FROM chains
    WHERE NOT EXISTS (SELECT 1 FROM certificates WHERE certificates.chain = chains.hash)`,
  putStatement: `INSERT INTO trust_statements (mesh, dataplane, bundle_version, stated_at) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET bundle_version = excluded.bundle_version, stated_at = excluded.stated_at
    WHERE excluded.stated_at >= stated_at`,
  deleteStatement: 'DELETE FROM trust_statements WHERE mesh = ? AND dataplane = ?',
  deleteStatements: 'DELETE FROM trust_statements WHERE mesh = ?',
  findBundleVersion: 'SELECT max(version) FROM trust_bundles WHERE mesh = ?',
  insertBundle: 'INSERT INTO trust_bundles (mesh, version, body, created_at) VALUES (?, ?, ?, ?)',
  /** A real change: SQLite writes and syncs nothing for a page that stays as it was. */
  ping: 'UPDATE revision SET pings = pings + 1',
} as const;
