import { setMaxListeners } from 'node:events';
import type { Backend } from '../backends/backend.ts';
import type { Backends, MeshBackends } from '../backends/backends.ts';
import { ConflictError, IssuerUnavailableError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Store } from '../store/store.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';
import { bundleBody, type RootsByBackend, readBundle, rootsOf, type TrustBundle } from './trust-bundle.ts';

export interface TrustBundlesOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly clock: Clock;
  readonly log: Log;
}

/** After this the roots of a mesh are asked for again, so that a root that changed at the backend joins. */
const FRESH_FOR_MS = 60_000;
/** Writers that may be faster than we before we give up. */
const APPEND_TRIES = 5;

interface Cached {
  readonly bundle: TrustBundle;
  /** The backends it was made from: another object means that something changed. */
  readonly from: MeshBackends;
  readonly readAtMs: number;
  /** Backend name -> its intermediates, DER. */
  readonly intermediates: ReadonlyMap<string, readonly Buffer[]>;
}

/** What one backend said of its CA certificates, or why it said nothing. */
interface Asked {
  readonly name: string;
  readonly roots?: readonly Buffer[];
  readonly intermediates: readonly Buffer[];
  readonly error?: unknown;
}

/**
 * The trust bundle of each mesh: the union of the roots of ALL its backends, with a version that grows with each change of content.
 * A backend that does not answer keeps the roots it had; it never takes the bundle of the others away.
 */
export class TrustBundles {
  readonly #options: TrustBundlesOptions;
  readonly #cache = new Map<string, Cached>();
  readonly #reading = new Map<string, Promise<TrustBundle>>();
  /** Fires an event named after a mesh when its bundle has, or may have, changed. */
  readonly #changes = new EventTarget();
  readonly #closing = new AbortController();
  readonly #stopListening: () => void;

  constructor(options: TrustBundlesOptions) {
    this.#options = options;
    setMaxListeners(0, this.#changes, this.#closing.signal);
    this.#stopListening = options.store.onChange((change) => {
      const meshes =
        change.kind === 'unknown'
          ? [...this.#cache.keys()]
          : [change.key.type === 'Mesh' ? change.key.name : change.key.mesh];
      if (change.kind === 'resource' && change.key.type === 'Mesh') this.#cache.delete(change.key.name);
      for (const mesh of meshes) this.#changes.dispatchEvent(new Event(mesh));
    });
  }

