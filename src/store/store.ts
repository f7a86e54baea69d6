/**
 * THE STORE CONTRACT. One suite (`test/conformance/store.ts`) decides whether an implementation is one. Implementations: `sql/` (SQLite),
 * `memory/`. Encryption of what is secret is a wrapper over any of them (`encrypted-store.ts`), so an implementation never thinks of it.
 *
 * Rules for all members: what a resolved promise says is durable is on disk (SQLite: WAL, synchronous=FULL); nothing is half-written; a
 * call after `close` rejects. Texts are stored as given, byte for byte.
 *
 * What a caller looked up before a write may be gone when the write comes to its turn. Every condition given to a write (`expectedVersion`,
 * `requires`, `unchanged`, `unlessAny`) is therefore looked at inside the transaction that writes, where no other writer, in this process or
 * another one, comes between. A write that throws has changed nothing, harmed no other write, and told no listener.
 *
 * Any member may reject with StoreUnavailableError: too many writes are waiting, another process does not let go of the lock, the disk is
 * full or broken.
 */

/** `type` is the kind's name as Kuma writes it (`Mesh`, `Secret`, `Dataplane`); `mesh` is '' for kinds that stand outside a mesh. */
export interface ResourceKey {
  readonly type: string;
  readonly mesh: string;
  readonly name: string;
}

export interface StoredResource extends ResourceKey {
  /** The resource as JSON text, without type, mesh, name and times. */
  readonly body: string;
  /** Starts at 1, grows by 1 with each change of this key. */
  readonly version: number;
  readonly createdAt: Date;
  readonly modifiedAt: Date;
  /** True when it belongs to its mesh (made by mesh-ca itself) and is deleted with it. */
  readonly owned: boolean;
}

export interface PutResource extends ResourceKey {
  readonly body: string;
  readonly owned?: boolean;
}

/** What else has to be there for a write to make sense. */
export interface Requirements {
  /**
   * Every one of these keys must exist, else NotFoundError names the first that does not. Looked at before any other condition of the
   * write, and before the write itself: a resource that is about to be created does not fulfil its own requirement.
   */
  readonly requires?: readonly ResourceKey[];
}

export interface RecordOptions extends Requirements {
  /** When the Mesh was made for whose CAs the certificate was issued: one of the same name that was made later has other CAs. */
  readonly meshCreatedAt?: Date;
}

export interface ListQuery {
  readonly type: string;
  /** Absent: over all meshes. */
  readonly mesh?: string;
  /** A part of the name, as Kuma's `name=` filter. */
  readonly nameContains?: string;
  readonly offset?: number;
  /**
   * Absent: all. A list of all is read in steps, between which other work gets its turn and others may write: it holds everything that was
   * there all the time, each at a version that it had meanwhile, nothing twice.
   */
  readonly size?: number;
}

export interface ResourcePage {
  /** Sorted by mesh, then name (bytewise). */
  readonly items: readonly StoredResource[];
  /** Count without offset and size. */
  readonly total: number;
}

/**
 * The one certificate of a data plane that was answered last. Never its private key.
 * Key: mesh + dataplane.
 */
export interface CertificateRecord {
  readonly mesh: string;
  readonly dataplane: string;
  readonly backend: string;
  readonly backendType: string;
  /** SHA-256 (hex) over what of the backend's conf decides about certificates. */
  readonly backendHash: string;
  /** SHA-256 (hex) over SANs and common name. */
  readonly identityHash: string;
  /** SHA-256 (hex) of the SubjectPublicKeyInfo. */
  readonly keyHash: string;
  /** DER. */
  readonly leaf: Buffer;
  /** DER, the leaf's issuer first, without root. */
  readonly chain: readonly Buffer[];
  /** SHA-256 (hex) of the roots it ends in. */
  readonly rootHashes: readonly string[];
  /** Lower-case hex, no leading zeros beyond a full byte. */
  readonly serialNumber: string;
  readonly issuedAt: Date;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly renewAt: Date;
}

export interface StoredCertificate extends CertificateRecord {
  /** How many certificates this data plane got, this one included. Counted by the store. */
  readonly regenerations: number;
}

/** What of a certificate's record a rotation looks at. */
export type CertificateHolder = Pick<
  CertificateRecord,
  'dataplane' | 'backend' | 'rootHashes' | 'serialNumber' | 'issuedAt' | 'notAfter'
>;

export interface CountedHolder extends CertificateHolder {
  /** How many certificates this data plane got, this one included: n + 1 follows right after n. */
  readonly regenerations: number;
}

/** What a data plane itself said about the trust bundle that it holds. */
export interface TrustStatement {
  readonly mesh: string;
  readonly dataplane: string;
  readonly bundleVersion: number;
  readonly statedAt: Date;
}

