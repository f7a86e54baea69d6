import { setMaxListeners } from 'node:events';
import type { Backend } from '../backends/backend.ts';
import type { Backends, MeshBackends } from '../backends/backends.ts';
import { IssuerUnavailableError, NotFoundError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import { createListeners, type Listeners } from '../runtime/listeners.ts';
import type { Log } from '../runtime/log.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import type { Store, StoreChange } from '../store/store.ts';
import { BackendRoots } from './backend-roots.ts';
import { BundleWaits } from './bundle-waits.ts';
import { RootsNeverSeen, tellCause } from './collect-roots.ts';
import { lookAgain } from './look-again.ts';
import { type MadeBundle, makeBundle } from './make-bundle.ts';
import { createRereadAll } from './reread-all.ts';
import { type HeldByAll, RootGate } from './root-gate.ts';
import { bundleBody, fingerprintsIn, readBundle, type TrustBundle } from './trust-bundle.ts';

export interface TrustBundlesOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly clock: Clock;
  readonly log: Log;
  /** Who has not taken a version yet; asked only after a root changed upstream without notice. Absent: certificates under such a root wait for nobody. */
  readonly heldByAll?: HeldByAll;
}

/** How often it is looked which backends should be asked again. */
const LOOK_EVERY_MS = 5_000;
/** How often a bundle is made anew though nobody told anything: roots go when the last certificate under them has expired. */
const REMAKE_EVERY_MS = 60_000;

/** Readings one after the other because something changes all the time. */
const MOST_ROUNDS = 5;

/** A mesh that somebody asked about: its bundle is followed from then on. */
interface Followed {
  /** The newest version that this process knows; undefined before there is one. */
  bundle: TrustBundle | undefined;
  /** The backends it was made from: another object means that something changed. */
  from: MeshBackends | undefined;
  /** Something has changed since it was made. */
  isDirty: boolean;
  madeAtMs: number;
  /** Grows with each change that a reading under way may have missed. */
  changes: number;
  reading: Promise<TrustBundle> | undefined;
}

/**
 * The trust bundle of each mesh: the union of the roots of ALL its backends, with a version that grows with each change of content.
 *
 * A backend whose roots were seen before is never waited for: it is asked behind, and the bundle changes when it says something new. One
 * that does not answer keeps the roots it had. So a backend that is down takes neither the bundle nor the certificates of the others away.
 *
 * From the first question on a mesh is followed: what changes in the store is read at once, external backends are asked about each minute, whether or
 * not anybody waits.
 */
export class TrustBundles {
  readonly #options: TrustBundlesOptions;
  readonly #roots: BackendRoots;
  readonly #gate: RootGate;
  readonly #waits: BundleWaits;
  readonly #meshes = new Map<string, Followed>();
  readonly #listeners: Listeners<string>;
  readonly #closing = new AbortController();
  readonly #rereadAll: () => void;
  readonly #stopListening: () => void;
  /** The loop that looks again; it begins with the first mesh. */
  #looking: Promise<void> | undefined;

