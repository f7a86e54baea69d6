/**
 * THE CONTRACT. An issuer turns an identity and a public key into a certificate that a proxy accepts. One adapter module per backend type
 * (`adapters/<type>/`), one issuer instance per backend of a mesh. Nothing above this file knows a concrete backend; nothing in this room
 * imports another room.
 *
 * Life of an instance: `module.parseConf` (pure) -> `module.create` (no remote call) -> any number of concurrent calls -> `close`. An
 * instance never changes: when the backend's conf or a secret it uses changes, the registry makes a new one and closes the old.
 */

import type { Violation } from './errors.ts';

/** Tag -> its values. Keys sorted, values unique and sorted: equal tags are equal text. */
export type Tags = ReadonlyMap<string, readonly string[]>;

/** What the certificate says about its holder. Made by us from mesh and tags, never taken from a CSR. */
export interface Identity {
  readonly mesh: string;
  readonly dataplane: string;
  readonly tags: Tags;
  /** URI SANs in Kuma's order: `spiffe://<mesh>/<service>`..., then `kuma://<tag>/<value>`... */
  readonly uriSans: readonly string[];
  readonly dnsNames: readonly string[];
  /** Empty: no subject at all. At most 64 characters (RFC 5280, ub-common-name). */
  readonly commonName: string;
}

export interface SignRequest {
  /** PKCS#10, DER. Its signature and key were checked before; an issuer with `signsCsrAsIs: false` uses only the key. */
  readonly csrDer: Buffer;
  /** SubjectPublicKeyInfo of the CSR, DER. */
  readonly spkiDer: Buffer;
  readonly identity: Identity;
  /** A wish. The answer's `notAfter` tells the truth. */
  readonly ttlSeconds: number;
  /** Stays the same when one and the same request is tried again; never issues twice where the backend can avoid it. */
  readonly requestId: string;
}

