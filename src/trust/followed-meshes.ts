import type { Backend } from '../backends/backend.ts';
import type { Backends, MeshBackends } from '../backends/backends.ts';
import { NotFoundError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Store, StoreChange } from '../store/store.ts';
import type { BackendRoots } from './backend-roots.ts';
import { RootsNeverSeen } from './collect-roots.ts';
import { lookAgain } from './look-again.ts';
import { type MadeBundle, makeBundle } from './make-bundle.ts';
import { createRereadAll } from './reread-all.ts';
import type { TrustBundle } from './trust-bundle.ts';

export interface FollowedMeshesOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly clock: Clock;
  readonly log: Log;
  readonly roots: BackendRoots;
  /** Ends what is asked and read. */
  readonly signal: AbortSignal;
  /** Called before anybody can learn of another version. `before`: the one known here, or stored, until now. */
  readonly beforeNews: (before: TrustBundle | undefined, bundle: TrustBundle) => void;
  /** Called once for each version, when it can be had. */
  readonly onNews: (mesh: string) => void;
  /** The mesh is gone. */
  readonly onGone: (mesh: string) => void;
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
 * Keeps the bundles up to date of all meshes that somebody has asked about: what changes in the store is read at once, external backends are asked about
 * each minute, whether or not anybody waits.
 */
export class FollowedMeshes {
  readonly #options: FollowedMeshesOptions;
  readonly #meshes = new Map<string, Followed>();
  readonly #rereadAll: () => void;
  readonly #stopListening: () => void;
  /** The loop that looks again; it begins with the first mesh. */
  #looking: Promise<void> | undefined;

  constructor(options: FollowedMeshesOptions) {
    this.#options = options;
    this.#rereadAll = createRereadAll({
      names: () => this.#meshes.keys(),
      reread: async (name) => {
        if (this.#meshes.get(name)?.isDirty === true) await this.#reread(name);
      },
      signal: options.signal,
    });
    this.#stopListening = options.store.onChange((change) => this.#follow(change));
  }

  /** The bundle when it is known and nothing changed since. */
  peek(from: MeshBackends): TrustBundle | undefined {
    const mesh = this.#meshes.get(from.mesh.name);
    return mesh?.from === from && !mesh.isDirty ? mesh.bundle : undefined;
  }

  /**
   * Callers at the same time share one reading; one that gives up (`orAborted`) does not end it for the others.
   * @throws what `makeBundle` throws
   */
  read(name: string): Promise<TrustBundle> {
    const mesh = this.#mesh(name);
    mesh.reading ??= this.#make(name, mesh);
    return mesh.reading;
  }

  /** `read`, but a reading that is under way may have begun before what the caller knows. */
  readAnew(name: string): Promise<TrustBundle> {
    this.#mesh(name).changes += 1;
    return this.read(name);
  }

  /** The newest version that is known of each; nothing is read. */
  *versions(): Iterable<{ readonly mesh: string; readonly version: number }> {
    for (const [mesh, { bundle }] of this.#meshes) if (bundle !== undefined) yield { mesh, version: bundle.version };
  }

  /** Resolves when nothing is under way. To be called after the signal has fired. Idempotent. */
  async close(): Promise<void> {
    this.#stopListening();
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
    for (const backend of mesh.from?.backends.values() ?? []) if (backend.local) this.#options.roots.expire(backend);
    return true;
  }

  /** Never rejects. */
  async #reread(name: string): Promise<void> {
    try {
      if (!this.#options.signal.aborted) await this.read(name);
    } catch (error) {
      // Each failed question was told already.
      if (error instanceof NotFoundError || error instanceof RootsNeverSeen || this.#options.signal.aborted) return;
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
        if (!backend.isRetired && this.#options.roots.isDue(backend)) this.#askBehind(backend);
      }
    }
  }

  /** Asks without anybody waiting; the bundle is made anew if the answer changes it. */
  #askBehind(backend: Backend): void {
    void this.#options.roots.ask(backend).then(() => {
      if (backend.isRetired || this.#options.signal.aborted) return;
      const mesh = this.#meshes.get(backend.mesh);
      if (mesh === undefined) return;
      mesh.changes += 1;
      void this.#reread(backend.mesh);
    });
  }

  #mesh(name: string): Followed {
    const known = this.#meshes.get(name);
    if (known !== undefined) return known;
    const { clock, log, signal } = this.#options;
    const madeAtMs = clock.monotonicMs();
    const mesh: Followed = {
      bundle: undefined,
      from: undefined,
      isDirty: true,
      madeAtMs,
      changes: 0,
      reading: undefined,
    };
    this.#meshes.set(name, mesh);
    this.#looking ??= lookAgain(() => this.#look(), { everyMs: LOOK_EVERY_MS, clock, log, signal });
    return mesh;
  }

  /** Whoever shares this gets what was read after the last change that was told before it resolves. */
  async #make(name: string, mesh: Followed): Promise<TrustBundle> {
    const options = { ...this.#options, askBehind: (backend: Backend) => this.#askBehind(backend) };
    try {
      let made = this.#keep(mesh, await makeBundle(name, mesh, options));
      for (let round = 1; mesh.isDirty && round < MOST_ROUNDS; round += 1) {
        made = this.#keep(mesh, await makeBundle(name, mesh, options));
      }
      return made;
    } catch (error) {
      if (error instanceof NotFoundError) {
        if (this.#meshes.get(name) === mesh) this.#meshes.delete(name);
        this.#options.onGone(name);
      }
      throw error;
    } finally {
      // In the same turn as the last look at what has changed.
      mesh.reading = undefined;
    }
  }

  #keep(mesh: Followed, { from, bundle, before, changes }: MadeBundle): TrustBundle {
    const isNews = mesh.bundle?.version !== bundle.version;
    // Before anybody can learn of the version: who comes to the gate then must find it closed.
    if (isNews) this.#options.beforeNews(mesh.bundle ?? before, bundle);
    const madeAtMs = this.#options.clock.monotonicMs();
    Object.assign(mesh, { bundle, from, madeAtMs, isDirty: mesh.changes !== changes });
    if (isNews) this.#options.onNews(bundle.mesh);
    return bundle;
  }
}