/** One version of a mesh's trust bundle. Versions of a mesh only grow, also over deletion of the mesh. */
export interface StoredTrustBundle {
  readonly mesh: string;
  readonly version: number;
  /** JSON text of the roots and the backends they belong to. */
  readonly body: string;
  readonly createdAt: Date;
}

/** `resource`: that key changed (here or in another process). `unknown`: something changed, re-read what you depend on. */
export type StoreChange = { readonly kind: 'resource'; readonly key: ResourceKey } | { readonly kind: 'unknown' };

export interface Store {
  getResource(key: ResourceKey): Promise<StoredResource | undefined>;
  listResources(query: ListQuery): Promise<ResourcePage>;
  /**
   * Creates or replaces. `expectedVersion` 0: must not exist; n: must be at n; absent: whatever is there.
   * `createdAt` and `owned` of an existing resource stay.
   *
   * Who writes into a mesh requires its Mesh, else a deletion of the mesh at the same time leaves an orphan; who writes a Mesh requires the
   * secrets that it uses.
   * @throws NotFoundError when something required is not there
   * @throws ConflictError when the expectation fails
   */
  putResource(
    resource: PutResource,
    options?: Requirements & { readonly expectedVersion?: number },
  ): Promise<StoredResource>;
  /**
   * Creates all or, when any of the keys exists, none. True when created.
   * @throws NotFoundError when something required is not there, whether the keys exist or not
   */
  createResources(resources: readonly PutResource[], options?: Requirements): Promise<boolean>;
  /**
   * False when there was none; then `unchanged` is not looked at.
   *
   * `unchanged`: resources as the caller read them to decide that this one may go (`DELETE secret`: the Mesh that does not use it). Each must
   * still be there, at the same version and with the same `createdAt`; one that was deleted and made again has changed. Bodies are not
   * compared.
   * @throws ConflictError naming the first that changed or went
   * @throws TypeError for a Mesh, which only `deleteMesh` takes away with all that hangs on it
   */
  deleteResource(key: ResourceKey, options?: { readonly unchanged?: readonly StoredResource[] }): Promise<boolean>;
  /**
   * In one transaction: the Mesh, its owned resources, certificates, trust statements. Bundle versions stay. False when there was none; then
   * `unlessAny` is not looked at.
   *
   * `unlessAny`: a type of resource, such as `Dataplane`, none of which may be in the mesh. It counts owned ones, too.
   * @throws ConflictError naming one that is
   */
  deleteMesh(mesh: string, options?: { readonly unlessAny?: string }): Promise<boolean>;

  getCertificate(mesh: string, dataplane: string): Promise<StoredCertificate | undefined>;
  /** Sorted by data plane. */
  listCertificates(mesh: string): Promise<readonly StoredCertificate[]>;
  /** The same without certificates, many times cheaper: a rotation asks each second. Sorted by data plane. */
  listHolders(mesh: string): Promise<readonly CountedHolder[]>;
  /**
   * Resolves once durable. Many calls at once share one commit. The Mesh of the record is always required; `requires` is for more, such as
   * the Dataplane whose tags stand in the certificate. (A data plane need not be stored to get one.)
   * @throws NotFoundError when the Mesh, or something else required, is not there; for this record alone
   * @throws ConflictError when the Mesh was deleted and made again since `meshCreatedAt`; for this record alone
   */
  recordCertificate(record: CertificateRecord, options?: RecordOptions): Promise<void>;
  /**
   * In one transaction: the certificate record of a data plane, its count, and its trust statement, so that one made again under this name
   * inherits nothing. Does not touch the Dataplane resource, and does not mind when there is nothing.
   */
  forgetDataplane(mesh: string, dataplane: string): Promise<void>;

  /**
   * Keeps the newest statement of each data plane. May be written with delay of up to a second; lost on a crash at most that.
   * @throws NotFoundError when there is no Mesh of that name
   */
  recordTrustStatement(statement: TrustStatement): Promise<void>;
  listTrustStatements(mesh: string): Promise<readonly TrustStatement[]>;
  getTrustStatement(mesh: string, dataplane: string): Promise<TrustStatement | undefined>;

  /** Newest version of a mesh's bundle. */
  getTrustBundle(mesh: string): Promise<StoredTrustBundle | undefined>;
  getTrustBundleVersion(mesh: string, version: number): Promise<StoredTrustBundle | undefined>;
  /**
   * Appends `previousVersion + 1`. `previousVersion` 0: there is none yet.
   * @throws ConflictError when another writer was first
   */
  appendTrustBundle(mesh: string, body: string, previousVersion: number): Promise<StoredTrustBundle>;

  /** Called after the change is durable. Returns what ends it. */
  onChange(listener: (change: StoreChange) => void): () => void;

  /** What `/readyz` asks: can it be read and written now? Rejects with the reason. */
  ping(): Promise<void>;
  /** Idempotent. Waits for commits under way. */
  close(): Promise<void>;
}
