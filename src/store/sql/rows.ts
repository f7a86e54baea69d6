import { hash } from 'node:crypto';
import type {
  CertificateRecord,
  CountedHolder,
  StoredCertificate,
  StoredResource,
  StoredTrustBundle,
  TrustStatement,
} from '../store.ts';
import { bytesOf, integerOf, type Row, textOf } from './driver.ts';

/** Between rows of `statements.ts` and the contract's shapes. Column numbers follow the SELECTs there. */

/** JSON in the column `record`. Times in milliseconds. */
interface RecordJson {
  readonly backend: string;
  readonly backendType: string;
  readonly backendHash: string;
  readonly identityHash: string;
  readonly keyHash: string;
  readonly rootHashes: readonly string[];
  readonly serialNumber: string;
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly renewAt: number;
}

export function resourceOf(row: Row): StoredResource {
  return {
    type: textOf(row, 0),
    mesh: textOf(row, 1),
    name: textOf(row, 2),
    body: textOf(row, 3),
    version: integerOf(row, 4),
    createdAt: new Date(integerOf(row, 5)),
    modifiedAt: new Date(integerOf(row, 6)),
    owned: integerOf(row, 7) === 1,
  };
}

export function recordJsonOf(record: CertificateRecord): string {
  const json: RecordJson = {
    backend: record.backend,
    backendType: record.backendType,
    backendHash: record.backendHash,
    identityHash: record.identityHash,
    keyHash: record.keyHash,
    rootHashes: record.rootHashes,
    serialNumber: record.serialNumber,
    issuedAt: record.issuedAt.getTime(),
    notBefore: record.notBefore.getTime(),
    notAfter: record.notAfter.getTime(),
    renewAt: record.renewAt.getTime(),
  };
  return JSON.stringify(json);
}

export function certificatesOf(mesh: string, rows: readonly Row[]): StoredCertificate[] {
  return rows.map((row) => certificateOf(mesh, row));
}

export function certificateOf(mesh: string, row: Row): StoredCertificate {
  const json = JSON.parse(textOf(row, 2)) as RecordJson;
  return {
    mesh,
    dataplane: textOf(row, 0),
    backend: json.backend,
    backendType: json.backendType,
    backendHash: json.backendHash,
    identityHash: json.identityHash,
    keyHash: json.keyHash,
    leaf: bytesOf(row, 3),
    chain: row[4] === null ? [] : unpackChain(bytesOf(row, 4)),
    rootHashes: json.rootHashes,
    serialNumber: json.serialNumber,
    issuedAt: new Date(json.issuedAt),
    notBefore: new Date(json.notBefore),
    notAfter: new Date(json.notAfter),
    renewAt: new Date(json.renewAt),
    regenerations: integerOf(row, 1),
  };
}

/** An entry of `listHolders`. Times in milliseconds. */
type HolderJson = readonly [
  dataplane: string,
  regenerations: number,
  record: readonly [
    backend: string,
    rootHashes: readonly string[],
    serialNumber: string,
    issuedAt: number,
    notAfter: number,
  ],
];

/** @param rows one row with all */
export function holdersOf(_mesh: string, [row = []]: readonly Row[]): CountedHolder[] {
  const entries = JSON.parse(textOf(row, 0)) as HolderJson[];
  /** Almost all stand under the same roots: one list for those in a row that do. */
  let shared: readonly string[] = [];
  return entries.map(([dataplane, regenerations, [backend, roots, serialNumber, issuedAt, notAfter]]) => {
    if (!isSame(shared, roots)) shared = roots;
    return {
      dataplane,
      regenerations,
      backend,
      rootHashes: shared,
      serialNumber,
      issuedAt: new Date(issuedAt),
      notAfter: new Date(notAfter),
    };
  });
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, index) => one === b[index]);
}

export interface PackedChain {
  readonly hash: Buffer;
  readonly bytes: Buffer;
}

/** Undefined for an empty chain. */
export function packChain(chain: readonly Buffer[]): PackedChain | undefined {
  if (chain.length === 0) return undefined;
  const bytes = Buffer.allocUnsafe(chain.reduce((size, der) => size + 4 + der.length, 0));
  let at = 0;
  for (const der of chain) {
    at = bytes.writeUInt32BE(der.length, at);
    at += der.copy(bytes, at);
  }
  return { hash: hash('sha256', bytes, 'buffer'), bytes };
}

function unpackChain(bytes: Buffer): Buffer[] {
  const chain: Buffer[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) throw new Error(`stored chain is cut off: ${end} bytes wanted, ${bytes.length} there`);
    chain.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return chain;
}

export function statementOf(mesh: string, row: Row): TrustStatement {
  return {
    mesh,
    dataplane: textOf(row, 0),
    bundleVersion: integerOf(row, 1),
    statedAt: new Date(integerOf(row, 2)),
  };
}

/** An entry of `listStatements`. Times in milliseconds. */
type StatementJson = readonly [dataplane: string, bundleVersion: number, statedAt: number];

/** @param rows one row with all */
export function statementsOf(mesh: string, [row = []]: readonly Row[]): TrustStatement[] {
  const entries = JSON.parse(textOf(row, 0)) as StatementJson[];
  return entries.map(([dataplane, bundleVersion, statedAt]) => ({
    mesh,
    dataplane,
    bundleVersion,
    statedAt: new Date(statedAt),
  }));
}

export function bundleOf(mesh: string, row: Row): StoredTrustBundle {
  return { mesh, version: integerOf(row, 0), body: textOf(row, 1), createdAt: new Date(integerOf(row, 2)) };
}
