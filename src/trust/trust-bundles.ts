import { setMaxListeners } from 'node:events';
import type { Backend } from '../backends/backend.ts';
import type { Backends, MeshBackends } from '../backends/backends.ts';
import { IssuerUnavailableError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import { createListeners, type Listeners } from '../runtime/listeners.ts';
import type { Log } from '../runtime/log.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import type { Store } from '../store/store.ts';
import { BackendRoots } from './backend-roots.ts';
import { BundleWaits } from './bundle-waits.ts';
import { RootsNeverSeen, tellCause } from './collect-roots.ts';
import { FollowedMeshes } from './followed-meshes.ts';
import { type CountLacking, RootGate } from './root-gate.ts';
import { bundleBody, fingerprintsIn, readBundle, type TrustBundle } from './trust-bundle.ts';

export interface TrustBundlesOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly clock: Clock;
  readonly log: Log;
  /** Who has not taken a version yet; asked only after a root changed upstream without notice. Absent: certificates under such a root wait for nobody. */
  readonly countLacking?: CountLacking;
}

/**
 * The trust bundle of each mesh: the union of the roots of ALL its backends, with a version that grows with each change of content.
 *
 * A backend whose roots were seen before is never waited for: it is asked behind, and the bundle changes when it says something new. One
 * that does not answer keeps the roots it had. So a backend that is down takes neither the bundle nor the certificates of the others away.
 *
 * From the first question on a mesh is followed, whether or not anybody waits (`FollowedMeshes`).
 */
export class TrustBundles {
  readonly #options: TrustBundlesOptions;
  readonly #roots: BackendRoots;
  readonly #gate: RootGate;
  readonly #waits: BundleWaits;
  readonly #followed: FollowedMeshes;
  readonly #listeners: Listeners<string>;
  readonly #closing = new AbortController();

  constructor(options: TrustBundlesOptions) {
    const { store, backends, clock, log, countLacking } = options;
    const { signal } = this.#closing;
    setMaxListeners(0, signal);
    this.#options = options;
    this.#roots = new BackendRoots(clock, log, signal);
    this.#gate = new RootGate({ countLacking, clock, log, signal });
    this.#waits = new BundleWaits(clock, log);
    this.#listeners = createListeners((error, mesh) =>
      log.error({ mesh, err: error }, 'a listener for trust bundles failed'),
    );
    this.#followed = new FollowedMeshes({
      ...{ store, backends, clock, log, signal, roots: this.#roots },
      beforeNews: (before, bundle) => this.#gate.changed(before, bundle),
      onNews: (mesh) => {
        this.#waits.wake(mesh);
        this.#listeners.tell(mesh);
      },
      onGone: (mesh) => {
        this.#gate.forget(mesh);
        this.#waits.wake(mesh);
      },
    });
  }

  /** The bundle when it is known and nothing changed since: for the hot path. */
  peek(from: MeshBackends): TrustBundle | undefined {
    return this.#followed.peek(from);
  }

  /**
   * @throws NotFoundError when there is no such mesh; the enabled backend's error when its roots were never seen
   */
  async get(mesh: string, options: CallOptions): Promise<TrustBundle> {
    const from = await this.#options.backends.get(mesh);
    const known = this.peek(from);
    if (known !== undefined) return known;
    return orAborted(this.#followed.read(mesh), options.signal).catch(tellCause);
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
      return await orAborted(this.#followed.read(name), options.signal);
    } catch (error) {
      if (!(error instanceof RootsNeverSeen)) throw error;
      return readBundle(name, 0, bundleBody(new Map()));
    }
  }

  /**
   * The bundle with these roots in it: to be called before a certificate under them is handed out, since an external backend may have
   * changed its root after we looked. If one of them has just joined because it changed upstream, this waits, for at most 10 s, until the data planes
   * that are there have taken the bundle.
   * @throws IssuerUnavailableError when the backend is no longer one of the mesh, so that its roots are not in the bundle
   */
  async include(
    from: MeshBackends,
    backend: Backend,
    roots: readonly Buffer[],
    options: CallOptions,
  ): Promise<TrustBundle> {
    const known = this.peek(from);
    const isTrusted = known !== undefined && fingerprintsIn(known, roots, backend.name) !== undefined;
    const bundle = isTrusted ? known : await this.#join(backend, roots, options);
    if (this.#gate.isOpen(backend.mesh)) return bundle;
    await this.#gate.pass(backend, fingerprintsIn(bundle, roots, backend.name) ?? [], options);
    return this.peek(from) ?? bundle;
  }

  /**
   * Takes roots that a backend of the mesh has proven to use, by a test certificate: they join the bundle before any data plane's certificate ends in
   * them. Those of a backend that tells its roots only with certificates stay until it tells others, or leaves the mesh. A backend that the mesh does not
   * have (any more) is passed over.
   * @returns the bundle after that
   * @throws what `get` throws
   */
  async learn(mesh: string, backend: string, roots: readonly Buffer[], options: CallOptions): Promise<TrustBundle> {
    const from = await this.#options.backends.get(mesh);
    const known = this.peek(from);
    const live = from.backends.get(backend);
    if (known !== undefined && (live === undefined || fingerprintsIn(known, roots, backend) !== undefined))
      return known;
    if (live !== undefined) this.#roots.note(live, roots);
    return orAborted(this.#followed.readAnew(mesh), options.signal).catch(tellCause);
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
    const endsAtMs = this.#options.clock.monotonicMs() + timeoutMs;
    for (;;) {
      // Begun before the look, so that no change comes between.
      const wait = this.#waits.begin(mesh, endsAtMs, options.signal);
      try {
        const bundle = await this.get(mesh, options);
        if (bundle.version !== version) return bundle;
        if (!(await wait.over)) return undefined;
      } finally {
        wait.end();
      }
    }
  }

  /** The version of each mesh's bundle that this process knows; nothing is read. */
  versions(): Iterable<{ readonly mesh: string; readonly version: number }> {
    return this.#followed.versions();
  }

  /**
   * Calls `listener` once for each version of a mesh's bundle that this process comes to know, the first included, whoever made it; `get` then
   * answers with it, or with a later one. Returns what ends it; idempotent.
   */
  onChange(listener: (mesh: string) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Answers all long polls now, so that a server can drain. */
  endWaits(): void {
    this.#waits.endAll();
  }

  /** Ends what is asked of backends. Idempotent. */
  async close(): Promise<void> {
    this.endWaits();
    this.#closing.abort(new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000 }));
    await this.#followed.close();
  }

  /** The bundle after these roots came with a certificate. Some backends tell them in no other way (cert-manager without `caCert`). */
  async #join(backend: Backend, roots: readonly Buffer[], options: CallOptions): Promise<TrustBundle> {
    this.#roots.note(backend, roots);
    const bundle = await orAborted(this.#followed.readAnew(backend.mesh), options.signal).catch(tellCause);
    if (fingerprintsIn(bundle, roots, backend.name) !== undefined) return bundle;
    throw new IssuerUnavailableError(
      `backend "${backend.name}" of mesh "${backend.mesh}" was changed while it issued a certificate`,
      { retryAfterMs: 1000, fix: 'ask again' },
    );
  }
}
