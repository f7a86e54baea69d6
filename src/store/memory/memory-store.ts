import type { Clock } from '../../runtime/clock.ts';
import { createListeners } from '../../runtime/listeners.ts';
import type {
  CertificateRecord,
  CountedHolder,
  ListQuery,
  PutResource,
  ResourceKey,
  ResourcePage,
  Store,
  StoreChange,
  StoredCertificate,
  StoredResource,
  StoredTrustBundle,
  TrustStatement,
} from '../store.ts';
import {
  bundleConflict,
  changedConflict,
  changeOf,
  checkDeletable,
  checkKey,
  checkQuery,
  checkRecord,
  checkTime,
  closedError,
  isSameRevision,
  keyOf,
  meshKey,
  missingError,
  occupiedConflict,
  remadeConflict,
  versionConflict,
} from '../store-rules.ts';

/** Keeps everything in this process, for tests and for trying out: "durable" lasts as long as the process. */
export function createMemoryStore({ clock }: { readonly clock: Clock }): Store {
  const resources = new Map<string, StoredResource>();
  const certificates = new Map<string, StoredCertificate>();
  const statements = new Map<string, TrustStatement>();
  const bundles = new Map<string, StoredTrustBundle[]>();
  const listeners = createListeners<StoreChange>(() => {});
  let closed = false;

  /** Later than the call, as with a real store, so that nobody comes to lean on being called back inside his own call. */
  async function later<T>(work: () => T): Promise<T> {
    if (closed) throw closedError();
    await undefined;
    return work();
  }

  function checkRequired(keys: readonly ResourceKey[] = []): void {
    const missing = keys.find((key) => !resources.has(idOf(key)));
    if (missing !== undefined) throw missingError(missing);
  }

  function insert(resource: PutResource, existing: StoredResource | undefined): StoredResource {
    const now = clock.now();
    const stored: StoredResource = {
      ...keyOf(resource),
      body: resource.body,
      version: (existing?.version ?? 0) + 1,
      createdAt: existing?.createdAt ?? now,
      modifiedAt: now,
      owned: existing?.owned ?? resource.owned ?? false,
    };
    resources.set(idOf(resource), stored);
    return stored;
  }

  function remove(keys: readonly ResourceKey[]): void {
    for (const key of keys) resources.delete(idOf(key));
    for (const key of keys) listeners.tell(changeOf(key));
  }

  return {
    getResource: (key) => later(() => copyResource(resources.get(idOf(key)))),
    listResources: (query) => later(() => list(resources.values(), query)),

    putResource: (resource, { expectedVersion, requires } = {}) =>
      later(() => {
        checkKey(resource);
        checkRequired(requires);
        const existing = resources.get(idOf(resource));
        const version = existing?.version ?? 0;
        if (expectedVersion !== undefined && expectedVersion !== version) {
          throw versionConflict(resource, version, expectedVersion);
        }
        const stored = insert(resource, existing);
        listeners.tell(changeOf(keyOf(resource)));
        return { ...stored };
      }),

    createResources: (wanted, { requires } = {}) =>
      later(() => {
        for (const resource of wanted) checkKey(resource);
        checkRequired(requires);
        const ids = new Set(wanted.map(idOf));
        if (ids.size < wanted.length || [...ids].some((id) => resources.has(id))) return false;
        for (const resource of wanted) insert(resource, undefined);
        for (const resource of wanted) listeners.tell(changeOf(keyOf(resource)));
        return true;
      }),

    deleteResource: (key, { unchanged = [] } = {}) =>
      later(() => {
        checkDeletable(key);
        if (!resources.has(idOf(key))) return false;
        for (const seen of unchanged) {
          const found = resources.get(idOf(seen));
          if (!isSameRevision(found, seen)) throw changedConflict(seen, found);
        }
        remove([keyOf(key)]);
        return true;
      }),

    deleteMesh: (mesh, { unlessAny } = {}) =>
      later(() => {
        if (!resources.has(idOf(meshKey(mesh)))) return false;
        const inMesh = [...resources.values()].filter((resource) => resource.mesh === mesh).sort(byMeshAndName);
        const occupant = inMesh.find((resource) => resource.type === unlessAny);
        if (occupant !== undefined) throw occupiedConflict(mesh, occupant);
        for (const [id, record] of certificates) if (record.mesh === mesh) certificates.delete(id);
        for (const [id, statement] of statements) if (statement.mesh === mesh) statements.delete(id);
        remove([meshKey(mesh), ...inMesh.filter((resource) => resource.owned).map(keyOf)]);
        return true;
      }),

    getCertificate: (mesh, dataplane) => later(() => copyCertificate(certificates.get(pairOf(mesh, dataplane)))),
    listCertificates: (mesh) =>
      later(() =>
        [...certificates.values()]
          .filter((record) => record.mesh === mesh)
          .sort(byDataplane)
          .map((record) => copyOf(record, record.regenerations)),
      ),
    listHolders: (mesh) =>
      later(() =>
        [...certificates.values()]
          .filter((record) => record.mesh === mesh)
          .sort(byDataplane)
          .map(holderOf),
      ),
    recordCertificate: (record, { requires = [], meshCreatedAt } = {}) =>
      later(() => {
        checkRecord(record);
        checkRequired([meshKey(record.mesh), ...requires]);
        const madeAt = resources.get(idOf(meshKey(record.mesh)))?.createdAt.getTime();
        if (meshCreatedAt !== undefined && meshCreatedAt.getTime() !== madeAt) throw remadeConflict(record.mesh);
        const id = pairOf(record.mesh, record.dataplane);
        certificates.set(id, copyOf(record, (certificates.get(id)?.regenerations ?? 0) + 1));
      }),
    forgetDataplane: (mesh, dataplane) =>
      later(() => {
        certificates.delete(pairOf(mesh, dataplane));
        statements.delete(pairOf(mesh, dataplane));
      }),

    recordTrustStatement: (statement) =>
      later(() => {
        checkTime('statedAt', statement.statedAt);
        checkRequired([meshKey(statement.mesh)]);
        const id = pairOf(statement.mesh, statement.dataplane);
        const known = statements.get(id);
        if (known === undefined || known.statedAt <= statement.statedAt) statements.set(id, { ...statement });
      }),
    listTrustStatements: (mesh) =>
      later(() => [...statements.values()].filter((statement) => statement.mesh === mesh).sort(byDataplane)),
    getTrustStatement: (mesh, dataplane) => later(() => statements.get(pairOf(mesh, dataplane))),

    getTrustBundle: (mesh) => later(() => bundles.get(mesh)?.at(-1)),
    getTrustBundleVersion: (mesh, version) =>
      later(() => bundles.get(mesh)?.find((bundle) => bundle.version === version)),
    appendTrustBundle: (mesh, body, previousVersion) =>
      later(() => {
        const versions = bundles.get(mesh) ?? [];
        const found = versions.at(-1)?.version ?? 0;
        if (found !== previousVersion) throw bundleConflict(mesh, found, previousVersion);
        const bundle = { mesh, version: found + 1, body, createdAt: clock.now() };
        bundles.set(mesh, [...versions, bundle]);
        return { ...bundle };
      }),

    onChange: (listener) => listeners.add(listener),
    ping: () => later(() => undefined),
    close: async () => {
      closed = true;
      listeners.clear();
    },
  };
}