  /** The bundle when it is known and nothing changed since: for the hot path. */
  peek(from: MeshBackends): TrustBundle | undefined {
    const cached = this.#cache.get(from.mesh.name);
    if (cached?.from !== from) return undefined;
    if (this.#options.clock.monotonicMs() - cached.readAtMs > FRESH_FOR_MS) this.#refreshBehind(cached);
    return cached.bundle;
  }

  /**
   * @throws NotFoundError when there is no such mesh; the enabled backend's error when its roots were never seen
   */
  async get(mesh: string, options: CallOptions): Promise<TrustBundle> {
    const from = await this.#options.backends.get(mesh);
    return this.peek(from) ?? this.#refresh(mesh, options);
  }

  /**
   * Makes sure that the roots of a certificate are in the bundle before the certificate is handed out: an external backend may have
   * changed its root since we looked.
   */
  async include(
    from: MeshBackends,
    backend: string,
    roots: readonly Buffer[],
    options: CallOptions,
  ): Promise<TrustBundle> {
    const mesh = from.mesh.name;
    const known = this.peek(from) ?? (await this.#refresh(mesh, options));
    const held = rootsOf(known, backend);
    const missing = roots.filter((root) => !held.some((other) => other.equals(root)));
    return missing.length === 0 ? known : this.#read(mesh, new Map([[backend, missing]]));
  }

  /** Intermediates that the backend told last; empty when nothing is known. */
  intermediates(from: MeshBackends, backend: string): readonly Buffer[] {
    return this.#cache.get(from.mesh.name)?.intermediates.get(backend) ?? [];
  }

  /** The bundle once its version differs from `version`, or undefined when `timeoutMs` passed or the service closes first. */
  async waitForChange(
    mesh: string,
    version: number,
    timeoutMs: number,
    options: CallOptions,
  ): Promise<TrustBundle | undefined> {
    const { clock } = this.#options;
    const deadline = clock.deadline(timeoutMs, AbortSignal.any([options.signal, this.#closing.signal]));
    try {
      for (;;) {
        const look = new AbortController();
        const changed = new Promise<void>((resolve) => {
          this.#changes.addEventListener(mesh, () => resolve(), { once: true, signal: look.signal });
          deadline.signal.addEventListener('abort', () => resolve(), { once: true, signal: look.signal });
        });
        try {
          const bundle = await this.get(mesh, options);
          if (bundle.version !== version) return bundle;
          if (deadline.signal.aborted) return undefined;
          // Nothing tells us when an external root changes, so a waiting data plane looks again from time to time.
          await Promise.race([changed, clock.sleep(FRESH_FOR_MS, look.signal).catch(() => {})]);
        } finally {
          look.abort();
        }
      }
    } finally {
      deadline.clear();
    }
  }

  /** Ends all long polls. Idempotent. */
  async close(): Promise<void> {
    this.#stopListening();
    this.#closing.abort();
    await Promise.allSettled(this.#reading.values());
  }

  #refreshBehind(cached: Cached): void {
    const { name } = cached.from.mesh;
    // Counts as fresh while it is being asked for: one refresh at a time, and no other for a while if it fails.
    this.#cache.set(name, { ...cached, readAtMs: this.#options.clock.monotonicMs() });
    this.#refresh(name, { signal: this.#closing.signal }).catch((error: unknown) => {
      this.#options.log.warn({ mesh: name, err: error }, 'trust bundle not refreshed');
    });
  }

  /** Callers at the same time share one reading; a caller that gives up does not end it for the others. */
  async #refresh(mesh: string, { signal }: CallOptions): Promise<TrustBundle> {
    let reading = this.#reading.get(mesh);
    if (reading === undefined) {
      reading = this.#read(mesh).finally(() => this.#reading.delete(mesh));
      this.#reading.set(mesh, reading);
    }
    const left = new AbortController();
    const givenUp = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true, signal: left.signal });
    });
    try {
      return await Promise.race([reading, givenUp]);
    } finally {
      left.abort();
    }
  }

  async #read(mesh: string, extra?: RootsByBackend): Promise<TrustBundle> {
    const { store, backends, log } = this.#options;
    for (let attempt = 1; attempt <= APPEND_TRIES; attempt += 1) {
      const from = await backends.get(mesh);
      const asked = await Promise.all([...from.backends.values()].map((backend) => this.#ask(backend)));
      const stored = await store.getTrustBundle(mesh);
      const last = stored === undefined ? undefined : readBundle(mesh, stored.version, stored.body);
      const roots = new Map<string, readonly Buffer[]>();
      const intermediates = new Map(asked.map(({ name, intermediates: told }) => [name, told]));
      for (const { name, roots: told, error } of asked) {
        const held = last === undefined ? [] : rootsOf(last, name);
        if (told === undefined && held.length === 0 && name === from.enabled?.name) throw error;
        const gone = told === undefined ? [] : held.filter((root) => !told.some((other) => other.equals(root)));
        const kept = gone.length === 0 ? [] : await this.#stillInUse(mesh, gone);
        roots.set(name, [...(told ?? held), ...kept, ...(extra?.get(name) ?? [])]);
      }
      const body = bundleBody(roots);
      if (last !== undefined && stored?.body === body) return this.#keep(from, last, intermediates);
      // What we asked may be old by now; a bundle without the newest backend must not replace one that has it.
      if (backends.peek(mesh) !== from) continue;
      try {
        const { version } = await store.appendTrustBundle(mesh, body, stored?.version ?? 0);
        log.info(
          { mesh, version, roots: [...roots].map(([name, ders]) => `${name}:${ders.length}`) },
          'trust bundle changed',
        );
        return this.#keep(from, readBundle(mesh, version, body), intermediates);
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

  async #ask(backend: Backend): Promise<Asked> {
    try {
      const bundle = await backend.call('trustBundle', (issuer, call) => issuer.trustBundle(call), {
        signal: this.#closing.signal,
      });
      return { name: backend.name, roots: bundle.roots, intermediates: bundle.intermediates };
    } catch (error) {
      this.#options.log.warn(
        { mesh: backend.mesh, backend: backend.name, type: backend.type, err: error },
        'roots of backend not read',
      );
      return { name: backend.name, error, intermediates: [] };
    }
  }

  #keep(from: MeshBackends, bundle: TrustBundle, intermediates: Cached['intermediates']): TrustBundle {
    const mesh = from.mesh.name;
    const before = this.#cache.get(mesh)?.bundle.version;
    this.#cache.set(mesh, { bundle, from, intermediates, readAtMs: this.#options.clock.monotonicMs() });
    if (before !== bundle.version) this.#changes.dispatchEvent(new Event(mesh));
    return bundle;
  }
}
