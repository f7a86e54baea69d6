/**
 * Schema versions, first is 1. A migration that has been released is never changed; a new one is appended. Each runs in a transaction of
 * its own, together with the note that it ran.
 *
 * Times are integer milliseconds since 1970. Tables have a rowid: bodies and certificates are large, and such rows in a WITHOUT ROWID
 * table cost twice as much to write (docs/decisions/commit-thread.md).
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE resources (
    type TEXT NOT NULL,
    mesh TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    modified_at INTEGER NOT NULL,
    owned INTEGER NOT NULL CHECK (owned IN (0, 1)),
    PRIMARY KEY (type, mesh, name)
  ) STRICT;
  CREATE INDEX resources_owned ON resources (mesh) WHERE owned = 1;

  -- Thousands of certificates share one chain: it stands here once. hash: SHA-256 of certificates.
  -- certificates: DER after DER, the leaf's issuer first, each after its length (4 bytes, big endian).
  CREATE TABLE chains (
    hash BLOB NOT NULL PRIMARY KEY,
    certificates BLOB NOT NULL
  ) STRICT;

  -- record: JSON of what is neither key nor bytes. chain is NULL when the leaf's issuer is a root.
  CREATE TABLE certificates (
    mesh TEXT NOT NULL,
    dataplane TEXT NOT NULL,
    regenerations INTEGER NOT NULL,
    chain BLOB REFERENCES chains (hash),
    record TEXT NOT NULL,
    leaf BLOB NOT NULL,
    PRIMARY KEY (mesh, dataplane)
  ) STRICT;
  CREATE INDEX certificates_chain ON certificates (chain) WHERE chain IS NOT NULL;

  CREATE TABLE trust_statements (
    mesh TEXT NOT NULL,
    dataplane TEXT NOT NULL,
    bundle_version INTEGER NOT NULL,
    stated_at INTEGER NOT NULL,
    PRIMARY KEY (mesh, dataplane)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE trust_bundles (
    mesh TEXT NOT NULL,
    version INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (mesh, version)
  ) STRICT;

  -- One row. value grows with every change of a resource or a trust bundle: how another process on the same file notices it.
  CREATE TABLE revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    value INTEGER NOT NULL,
    pings INTEGER NOT NULL
  ) STRICT;
  INSERT INTO revision (id, value, pings) VALUES (1, 0, 0);
  `,
];

/** Exists before version 1, so that the first migration is noted like all others. */
export const MIGRATIONS_TABLE = `
  CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    applied_at INTEGER NOT NULL
  ) STRICT`;