function idOf(key: ResourceKey): string {
  return JSON.stringify([key.type, key.mesh, key.name]);
}

function pairOf(mesh: string, dataplane: string): string {
  return JSON.stringify([mesh, dataplane]);
}

function list(resources: Iterable<StoredResource>, query: ListQuery): ResourcePage {
  checkQuery(query);
  const found = [...resources]
    .filter((resource) => resource.type === query.type)
    .filter((resource) => query.mesh === undefined || resource.mesh === query.mesh)
    .filter((resource) => resource.name.includes(query.nameContains ?? ''))
    .sort(byMeshAndName);
  const offset = query.offset ?? 0;
  const end = query.size === undefined ? undefined : offset + query.size;
  return { items: found.slice(offset, end).map((resource) => ({ ...resource })), total: found.length };
}

function copyResource(resource: StoredResource | undefined): StoredResource | undefined {
  return resource && { ...resource };
}

function copyCertificate(record: StoredCertificate | undefined): StoredCertificate | undefined {
  return record && copyOf(record, record.regenerations);
}

function copyOf(record: CertificateRecord, regenerations: number): StoredCertificate {
  return {
    ...record,
    leaf: Buffer.from(record.leaf),
    chain: record.chain.map((der) => Buffer.from(der)),
    rootHashes: [...record.rootHashes],
    regenerations,
  };
}

function holderOf(record: StoredCertificate): CountedHolder {
  const { dataplane, backend, rootHashes, serialNumber, issuedAt, notAfter, regenerations } = record;
  return { dataplane, backend, rootHashes: [...rootHashes], serialNumber, issuedAt, notAfter, regenerations };
}

/** Whose UTF-16 units sort before some that stand for smaller code points. */
const SURROGATE = /[\ud800-\udfff]/;

/** By UTF-8 bytes: JavaScript's `<` compares UTF-16 units, which differ beyond U+FFFF. */
function compareBytes(a: string, b: string): number {
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return Number(a > b) - Number(a < b);
}

function byMeshAndName(a: ResourceKey, b: ResourceKey): number {
  return compareBytes(a.mesh, b.mesh) || compareBytes(a.name, b.name);
}

function byDataplane(a: { readonly dataplane: string }, b: { readonly dataplane: string }): number {
  return compareBytes(a.dataplane, b.dataplane);
}
