import { setMaxListeners } from 'node:events';
import type { Backend } from '../backends/backend.ts';
import type { Backends, MeshBackends } from '../backends/backends.ts';
import { ConflictError, IssuerUnavailableError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import type { Store } from '../store/store.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';
import { BackendRoots } from './backend-roots.ts';
import { collectRoots, RootsNeverSeen, tellCause } from './collect-roots.ts';
import { bundleBody, fingerprintsIn, readBundle, rootsOf, type TrustBundle } from './trust-bundle.ts';

export interface TrustBundlesOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often a held long poll, and a bundle in use, look whether an external root has changed. */
const LOOK_AGAIN_MS = 60_000;
/** Writers that may be faster than we before we give up. */
const APPEND_TRIES = 5;

interface Cached {
  readonly bundle: TrustBundle;
  /** The backends it was made from: another object means that something changed. */
  readonly from: MeshBackends;
  readonly madeAtMs: number;
}

/**
 * The trust bundle of each mesh: the union of the roots of ALL its backends, with a version that grows with each change of content.
 *
 * A backend whose roots were seen before is never waited for: it is asked behind, and the bundle changes when it says something new. One
 * that does not answer keeps the roots it had. So a backend that is down takes neither the bundle nor the certificates of the others away.
 */
export class TrustBundles {
  readonly #options: TrustBundlesOptions;
  readonly #roots: BackendRoots;
  readonly #cache = new Map<string, Cached>();
  /** Readings under way, by mesh. */
  readonly #reading = new Map<string, Promise<TrustBundle>>();
  /** Fires an event named after a mesh when its bundle has, or may have, changed. */
  readonly #changes = new EventTarget();
  /** Mesh -> version that listeners know of. */
  readonly #told = new Map<string, number>();
  readonly #listeners = new Set<(mesh: string) => void>();
  readonly #endOfWaits = new AbortController();
  readonly #closing = new AbortController();
  readonly #stopListening: () => void;

  constructor(options: TrustBundlesOptions) {
    this.#options = options;
    this.#roots = new BackendRoots(options.clock, options.log, this.#closing.signal);
    setMaxListeners(0, this.#changes, this.#closing.signal, this.#endOfWaits.signal);
    this.#stopListening = options.store.onChange((change) => {
      if (change.kind === 'unknown') for (const mesh of this.#cache.keys()) this.#wake(mesh);
      else if (change.key.type === 'Secret') this.#wake(change.key.mesh);
      else if (change.key.type === 'Mesh') {
        this.#cache.delete(change.key.name);
        this.#wake(change.key.name);
      }
    });
  }

  /** The bundle when it is known and nothing changed since: for the hot path. */
  peek(from: MeshBackends): TrustBundle | undefined {
    const cached = this.#cache.get(from.mesh.name);
    if (cached?.from !== from) return undefined;
    if (this.#options.clock.monotonicMs() - cached.madeAtMs > LOOK_AGAIN_MS) this.#lookBehind(cached);
    return cached.bundle;
  }

  /**
   * @throws NotFoundError when there is no such mesh; the enabled backend's error when its roots were never seen
   */
  async get(mesh: string, options: CallOptions): Promise<TrustBundle> {
    const from = await this.#options.backends.get(mesh);
    const known = this.peek(from);
    if (known !== undefined) return known;
    return orAborted(this.#read(mesh), options.signal).catch(tellCause);
  }

  /**
   * `get`, but for who is about to ask the enabled backend for a certificate: roots that this backend never told are no error, they join the
   * bundle with the certificate (`include`).
   */
  async forIssuing(from: MeshBackends, options: CallOptions): Promise<TrustBundle> {
    const known = this.peek(from);
    if (known !== undefined) return known;
    const { name } = from.mesh;
    try {
      return await orAborted(this.#read(name), options.signal);
    } catch (error) {
      if (!(error instanceof RootsNeverSeen)) throw error;
      return readBundle(name, 0, bundleBody(new Map()));
    }
  }

  /**
   * The bundle with these roots in it: to be called before a certificate under them is handed out, since an external backend may have
   * changed its root after we looked.
   * @throws IssuerUnavailableError when the backend is no longer one of the mesh, so that its roots are not in the bundle
   */
  async include(
    from: MeshBackends,
    backend: Backend,
    roots: readonly Buffer[],
    options: CallOptions,
  ): Promise<TrustBundle> {
    const isTrusted = (bundle: TrustBundle) => fingerprintsIn(bundle, roots) !== undefined;
    const known = this.peek(from);
    if (known !== undefined && isTrusted(known)) return known;
    // Before the bundle is made: some backends tell their roots with a certificate only (cert-manager without `caCert`).
    this.#roots.note(backend, roots);
    const bundle = await orAborted(this.#readAnew(from.mesh.name), options.signal).catch(tellCause);
    if (isTrusted(bundle)) return bundle;
    throw new IssuerUnavailableError(
      `backend "${backend.name}" of mesh "${from.mesh.name}" was changed while it issued a certificate`,
      {
        retryAfterMs: 1000,
        fix: 'ask again',
      },
    );
  }

  /** Intermediates that the backend told last; empty when nothing is known. */
  intermediates(backend: Backend): readonly Buffer[] {
    return this.#roots.known(backend).intermediates;
  }

  /** The bundle once its version differs from `version`, or undefined when `timeoutMs` passed or waiting was ended. */
  async waitForChange(
    mesh: string,
    version: number,
    timeoutMs: number,
    options: CallOptions,
  ): Promise<TrustBundle | undefined> {
    const { clock } = this.#options;
    const deadline = clock.deadline(timeoutMs, options.signal);
    try {
      for (;;) {
        const look = new AbortController();
        const listen = { once: true, signal: look.signal } as const;
        const changed = new Promise<void>((resolve) => {
          this.#changes.addEventListener(mesh, () => resolve(), listen);
          for (const signal of [deadline.signal, this.#endOfWaits.signal])
            signal.addEventListener('abort', () => resolve(), listen);
        });
        try {
          const bundle = await this.get(mesh, options);
          if (bundle.version !== version) return bundle;
          if (deadline.signal.aborted || this.#endOfWaits.signal.aborted) return undefined;
          await Promise.race([changed, clock.sleep(LOOK_AGAIN_MS, look.signal).catch(() => {})]);
        } finally {
          look.abort();
        }
      }
    } finally {
      deadline.clear();
    }
  }

  /**
   * Calls `listener` once for each version of a mesh's bundle that this process comes to know, the first included, whoever made it; `get` then
   * answers with it, or with a later one. Returns what ends it; idempotent.
   */
  onChange(listener: (mesh: string) => void): () => void {
    const own = (mesh: string) => listener(mesh);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** Answers all long polls now, so that a server can drain. */
  endWaits(): void {
    this.#endOfWaits.abort();
  }

  /** Ends what is asked of backends. Idempotent. */
  async close(): Promise<void> {
    this.#stopListening();
    this.endWaits();
    this.#closing.abort(new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000 }));
    await Promise.allSettled(this.#reading.values());
  }

  #wake(mesh: string): void {
    this.#changes.dispatchEvent(new Event(mesh));
  }

  #lookBehind(cached: Cached): void {
    const { name } = cached.from.mesh;
    this.#cache.set(name, { ...cached, madeAtMs: this.#options.clock.monotonicMs() });
    for (const backend of cached.from.backends.values()) this.#askBehind(backend);
  }

  /** Asks without anybody waiting; the bundle is made anew if the answer changes it. */
  #askBehind(backend: Backend): void {
    void this.#roots
      .ask(backend)
      .then(() => (this.#closing.signal.aborted || backend.isRetired ? undefined : this.#readAnew(backend.mesh)))
      .catch((error: unknown) => {
        this.#options.log.warn({ mesh: backend.mesh, err: error }, 'trust bundle not refreshed');
      });
  }

  /** A reading that is under way may have begun before what the caller knows. */
  async #readAnew(mesh: string): Promise<TrustBundle> {
    await this.#reading.get(mesh)?.catch(() => {});
    return this.#read(mesh);
  }

  /** Callers at the same time share one reading; one that gives up (`orAborted`) does not end it for the others. */
  #read(mesh: string): Promise<TrustBundle> {
    let reading = this.#reading.get(mesh);
    if (reading === undefined) {
      reading = this.#make(mesh).finally(() => this.#reading.delete(mesh));
      this.#reading.set(mesh, reading);
    }
    return reading;
  }

  async #make(mesh: string): Promise<TrustBundle> {
    const { store, backends, clock, log } = this.#options;
    const collect = { roots: this.#roots, clock, askBehind: (backend: Backend) => this.#askBehind(backend) };
    for (let attempt = 1; attempt <= APPEND_TRIES; attempt += 1) {
      const from = await backends.get(mesh);
      // Read before anybody is asked: what another writer appends meanwhile makes ours a conflict, and is not lost.
      const stored = await store.getTrustBundle(mesh);
      const last = stored === undefined ? undefined : readBundle(mesh, stored.version, stored.body);
      const roots = new Map<string, readonly Buffer[]>();
      for (const [name, known] of await collectRoots(from, last, collect)) {
        const held = last === undefined ? [] : rootsOf(last, name);
        const gone = held.filter((root) => !known.some((other) => other.equals(root)));
        roots.set(name, [...known, ...(gone.length === 0 ? [] : await this.#stillInUse(mesh, gone))]);
      }
      const body = bundleBody(roots);
      if (last !== undefined && stored?.body === body) return this.#keep(from, last);
      // What we know may be old by now; a bundle without the newest backend must not replace one that has it.
      if (backends.peek(mesh) !== from) continue;
      try {
        const { version } = await store.appendTrustBundle(mesh, body, stored?.version ?? 0);
        log.info(
          { mesh, version, roots: [...roots].map(([name, ders]) => `${name}:${ders.length}`) },
          'trust bundle changed',
        );
        return this.#keep(from, readBundle(mesh, version, body));
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error;
      }
    }
    throw new IssuerUnavailableError(`the trust bundle of mesh "${mesh}" changes too often`, { retryAfterMs: 1000 });
  }

  /** Roots that the backend no longer names stay until the last certificate under them has expired: connections must not break. */
  async #stillInUse(mesh: string, roots: readonly Buffer[]): Promise<readonly Buffer[]> {
    const now = this.#options.clock.now();
    const certificates = await this.#options.store.listCertificates(mesh);
    const inUse = new Set(
      certificates.filter(({ notAfter }) => notAfter > now).flatMap(({ rootHashes }) => rootHashes),
    );
    return roots.filter((root) => inUse.has(fingerprintSha256(root)));
  }

  #keep(from: MeshBackends, bundle: TrustBundle): TrustBundle {
    const mesh = from.mesh.name;
    this.#cache.set(mesh, { bundle, from, madeAtMs: this.#options.clock.monotonicMs() });
    if (this.#told.get(mesh) !== bundle.version) {
      this.#told.set(mesh, bundle.version);
      this.#wake(mesh);
      for (const listener of this.#listeners) listener(mesh);
    }
    return bundle;
  }
}
