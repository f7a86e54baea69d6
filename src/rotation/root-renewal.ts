import type { Backends } from '../backends/backends.ts';
import { NotFoundError } from '../issuer/errors.ts';
import { type CallOptions, isRenewer } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Store, StoreChange } from '../store/store.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { askRenewer } from './generation-scene.ts';
import { isUnderWay } from './rotation-record.ts';
import type { RotationRequest } from './rotation-request.ts';
import { readStoredRotation } from './stored-rotation.ts';
import { WakeableWait } from './wakeable-wait.ts';

export interface RootRenewalOptions {
  readonly store: Pick<Store, 'listResources' | 'getResource' | 'onChange'>;
  readonly backends: Pick<Backends, 'get'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs' | 'sleep'>;
  readonly log: Log;
  readonly signal: AbortSignal;
  readonly rotations: { put(mesh: string, request: RotationRequest, options: CallOptions): Promise<unknown> };
}

/** Each root is looked at so often, */
const LOOK_EVERY_MS = 3_600_000;
/** and one that does not live long so often in its life: at least twice in the share of it in which it is renewed. */
const LOOKS_PER_LIFE = 10;
/** Meshes that change one after the other are looked at together. */
const SHORTEST_GAP_MS = 1_000;
const RETRY_MS = 60_000;
/** Share of the life of a root that is left when it is renewed (as Istio does with its self-signed root). */
const LAST_SHARE = 0.2;

/**
 * Looks whether the root of an enabled builtin backend is near its end, and starts the rotation to its successor: each hour, for roots of less than ten
 * hours each tenth of their life, and when the Mesh has changed.
 */
export class RootRenewal {
  readonly #options: RootRenewalOptions;
  readonly #wait: WakeableWait;
  /** Mesh -> when it is looked at next, on the monotonic clock. */
  readonly #dueMs = new Map<string, number>();
  readonly #stopListening: () => void;
  #listDueMs = 0;
  #loop: Promise<void> | undefined;

  constructor(options: RootRenewalOptions) {
    this.#options = options;
    this.#wait = new WakeableWait(options.clock, options.signal);
    this.#stopListening = options.store.onChange((change) => this.#follow(change));
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** To be called after the signal has fired. */
  async close(): Promise<void> {
    this.#stopListening();
    await this.#loop;
  }

  #follow(change: StoreChange): void {
    if (change.kind === 'unknown') this.#listDueMs = 0;
    else if (change.key.type === 'Mesh') this.#dueMs.set(change.key.name, 0);
    else return;
    this.#wait.wake();
  }

  async #run(): Promise<void> {
    const { clock, signal } = this.#options;
    while (!signal.aborted) {
      await this.#list();
      for (const [mesh, dueMs] of this.#dueMs) {
        if (signal.aborted) return;
        if (dueMs <= clock.monotonicMs()) await this.#lookAgain(mesh);
      }
      let nextMs = this.#listDueMs;
      for (const dueMs of this.#dueMs.values()) nextMs = Math.min(nextMs, dueMs);
      await this.#wait.pass(SHORTEST_GAP_MS, Math.max(nextMs - clock.monotonicMs(), SHORTEST_GAP_MS));
    }
  }

  /** Changes are told; this is for those before the start, and those that were missed. */
  async #list(): Promise<void> {
    const { store, clock, log, signal } = this.#options;
    if (this.#listDueMs > clock.monotonicMs()) return;
    this.#listDueMs = clock.monotonicMs() + LOOK_EVERY_MS;
    try {
      const { items } = await store.listResources({ type: 'Mesh' });
      const names = new Set(items.map(({ name }) => name));
      for (const mesh of this.#dueMs.keys()) if (!names.has(mesh)) this.#dueMs.delete(mesh);
      for (const mesh of names) this.#dueMs.set(mesh, 0);
    } catch (error) {
      this.#listDueMs = clock.monotonicMs() + RETRY_MS;
      if (!signal.aborted) log.warn({ err: error }, 'roots of builtin CAs not looked at: tried again later');
    }
  }

  async #lookAgain(mesh: string): Promise<void> {
    const { clock, log, signal } = this.#options;
    // Before it is looked at, so that a change meanwhile counts.
    this.#dueMs.set(mesh, clock.monotonicMs() + LOOK_EVERY_MS);
    try {
      const lifeMs = await this.#look(mesh);
      const againMs = clock.monotonicMs() + lifeMs / LOOKS_PER_LIFE;
      this.#dueMs.set(mesh, Math.min(againMs, this.#dueMs.get(mesh) ?? againMs));
    } catch (error) {
      if (error instanceof NotFoundError) {
        this.#dueMs.delete(mesh);
        return;
      }
      this.#dueMs.set(mesh, clock.monotonicMs() + RETRY_MS);
      if (!signal.aborted) log.warn({ mesh, err: error }, 'root of builtin CA not renewed: tried again later');
    }
  }

  /** Answers the length of its life in milliseconds; infinite: there is none. @throws NotFoundError when the mesh is gone */
  async #look(mesh: string): Promise<number> {
    const { store, backends, clock, log, signal, rotations } = this.#options;
    const { enabled } = await backends.get(mesh);
    if (enabled?.has(isRenewer) !== true) return Number.POSITIVE_INFINITY;
    const { signing } = await askRenewer(enabled, (ca, call) => ca.generations(call), { signal });
    const root = parseCertificate(signing);
    const lifeMs = lifeMsOf(root);
    if (!isNearItsEnd(root, clock.now())) return lifeMs;
    if (isUnderWay((await readStoredRotation(store, mesh)).record)) return lifeMs;
    log.info(
      { mesh, backend: enabled.name, notAfter: root.notAfter },
      'root of builtin CA is near its end: its successor is made',
    );
    await rotations.put(mesh, { to: enabled.name }, { signal });
    return lifeMs;
  }
}

/** In the last 20 % of its life, or after it. */
export function isNearItsEnd(root: Pick<Certificate, 'notBefore' | 'notAfter'>, now: Date): boolean {
  return root.notAfter.getTime() - now.getTime() <= lifeMsOf(root) * LAST_SHARE;
}

function lifeMsOf({ notBefore, notAfter }: Pick<Certificate, 'notBefore' | 'notAfter'>): number {
  return notAfter.getTime() - notBefore.getTime();
}
