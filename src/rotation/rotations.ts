import { setMaxListeners } from 'node:events';
import type { Backends } from '../backends/backends.ts';
import type { ReissuePlans } from '../issuance/reissue-plan.ts';
import { IssuerUnavailableError } from '../issuer/errors.ts';
import { type CallOptions, isRenewer } from '../issuer/issuer.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { Clock } from '../runtime/clock.ts';
import { createListeners, type Listeners } from '../runtime/listeners.ts';
import type { Log } from '../runtime/log.ts';
import type { RotationReadings } from '../runtime/metrics.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import type { Store, StoreChange } from '../store/store.ts';
import type { Holders } from '../trust/holders.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import type { Proofs } from '../validation/proofs.ts';
import { readMesh } from './edit-mesh.ts';
import type { Fleets } from './fleets.ts';
import { LiveRotation } from './live-rotation.ts';
import { createOneAtATime, type OneAtATime } from './one-at-a-time.ts';
import { readScene } from './read-scene.ts';
import { RootRenewal } from './root-renewal.ts';
import {
  isUnderWay,
  type RotationRecord,
  readRotationRecord,
  rotationKey,
  stateOf,
  writeRotationRecord,
} from './rotation-record.ts';
import { applyRequest, applyRollBack, guardMesh, type RotationRequest } from './rotation-request.ts';
import { type RotationView, viewOfRotation, viewOfSteps } from './rotation-view.ts';
import { backendsKeyOf } from './scene.ts';
import { readStoredRotation } from './stored-rotation.ts';
import { survey } from './survey.ts';
import { WakeableWait } from './wakeable-wait.ts';

export type { RotationRequest } from './rotation-request.ts';
export type { RotationView } from './rotation-view.ts';

export interface RotationsOptions {
  readonly store: Store;
  readonly backends: Pick<Backends, 'get'>;
  readonly bundles: Pick<TrustBundles, 'learn' | 'onChange'>;
  readonly proofs: Pick<Proofs, 'prove' | 'latest'>;
  readonly fleets: Pick<Fleets, 'read'>;
  readonly holders: Pick<Holders, 'onChange'>;
  readonly clock: Clock;
  readonly log: Log;
  /** A builtin root in the last 20 % of its life is rotated to a new generation by itself. */
  readonly builtinRootRenewal: boolean;
}

/** Between two readings, unless something happens. */
const READ_EVERY_MS = 1_000;
/** Nothing happens by itself while it is paused. */
const READ_PAUSED_EVERY_MS = 10_000;
/** Whatever happens, this long there is no other reading, */
const SHORTEST_GAP_MS = 100;
/** and readings take at most a tenth of the time, */
const GAP_PER_READING = 9;
/** unless one took long for once: with the proof of a backend, or just after a start. */
const LONGEST_GAP_MS = 2_000;

/**
 * The managed rotations of all meshes: each is driven by a loop of its own that reads what is so, asks the machine (`machine.ts`) and carries out what
 * that says. What has to last stands in the store; a crash at any moment loses nothing but the two readings before the next step.
 */
export class Rotations {
  readonly #options: RotationsOptions;
  readonly #live = new Map<string, LiveRotation>();
  readonly #waits = new Map<string, WakeableWait>();
  readonly #loops = new Set<Promise<void>>();
  readonly #oneAtATime: OneAtATime = createOneAtATime();
  readonly #listeners: Listeners<string>;
  readonly #closing = new AbortController();
  readonly #stopListening: readonly (() => void)[];
  readonly #renewal: RootRenewal | undefined;
  #hasStarted = false;