  constructor(options: TrustBundlesOptions) {
    const { clock, log, heldByAll, store } = options;
    const { signal } = this.#closing;
    setMaxListeners(0, signal);
    this.#options = options;
    this.#roots = new BackendRoots(clock, log, signal);
    this.#gate = new RootGate({ heldByAll, clock, log, signal });
    this.#waits = new BundleWaits(clock, log);
    this.#listeners = createListeners((error, mesh) =>
      log.error({ mesh, err: error }, 'a listener for trust bundles failed'),
    );
    this.#rereadAll = createRereadAll({
      names: () => this.#meshes.keys(),
      reread: async (name) => {
        if (this.#meshes.get(name)?.isDirty === true) await this.#reread(name);
      },
      signal,
    });
    this.#stopListening = store.onChange((change) => this.#follow(change));
  }

  /** The bundle when it is known and nothing changed since: for the hot path. */
  peek(from: MeshBackends): TrustBundle | undefined {
    const mesh = this.#meshes.get(from.mesh.name);
    return mesh?.from === from && !mesh.isDirty ? mesh.bundle : undefined;
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
    return orAborted(this.#readAnew(mesh), options.signal).catch(tellCause);
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
  *versions(): Iterable<{ readonly mesh: string; readonly version: number }> {
    for (const [mesh, { bundle }] of this.#meshes) if (bundle !== undefined) yield { mesh, version: bundle.version };
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
    this.#stopListening();
    this.endWaits();
    this.#closing.abort(new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000 }));
    await Promise.allSettled([this.#looking, ...[...this.#meshes.values()].map(({ reading }) => reading)]);
  }

  #follow(change: StoreChange): void {
    if (change.kind === 'unknown') {
      for (const name of this.#meshes.keys()) this.#touch(name);
      this.#rereadAll();
      return;
    }
    const { type, mesh, name } = change.key;
    const changed = type === 'Mesh' ? name : type === 'Secret' ? mesh : undefined;
    if (changed !== undefined && this.#touch(changed)) void this.#reread(changed);
  }

  /** What is known of a mesh may be old. An issuer that follows its secrets is the same object after a change of one. False: nobody asked about it. */
  #touch(name: string): boolean {
    const mesh = this.#meshes.get(name);
    if (mesh === undefined) return false;
    mesh.isDirty = true;
    mesh.changes += 1;
    for (const backend of mesh.from?.backends.values() ?? []) if (backend.local) this.#roots.expire(backend);
    return true;
  }

  /** Never rejects. */
  async #reread(name: string): Promise<void> {
    try {
      if (!this.#closing.signal.aborted) await this.#read(name);
    } catch (error) {
      // Each failed question was told already.
      if (error instanceof NotFoundError || error instanceof RootsNeverSeen || this.#closing.signal.aborted) return;
      this.#options.log.warn({ mesh: name, err: error }, 'trust bundle not refreshed');
    }
  }

  #look(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [name, mesh] of this.#meshes) {
      const isOld = nowMs - mesh.madeAtMs >= REMAKE_EVERY_MS;
      if (isOld) mesh.changes += 1;
      if (isOld || mesh.isDirty || mesh.bundle === undefined) void this.#reread(name);
      for (const backend of mesh.from?.backends.values() ?? []) {
        if (!backend.isRetired && this.#roots.isDue(backend)) this.#askBehind(backend);
      }
    }
  }

  /** Asks without anybody waiting; the bundle is made anew if the answer changes it. */
  #askBehind(backend: Backend): void {
    void this.#roots.ask(backend).then(() => {
      if (backend.isRetired || this.#closing.signal.aborted) return;
      const mesh = this.#meshes.get(backend.mesh);
      if (mesh === undefined) return;
      mesh.changes += 1;
      void this.#reread(backend.mesh);
    });
  }

  /** The bundle after these roots came with a certificate. Some backends tell them in no other way (cert-manager without `caCert`). */
  async #join(backend: Backend, roots: readonly Buffer[], options: CallOptions): Promise<TrustBundle> {
    this.#roots.note(backend, roots);
    const bundle = await orAborted(this.#readAnew(backend.mesh), options.signal).catch(tellCause);
    if (fingerprintsIn(bundle, roots, backend.name) !== undefined) return bundle;
    throw new IssuerUnavailableError(
      `backend "${backend.name}" of mesh "${backend.mesh}" was changed while it issued a certificate`,
      { retryAfterMs: 1000, fix: 'ask again' },
    );
  }

  /** A reading that is under way may have begun before what the caller knows. */
  #readAnew(name: string): Promise<TrustBundle> {
    this.#mesh(name).changes += 1;
    return this.#read(name);
  }

  /** Callers at the same time share one reading; one that gives up (`orAborted`) does not end it for the others. */
  #read(name: string): Promise<TrustBundle> {
    const mesh = this.#mesh(name);
    mesh.reading ??= this.#make(name, mesh);
    return mesh.reading;
  }

  #mesh(name: string): Followed {
    let mesh = this.#meshes.get(name);
    if (mesh === undefined) {
      const madeAtMs = this.#options.clock.monotonicMs();
      mesh = { bundle: undefined, from: undefined, isDirty: true, madeAtMs, changes: 0, reading: undefined };
      this.#meshes.set(name, mesh);
      this.#looking ??= lookAgain(() => this.#look(), {
        ...{ everyMs: LOOK_EVERY_MS, signal: this.#closing.signal },
        ...{ clock: this.#options.clock, log: this.#options.log },
      });
    }
    return mesh;
  }

  /** The mesh is gone. */
  #drop(name: string, mesh: Followed): void {
    if (this.#meshes.get(name) === mesh) this.#meshes.delete(name);
    this.#gate.forget(name);
    this.#waits.wake(name);
  }

  /** Whoever shares this gets what was read after the last change that was told before it resolves. */
  async #make(name: string, mesh: Followed): Promise<TrustBundle> {
    const options = { ...this.#options, roots: this.#roots, askBehind: (backend: Backend) => this.#askBehind(backend) };
    try {
      let made = this.#keep(mesh, await makeBundle(name, mesh, options));
      for (let round = 1; mesh.isDirty && round < MOST_ROUNDS; round += 1) {
        made = this.#keep(mesh, await makeBundle(name, mesh, options));
      }
      return made;
    } catch (error) {
      if (error instanceof NotFoundError) this.#drop(name, mesh);
      throw error;
    } finally {
      // In the same turn as the last look at what has changed.
      mesh.reading = undefined;
    }
  }

  #keep(mesh: Followed, { from, bundle, before, changes }: MadeBundle): TrustBundle {
    const isNews = mesh.bundle?.version !== bundle.version;
    // Before anybody can learn of the version: who comes to the gate then must find it closed.
    if (isNews) this.#gate.changed(mesh.bundle ?? before, bundle);
    const madeAtMs = this.#options.clock.monotonicMs();
    Object.assign(mesh, { bundle, from, madeAtMs, isDirty: mesh.changes !== changes });
    if (isNews) {
      this.#waits.wake(bundle.mesh);
      this.#listeners.tell(bundle.mesh);
    }
    return bundle;
  }
}
