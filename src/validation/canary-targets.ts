import { hash } from 'node:crypto';
import type { Backend } from '../backends/backend.ts';
import type { Backends } from '../backends/backends.ts';
import { ConfigError, NotFoundError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { Store, StoreChange } from '../store/store.ts';
import { canaryDelayMs } from './canary-delay.ts';
import type { Proofs } from './proofs.ts';

export interface CanaryTargetsOptions {
  readonly store: Pick<Store, 'listResources' | 'onChange'>;
  readonly backends: Pick<Backends, 'get' | 'peek'>;
  readonly proofs: Pick<Proofs, 'latest' | 'forget' | 'keepOnly'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  readonly random: Pick<Random, 'uniform'>;
  readonly log: Log;
  /** 0: never. */
  readonly canaryIntervalMs: number;
  /** The same for backends where every certificate is billed. */
  readonly canaryBilledIntervalMs: number;
}

/** A backend that is proven again and again. */
export interface CanaryTarget {
  backend: Backend;
  readonly intervalMs: number;
  readonly phase: number;
  /** Of the monotonic clock. */
  dueAtMs: number;
  /** `dueAtMs` is its turn among those that were due together. */
  hasTurn: boolean;
  /** The start of the last try, whether it led to a proof or not; of the wall clock. */
  triedMs: number | undefined;
  /** A secret of it has changed then, so that older proofs say nothing; of the wall clock. */
  changedMs: number | undefined;
}

/** A store that another process writes to says so each second; all meshes are not read as often. */
const READ_ALL_MS = 30_000;
const READ_AGAIN_MS = 10_000;
/** A backend whose secret has changed is not proven sooner than this after its last proof. */
const AFTER_CHANGE_MS = 30_000;

/** The backends of all meshes, as they stand in the store now, and when each is due. */
export class CanaryTargets {
  readonly #options: CanaryTargetsOptions;
  /** Mesh -> backend -> target. */
  readonly #targets = new Map<string, Map<string, CanaryTarget>>();
  /** The same in one list, until a mesh is read. */
  #all: readonly CanaryTarget[] | undefined;
  /** Meshes to be read, and whether only a secret of theirs has changed. */
  readonly #changed = new Map<string, 'Mesh' | 'Secret'>();
  readonly #stopListening: () => void;
  #readAllAtMs: number | undefined;
  #lastReadAllMs = Number.NEGATIVE_INFINITY;

  /** @param onChange called when `read` has something to do */
  constructor(options: CanaryTargetsOptions, onChange: () => void) {
    this.#options = options;
    this.#readAllAtMs = options.clock.monotonicMs();
    this.#stopListening = options.store.onChange((change) => {
      if (this.#note(change)) onChange();
    });
  }

  /** In no order. */
  all(): readonly CanaryTarget[] {
    this.#all ??= [...this.#targets.values()].flatMap((ofMesh) => [...ofMesh.values()]);
    return this.#all;
  }

  /** When all meshes are to be read, of the monotonic clock. */
  get readAllAtMs(): number | undefined {
    return this.#readAllAtMs;
  }

  /** Reads the meshes that have changed. What cannot be read now is read later. */
  async read({ signal }: { readonly signal: AbortSignal }): Promise<void> {
    const { clock, log } = this.#options;
    try {
      if (this.#readAllAtMs !== undefined && this.#readAllAtMs <= clock.monotonicMs()) await this.#findMeshes();
      for (const [mesh, what] of this.#changed) {
        if (signal.aborted) return;
        this.#changed.delete(mesh);
        await this.#readMesh(mesh, what);
      }
    } catch (error) {
      log.warn({ err: error }, 'backends to be proven cannot be read: tried again');
      this.#readAllAtMs = clock.monotonicMs() + READ_AGAIN_MS;
    }
  }

  /** Plans the next proof of a target, from the last one or the last try. */
  plan(target: CanaryTarget): void {
    const nowMs = this.#options.clock.now().getTime();
    const delayMs = canaryDelayMs({
      ...target,
      nowMs,
      lastMs: this.lastMs(target),
      jitter: this.#options.random.uniform(),
    });
    target.dueAtMs = this.#options.clock.monotonicMs() + delayMs;
    target.hasTurn = false;
  }

  /** The last proof, or try, that says something of the target as it is now; of the wall clock. */
  lastMs(target: CanaryTarget): number | undefined {
    const lastMs = this.#anyMs(target);
    return lastMs === undefined || lastMs < (target.changedMs ?? lastMs) ? undefined : lastMs;
  }

  close(): void {
    this.#stopListening();
  }

  #note(change: StoreChange): boolean {
    if (change.kind === 'unknown') {
      const soonestMs = Math.max(this.#options.clock.monotonicMs(), this.#lastReadAllMs + READ_ALL_MS);
      this.#readAllAtMs = Math.min(this.#readAllAtMs ?? soonestMs, soonestMs);
      return true;
    }
    const { type, mesh, name } = change.key;
    if (type === 'Mesh') this.#changed.set(name, this.#changed.get(name) ?? 'Mesh');
    else if (type === 'Secret') this.#changed.set(mesh, 'Secret');
    else return false;
    return true;
  }

  async #findMeshes(): Promise<void> {
    this.#lastReadAllMs = this.#options.clock.monotonicMs();
    this.#readAllAtMs = undefined;
    const { items } = await this.#options.store.listResources({ type: 'Mesh' });
    for (const mesh of [...items.map(({ name }) => name), ...this.#targets.keys()]) {
      this.#changed.set(mesh, this.#changed.get(mesh) ?? 'Mesh');
    }
  }

  async #readMesh(mesh: string, what: 'Mesh' | 'Secret'): Promise<void> {
    const { backends, proofs } = this.#options;
    this.#all = undefined;
    try {
      const loaded = await backends.get(mesh);
      // Else a PUT came between, and a backend that it added may be proven already.
      if (backends.peek(mesh) === loaded)
        proofs.keepOnly(mesh, new Set(loaded.mesh.mtls?.backends.map(({ name }) => name)));
      const before = this.#targets.get(mesh);
      const after = new Map<string, CanaryTarget>();
      for (const [name, backend] of loaded.backends) {
        const target = this.#target(backend, before?.get(name), what);
        if (target !== undefined) after.set(name, target);
      }
      this.#targets.set(mesh, after);
    } catch (error) {
      if (error instanceof NotFoundError) proofs.forget(mesh);
      // What is stored cannot be read any more: Backends has logged it, or whoever asks for a certificate hears it.
      else if (!(error instanceof ConfigError)) throw error;
      this.#targets.delete(mesh);
    }
  }

  #target(backend: Backend, before: CanaryTarget | undefined, what: 'Mesh' | 'Secret'): CanaryTarget | undefined {
    const { canaryIntervalMs, canaryBilledIntervalMs, clock } = this.#options;
    const intervalMs = backend.billed ? canaryBilledIntervalMs : canaryIntervalMs;
    if (intervalMs === 0) return undefined;
    if (before?.backend === backend) return before;
    if (before?.backend.hash === backend.hash) {
      before.backend = backend;
      if (what === 'Secret' && !backend.billed) this.#hurry(before);
      return before;
    }
    const phase = phaseOf(backend);
    const nowMs = clock.monotonicMs();
    const target = {
      backend,
      intervalMs,
      phase,
      dueAtMs: nowMs,
      hasTurn: false,
      triedMs: undefined,
      changedMs: undefined,
    };
    this.plan(target);
    return target;
  }

  #anyMs({ backend, triedMs }: CanaryTarget): number | undefined {
    const provenMs = this.#options.proofs.latest(backend)?.provenAt.getTime();
    return provenMs === undefined ? triedMs : Math.max(provenMs, triedMs ?? provenMs);
  }

  /** Its secret has changed: what was proven, or refused, was another one. */
  #hurry(target: CanaryTarget): void {
    const { clock } = this.#options;
    const nowMs = clock.now().getTime();
    const { dueAtMs, intervalMs } = target;
    target.changedMs = nowMs;
    this.plan(target);
    const agoMs = Math.max(0, nowMs - (this.#anyMs(target) ?? 0));
    const soonestMs = clock.monotonicMs() + Math.min(intervalMs, AFTER_CHANGE_MS) - agoMs;
    target.dueAtMs = Math.min(dueAtMs, Math.max(target.dueAtMs, soonestMs));
  }
}

/** The same for a backend in every process and after every start. */
function phaseOf({ mesh, name }: Backend): number {
  return hash('sha256', `${mesh}/${name}`, 'buffer').readUInt32BE(0) / 2 ** 32;
}