  /** What `Certificates` asks. */
  readonly plans: ReissuePlans = { of: (mesh) => this.#live.get(mesh)?.order.plan };

  constructor(options: RotationsOptions) {
    this.#options = options;
    const { store, holders, bundles, log, builtinRootRenewal } = options;
    setMaxListeners(0, this.#closing.signal);
    this.#listeners = createListeners((error, mesh) =>
      log.error({ mesh, err: error }, 'a listener for rotations failed'),
    );
    const wake = (mesh: string) => this.#waits.get(mesh)?.wake();
    this.#stopListening = [
      store.onChange((change) => this.#follow(change)),
      holders.onChange(wake),
      bundles.onChange(wake),
    ];
    this.#renewal = builtinRootRenewal
      ? new RootRenewal({ ...options, rotations: this, signal: this.#closing.signal })
      : undefined;
  }

  /**
   * Reads what is under way. To be called once, before requests are served: until a rotation has looked around nobody's certificate is made anew because
   * of it.
   * @throws StoreUnavailableError
   */
  async restore(): Promise<void> {
    const { items } = await this.#options.store.listResources({ type: rotationKey('').type });
    for (const item of items) {
      const record = readRotationRecord(item);
      if (record === undefined)
        this.#options.log.error({ mesh: item.mesh }, 'stored rotation cannot be read: it does not go on');
      else if (isUnderWay(record)) this.#enliven(item.mesh, record);
    }
  }

  /** To be called once, when all is ready for work. */
  start(): void {
    this.#hasStarted = true;
    for (const live of this.#live.values()) this.#run(live);
    this.#renewal?.start();
  }

  /** How it stands with the rotation of a mesh, or with the steps that are taken by hand. @throws NotFoundError when there is no such mesh */
  async view(mesh: string, options: CallOptions): Promise<RotationView> {
    const { store, fleets } = this.#options;
    const { mesh: stored } = await readMesh(store, mesh);
    const { record } = await readStoredRotation(store, mesh);
    const isOfInterest = record !== undefined && (isUnderWay(record) || record.finishedWith === backendsKeyOf(stored));
    if (!isOfInterest) return viewOfSteps(stored, await fleets.read(mesh, options));
    const live = this.#live.get(mesh);
    const found = await survey(mesh, record, this.#options, live?.proof, options);
    return viewOfRotation({ mesh, record, survey: found, problem: live?.problem, turnsEndAt: live?.order.endsAt });
  }

  /** All that is under way, by mesh, as it was seen last; nothing is read. */
  readings(): ReadonlyMap<string, RotationReadings> {
    return new Map([...this.#live].map(([mesh, { readings }]) => [mesh, readings]));
  }

  /**
   * Starts a rotation, or changes the one that is under way.
   * @throws NotFoundError: no such mesh. RequestInvalidError with violations: the request. ConflictError: another one is under way
   */
  async put(mesh: string, request: RotationRequest, options: CallOptions): Promise<RotationView> {
    await this.#change(mesh, options, async (before) => {
      const { mesh: stored } = await readMesh(this.#options.store, mesh);
      const { enabled } = await this.#options.backends.get(mesh);
      const facts = { mesh: stored, canRenew: enabled?.has(isRenewer) === true, now: this.#options.clock.now() };
      return applyRequest(before, request, facts);
    });
    return this.view(mesh, options);
  }

  /**
   * Goes back from wherever it is.
   * @throws NotFoundError: no such mesh, or nothing to roll back. ConflictError: it is done
   */
  async rollBack(mesh: string, options: CallOptions): Promise<RotationView> {
    await this.#change(mesh, options, async (before) => {
      const { mesh: stored } = await readMesh(this.#options.store, mesh);
      const isStale = before?.step === 'done' && before.finishedWith !== backendsKeyOf(stored);
      const record = isStale ? undefined : before;
      const canGoBack = record === undefined || (await this.#canGoBack(mesh, record, options));
      return applyRollBack(mesh, record, { canGoBack, now: this.#options.clock.now() });
    });
    return this.view(mesh, options);
  }

  /** Whether a Mesh may be put while its rotation is under way. @throws ConflictError */
  guard(before: Mesh, after: Mesh): void {
    const live = this.#live.get(after.name);
    if (live !== undefined) guardMesh(live.record, before, after);
  }

  /** Calls `listener` with the mesh when its rotation has another state, or other data planes are due. Returns what ends it; idempotent. */
  onChange(listener: (mesh: string) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Ends all loops; what is under way goes on after the next start. Idempotent. */
  async close(): Promise<void> {
    for (const stop of this.#stopListening) stop();
    this.#closing.abort(new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000 }));
    await this.#renewal?.close();
    await Promise.all(this.#loops);
    await this.#oneAtATime.idle();
    await Promise.all([...this.#live.values()].map(({ proof }) => proof.close()));
  }

  /** A generation that was dropped is gone with its key. */
  async #canGoBack(mesh: string, record: RotationRecord, options: CallOptions): Promise<boolean> {
    if (record.kind === 'backend' || record.step !== 'removing') return true;
    return (await readScene(mesh, record, this.#options, options)).hasOld;
  }

  /** Replaces the record by what `decide` makes of it; not while the loop is at work on it. */
  async #change(
    mesh: string,
    { signal }: CallOptions,
    decide: (before: RotationRecord | undefined) => Promise<RotationRecord>,
  ): Promise<void> {
    const { store, log } = this.#options;
    const work = this.#oneAtATime.run(mesh, async () => {
      signal.throwIfAborted();
      this.#closing.signal.throwIfAborted();
      const { record: before, version } = await readStoredRotation(store, mesh);
      const record = await decide(before);
      if (record !== before) {
        await store.putResource(
          { ...rotationKey(mesh), body: writeRotationRecord(record), owned: true },
          { expectedVersion: version, requires: [{ type: 'Mesh', mesh: '', name: mesh }] },
        );
        const { from, to, kind, options } = record;
        log.info({ mesh, from, to, kind, ...options, state: stateOf(record) }, 'rotation was started or changed');
      }
      if (isUnderWay(record)) this.#enliven(mesh, record);
    });
    await orAborted(work, signal);
    this.#waits.get(mesh)?.wake();
    this.#listeners.tell(mesh);
  }

  #enliven(mesh: string, record: RotationRecord): void {
    const known = this.#live.get(mesh);
    if (known !== undefined) {
      known.replace(record);
      return;
    }
    const live = new LiveRotation(mesh, record, {
      ...this.#options,
      signal: this.#closing.signal,
      wake: () => this.#waits.get(mesh)?.wake(),
      onChange: () => this.#listeners.tell(mesh),
    });
    this.#live.set(mesh, live);
    if (this.#hasStarted) this.#run(live);
  }

  #run(live: LiveRotation): void {
    const loop = this.#loop(live).finally(() => this.#loops.delete(loop));
    this.#loops.add(loop);
  }

  async #loop(live: LiveRotation): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#closing;
    const wait = new WakeableWait(clock, signal);
    this.#waits.set(live.mesh, wait);
    while (!signal.aborted) {
      const beganMs = clock.monotonicMs();
      const result = await this.#oneAtATime.run(live.mesh, async () => {
        const ended = signal.aborted ? 'waiting' : await live.turn({ signal });
        if (ended === 'over') this.#end(live, wait);
        return ended;
      });
      if (result === 'over') return;
      const tookMs = clock.monotonicMs() - beganMs;
      const gapMs = Math.min(Math.max(SHORTEST_GAP_MS, GAP_PER_READING * tookMs), LONGEST_GAP_MS);
      const everyMs = live.record.paused === undefined ? READ_EVERY_MS : READ_PAUSED_EVERY_MS;
      await wait.pass(gapMs, result === 'changed' ? gapMs : Math.max(everyMs, gapMs));
    }
  }

  #end(live: LiveRotation, wait: WakeableWait): void {
    if (this.#live.get(live.mesh) === live) this.#live.delete(live.mesh);
    if (this.#waits.get(live.mesh) === wait) this.#waits.delete(live.mesh);
    this.#listeners.tell(live.mesh);
  }

  #follow(change: StoreChange): void {
    if (change.kind === 'unknown') for (const wait of this.#waits.values()) wait.wake();
    else if (change.key.type === 'Mesh') this.#waits.get(change.key.name)?.wake();
    else if (change.key.type === rotationKey('').type) this.#waits.get(change.key.mesh)?.wake();
  }
}