/** All certificates are DER. */
export interface IssuedCertificate {
  readonly leaf: Buffer;
  /** Intermediates, the leaf's issuer first, without root and without the leaf. */
  readonly chain: readonly Buffer[];
  /** Roots that the chain ends in, as far as the backend tells. Never empty. */
  readonly roots: readonly Buffer[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface IssuedKeyPair extends IssuedCertificate {
  /** PKCS#8, DER. */
  readonly privateKeyDer: Buffer;
}

export interface CaBundle {
  readonly roots: readonly Buffer[];
  readonly intermediates: readonly Buffer[];
}

/** One named finding of `inspect`. */
export interface Check {
  /** One of the module's `checks`. */
  readonly name: string;
  /**
   * `warning`: certificates can be had, but something will hurt later, or cannot be known. `skipped`: there is nothing to look at, for a reason that is
   * no failure: this conf has no such thing, or it may not be read and another check has warned of that.
   */
  readonly status: 'passed' | 'warning' | 'failed' | 'skipped';
  /** What was found, in one sentence. */
  readonly message: string;
  readonly cause?: string;
  readonly fix?: string;
  /** The key of `conf` that is to blame, such as `fromCp.role`; only where it is one, and another than the rule says. */
  readonly field?: string;
  /** With `failed`: it may pass later without anybody changing anything (unreachable, sealed, throttled). */
  readonly retry?: boolean;
  /** What finding it out took. */
  readonly durationMs: number;
}

/** What a check is about, whatever it finds. One table in each adapter; docs/checks.md lists them all. */
export interface CheckRule {
  /** `<type>.<what>`, stable. */
  readonly name: string;
  /** True: while it fails no certificate can be had, so none is tried. */
  readonly blocks?: boolean;
  /** The key of `conf` that is to blame when it fails, relative to `conf`. Absent: no single one. */
  readonly field?: string;
}

export interface InspectOptions extends CallOptions {
  /** Lifetime that certificates of data planes will be asked for. */
  readonly ttlSeconds: number;
  /** Takes each finding as soon as it is there, so that those made before a deadline are not lost. Not called after the signal fired. */
  report(check: Check): void;
}

export const KEY_TYPES = ['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072', 'RSA-4096'] as const;
export type KeyType = (typeof KEY_TYPES)[number];

/** What this issuer can do with the rights it has; may cost one remote call the first time, is remembered after. */
export interface IssuerAbilities {
  /** It signs a caller's CSR. */
  readonly sign: boolean;
  /** It takes SANs and common name from the CSR, so a CSR must carry exactly the identity's. */
  readonly signsCsrAsIs: boolean;
  /** It can make key and certificate by itself (`KeyPairIssuer`). */
  readonly issueKeyPair: boolean;
  readonly keyTypes: readonly KeyType[];
  /** True when `keyTypes` is a guess: a key that is made should be one of them, but a caller's CSR with another may be tried. */
  readonly keyTypesAreAssumed?: boolean;
}

export interface CallOptions {
  /** Honoured at every wait, also while polling. */
  readonly signal: AbortSignal;
  /**
   * To be called when what is waited for is not the backend's capacity (an approval by people, an issuer that is not there yet): the place among the
   * requests under way goes to the next one. Idempotent.
   */
  readonly park?: () => void;
}

export interface Issuer {
  /**
   * What the backend's conf adds to an identity: the rendered commonName template and DNS names. Pure.
   * @throws RequestInvalidError naming the data plane and the template when it cannot be rendered
   */
  subject(who: Pick<Identity, 'mesh' | 'dataplane' | 'tags'>): Pick<Identity, 'commonName' | 'dnsNames'>;

  abilities(options: CallOptions): Promise<IssuerAbilities>;

  /**
   * Signs. Never sees a private key. May throw every error class of errors.ts except NotFound and Conflict.
   * What comes back is checked again by the caller against key, identity and profile.
   */
  sign(request: SignRequest, options: CallOptions): Promise<IssuedCertificate>;

  /** The CA certificates of this backend. Cheap enough to poll; creates nothing. */
  trustBundle(options: CallOptions): Promise<CaBundle>;

  /**
   * The adapter's own share of validation; reads only. Reports the module's `checks` in their order, each at most once; what an earlier failure makes
   * unknowable is left out. Never throws because the backend is unwell; rejects with the signal's reason.
   */
  inspect(options: InspectOptions): Promise<void>;

  /** Idempotent. No timer, socket or watch is left. */
  close(): Promise<void>;
}

/** The backend makes the key (Vault `issue`). */
export interface KeyPairIssuer {
  issueKeyPair(request: Omit<SignRequest, 'csrDer' | 'spkiDer'>, options: CallOptions): Promise<IssuedKeyPair>;
}
export function isKeyPairIssuer(issuer: Issuer): issuer is Issuer & KeyPairIssuer {
  return 'issueKeyPair' in issuer;
}

/** Makes what the backend needs before it can sign (builtin: its CA). Safe to repeat and to race. */
export interface Provisioner {
  ensure(options: CallOptions): Promise<void>;
}
export function isProvisioner(issuer: Issuer): issuer is Issuer & Provisioner {
  return 'ensure' in issuer;
}

/**
 * It can make a successor of its own CA under the same name (builtin): a new generation is trusted before it signs, and the old one until nobody
 * needs it. Every member may be repeated and raced; what is done already is left as it is.
 */
export interface Renewer {
  generations(options: CallOptions): Promise<CaGenerations>;
  /** Makes the next generation: trusted from now on, not signing. One that was made already stays. */
  prepareNext(options: CallOptions): Promise<CaGenerations>;
  /** The generation with this root (DER) signs from now on; all stay trusted. @throws ConflictError when there is none with this root */
  signWith(root: Buffer, options: CallOptions): Promise<CaGenerations>;
  /** Only the generation that signs is left. */
  dropOthers(options: CallOptions): Promise<CaGenerations>;
}
/** Roots, DER. */
export interface CaGenerations {
  readonly signing: Buffer;
  /** The others that are trusted: older ones, or one that is to come. Oldest first. */
  readonly others: readonly Buffer[];
}
export function isRenewer(issuer: Issuer): issuer is Issuer & Renewer {
  return 'prepareNext' in issuer;
}

/** Proves its conf against what it points to, before the Mesh is stored (provided: loads and checks the CA). */
export interface ConfChecker {
  /** Violations relative to `conf`; empty when all is well. `warnings` do not refuse. */
  checkConf(options: CallOptions): Promise<ConfFindings>;
}
export interface ConfFindings {
  readonly violations: readonly Violation[];
  readonly warnings: readonly string[];
  /** What to do about the violations, where it is one thing. */
  readonly fix?: string;
}
export function isConfChecker(issuer: Issuer): issuer is Issuer & ConfChecker {
  return 'checkConf' in issuer;
}

/** It makes objects at the backend for its certificates, and takes them away again (cert-manager: CertificateRequests). */
export interface Cleaner {
  /** Waits for the removals under way. Names of the objects of finished certificates that stay. */
  leftovers(options: CallOptions): Promise<readonly string[]>;
}
export function isCleaner(issuer: Issuer): issuer is Issuer & Cleaner {
  return 'leftovers' in issuer;
}

/** It holds a credential that ends: a Vault token. */
export interface CredentialHolder {
  /** Undefined while there is none yet. Costs nothing. */
  credential(): Credential | undefined;
}
export interface Credential {
  /** Undefined: it does not end, or is not known to. */
  readonly expiresAt: Date | undefined;
  /** Why it could not be renewed or obtained last; undefined after the next success. Holds no secret. */
  readonly lastFailure: string | undefined;
}
export function isCredentialHolder(issuer: Issuer): issuer is Issuer & CredentialHolder {
  return 'credential' in issuer;
}

/** Where an issuer belongs. */
export interface IssuerContext {
  readonly mesh: string;
  readonly backend: string;
}

/** Where a value of a conf stands. Parsed by `mesh/data-source.ts`. */
export type DataSource =
  | { readonly kind: 'secret'; readonly secret: string }
  | { readonly kind: 'file'; readonly file: string }
  | { readonly kind: 'inline'; readonly inline: Buffer };

/** The mesh-scoped secrets, as far as an adapter may see them. */
export interface SecretAccess {
  /** Undefined when there is none. */
  read(name: string): Promise<Buffer | undefined>;
  /**
   * Stores all of them or none. False, and nothing stored, when one of the names exists already: somebody else was first.
   * The secrets belong to the mesh: they go when it goes.
   */
  createTogether(secrets: ReadonlyMap<string, Buffer>): Promise<boolean>;
  /** Replaces one secret of the mesh's own, or makes it where `before` is undefined. False, and nothing stored, when it is no longer `before`. */
  replace(name: string, before: Buffer | undefined, after: Buffer): Promise<boolean>;
  /** Calls `listener` after a secret of the mesh may have changed: read again what you follow. Returns what ends it; idempotent. */
  onChange(listener: () => void): () => void;
}

/** A thing that several issuers hold together, for as long as one of them holds it. */
export interface Lease<T> {
  readonly value: T;
  /** Idempotent. The last holder's release closes the value, and waits for that. */
  release(): Promise<void>;
}

/**
 * What issuers of different backends and meshes have in common: the limiter of an AWS account and region, the watch of a Kubernetes namespace.
 */
export interface SharedResources {
  /**
   * The value that stands under `key`, made by `create` when nobody holds one. A key begins with the type of the adapter
   * (`acmpca:limiter:<account>:<region>`), so that equal keys hold equal kinds.
   */
  acquire<T extends { close(): void | Promise<void> }>(key: string, create: () => T): Lease<T>;
}

/** Settings of `mesh-ca serve` that adapters read. */
export interface IssuerSettings {
  /** How often a Vault token's data source is read again. 0: never, unless a secret's change is told or Vault refuses the token. */
  readonly vaultTokenChangeCheckIntervalMs: number;
  /** Kubernetes namespace of CertificateRequests, and of an `Issuer`. */
  readonly systemNamespace: string;
  /** The Pod that mesh-ca runs in becomes the owner of what it makes in `systemNamespace`. '' outside Kubernetes. */
  readonly podName: string;
  readonly podUid: string;
  /** Calls a second to one AWS account and region, over all meshes. */
  readonly acmpcaIssuesPerSecond: number;
  readonly acmpcaGetsPerSecond: number;
}

/** What the registry hands to an adapter. Structural, so that this room imports nothing. */
export interface IssuerDeps {
  readonly secrets: SecretAccess;
  readonly shared: SharedResources;
  readonly settings: IssuerSettings;
  /**
   * Loads a data source: a secret of this mesh, a file below the allowed directories, or inline bytes.
   * @throws ConfigError `could not load data: <cause>`
   */
  load(source: DataSource, options: CallOptions): Promise<Buffer>;
  /** To be called once for each request that goes out to the backend, tries again included: the promise of at most 3 a certificate is measured by it. */
  onRequest(): void;
  readonly clock: {
    now(): Date;
    monotonicMs(): number;
    sleep(ms: number, signal?: AbortSignal): Promise<void>;
    deadline(ms: number, parent?: AbortSignal): { readonly signal: AbortSignal; clear(): void };
  };
  readonly random: { bytes(length: number): Buffer; uniform(): number };
  readonly log: {
    debug(fields: Readonly<Record<string, unknown>>, message: string): void;
    info(fields: Readonly<Record<string, unknown>>, message: string): void;
    warn(fields: Readonly<Record<string, unknown>>, message: string): void;
    error(fields: Readonly<Record<string, unknown>>, message: string): void;
  };
}

/** The bounds in which the number of certificates under way is adapted to what the backend bears. */
export interface Concurrency {
  readonly start: number;
  readonly max: number;
  /** So much longer than at its quickest a certificate may take because others are under way. Milliseconds. */
  readonly targetDelayMs: number;
}

/** What a folder under adapters/ exports. `Conf` is the checked conf, complete with defaults. */
export interface IssuerModule<Conf = unknown> {
  /** Folder name = `type` in the Mesh = log field = metric label. */
  readonly type: string;
  /**
   * True when signing happens in this process with a key of ours: its results need no signature check, and it needs no queue.
   */
  readonly local: boolean;
  /** What `inspect` looks at, in order. */
  readonly checks: readonly CheckRule[];
  /** True when every certificate costs money: none is made just to look whether the backend is well, unless somebody asks. */
  readonly billed?: boolean;
  /**
   * The real server behind the conf (address and namespace; account and region; cluster), as text that holds no secret: backends with the same one,
   * of whatever mesh, share a queue. Absent: each backend has its own. Pure.
   */
  endpoint?(conf: Conf): string;
  /** How many certificates may be asked of one endpoint at once. */
  readonly concurrency?: Concurrency;
  /**
   * Pure. `context` gives the names that some rules need.
   * @throws ConfigError with ALL violations, fields relative to `conf`
   */
  parseConf(conf: unknown, context: IssuerContext): Conf;
  /** Names of the mesh-scoped secrets this conf reads or owns. */
  usedSecrets(conf: Conf, context: IssuerContext): readonly string[];
  /**
   * Those of `usedSecrets` whose changes the issuer follows by itself (`SecretAccess.onChange`), so that a new value can be proven before the old
   * is dropped. A change of any other used secret makes a new issuer. Absent: none.
   */
  followedSecrets?(conf: Conf, context: IssuerContext): readonly string[];
  /** Those of `usedSecrets` that the issuer makes when it first needs them, so that they may be missing when the Mesh is stored. Absent: none. */
  laterSecrets?(conf: Conf, context: IssuerContext): readonly string[];
  /** No remote call, no I/O. */
  create(context: IssuerContext, conf: Conf, deps: IssuerDeps): Issuer;
}
