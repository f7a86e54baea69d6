import { canonicalJson } from '../backends/canonical-json.ts';
import { createReissueOrder, type ReissueOrder } from '../issuance/reissue-plan.ts';
import { CaError, ConflictError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Log } from '../runtime/log.ts';
import type { RotationReadings } from '../runtime/metrics.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import type { CertificateHolder } from '../store/store.ts';
import type { Proofs } from '../validation/proofs.ts';
import { advance, type Effect, type Facts, type Holding } from './machine.ts';
import { isUnderWay, type RotationRecord, rotationKey, stateOf, writeRotationRecord } from './rotation-record.ts';
import { dataplanesOf } from './rotation-view.ts';
import type { Scene } from './scene.ts';
import { readStoredRotation } from './stored-rotation.ts';
import { type Survey, type SurveyOptions, survey } from './survey.ts';
import { TargetProof } from './target-proof.ts';

export interface LiveRotationOptions extends SurveyOptions {
  readonly proofs: Pick<Proofs, 'prove' | 'latest'>;
  readonly log: Log;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
  /** Something happened that the next turn should look at. */
  readonly wake: () => void;
  /** The state, or whose turn it is, has changed. */
  readonly onChange: () => void;
}

/** `over`: there is nothing left to do. `changed`: the next turn has something new to look at. */
export type TurnResult = 'over' | 'changed' | 'waiting';

/** What this process remembers of a rotation that is under way. Everything that has to last stands in the record; this may be lost at any moment. */
export class LiveRotation {
  readonly mesh: string;
  readonly proof: TargetProof;
  readonly #options: LiveRotationOptions;
  #record: RotationRecord;
  #holding: Holding | undefined;
  #order: ReissueOrder;
  /** What the order was made from. */
  #orderKey = '';
  #problem: string | undefined;
  #seen: RotationReadings['seen'];
  #hadConflict = false;

  constructor(mesh: string, record: RotationRecord, options: LiveRotationOptions) {
    this.mesh = mesh;
    this.proof = new TargetProof({ ...options, onEnd: options.wake });
    this.#options = options;
    this.#record = record;
    this.#order = holdBoth(mesh, record);
  }

  /** As it was read or written last. */
  get record(): RotationRecord {
    return this.#record;
  }

  get order(): ReissueOrder {
    return this.#order;
  }

  /** What kept the last turn from its work; undefined when nothing did. */
  get problem(): string | undefined {
    return this.#problem;
  }

  /** What the last turn saw. */
  get readings(): RotationReadings {
    const state = stateOf(this.#record);
    return this.#seen === undefined ? { state } : { state, seen: this.#seen };
  }

  /** Somebody else has stored another record: what was seen before is seen again. */
  replace(record: RotationRecord): void {
    const isAnother = stateOf(record) !== stateOf(this.#record);
    this.#record = record;
    this.#holding = undefined;
    // Nobody is made anew any more, from this moment on.
    if (isAnother) this.#keepAsTheyAre();
  }

  /** One reading, and what follows from it. Never rejects: what fails is told by `problem`, and tried again in the next turn. */
  async turn(call: CallOptions): Promise<TurnResult> {
    try {
      const result = await this.#turn(call);
      // Before the second of two readings nothing has been tried again.
      if (this.#holding === undefined) {
        this.#problem = undefined;
        this.#hadConflict = false;
      }
      return result;
    } catch (error) {
      this.#holding = undefined;
      // Somebody else was first: the next turn reads everything again. If that does not help it is something else.
      const isFirst = error instanceof ConflictError && !this.#hadConflict;
      this.#hadConflict = error instanceof ConflictError;
      if (!call.signal.aborted && !isFirst) this.#tellProblem(error);
      return 'waiting';
    }
  }

  async #turn(call: CallOptions): Promise<TurnResult> {
    const { store } = this.#options;
    const stored = await orAborted(readStoredRotation(store, this.mesh), call.signal);
    if (!isUnderWay(stored.record)) return 'over';
    if (stored.record.startedAt.getTime() !== this.#record.startedAt.getTime()) this.#holding = undefined;
    this.#record = stored.record;

    const seen = await survey(this.mesh, stored.record, this.#options, this.proof, call);
    this.#seen = { dataplanes: dataplanesOf(stored.record, seen), blockers: seen.blockers.length };
    const { record, effect, holding, rule } = advance(stored.record, this.#holding, seen.facts);
    this.#holding = holding;
    // A crash may have left it unfinished where nobody sees it (the copy of a builtin CA into Kuma's names).
    if (stored.record.step === 'removing' && record.step === 'done') await seen.scene.carryOut('remove-old', call);
    const kept = this.#withWhatIsNeeded(record, effect, seen);
    const version = await this.#store(kept, stored.version);
    if (rule !== undefined) this.#tell(rule);

    if (effect !== 'issue-with-target') this.#arrange(seen, seen.facts.issuing);
    else this.#keepAsTheyAre();
    if (effect === undefined) return rule === undefined ? 'waiting' : 'changed';

    const learnt = await this.#carryOut(effect, seen.scene, version, call);
    await this.#store({ ...this.#record, ...learnt }, version);
    if (effect === 'issue-with-target') this.#arrange(seen, 'target');
    return 'changed';
  }

  /** What is learnt of a switch is stored at once: who switches back in the next moment is not to be taken for a crash of ours. */
  async #carryOut(effect: Effect, scene: Scene, version: number, call: CallOptions): Promise<Partial<RotationRecord>> {
    if (effect !== 'issue-with-target') return scene.carryOut(effect, call);
    try {
      const learnt = await scene.carryOut(effect, call);
      return { switchedAt: this.#options.clock.now(), ...learnt };
    } catch (error) {
      const { switchFrom: _, ...untouched } = this.#record;
      // Somebody else wrote the Mesh first: it was not switched by us.
      if (error instanceof ConflictError) await this.#store(untouched, version);
      throw error;
    }
  }

  /** Intent first: what the next effect, or a way back from it, needs to know. */
  #withWhatIsNeeded(record: RotationRecord, effect: Effect | undefined, { scene, fleet }: Survey): RotationRecord {
    const { meshVersion: switchFrom } = scene;
    if (effect === 'remove-old') return { ...record, ...scene.beforeRemoval(fleet.bundle) };
    if (effect === 'issue-with-target' && switchFrom !== undefined) return { ...record, switchFrom };
    if (record.step === 'done') {
      // Nobody goes back from here; it may hold keys and tokens.
      const { removed: _, ...rest } = record;
      return { ...rest, finishedWith: scene.backendsKey };
    }
    return record;
  }

  /** @throws ConflictError when somebody else wrote it, NotFoundError when the mesh is gone */
  async #store(record: RotationRecord, version: number): Promise<number> {
    if (canonicalJson(record) === canonicalJson(this.#record)) return version;
    const before = stateOf(this.#record);
    const stored = await this.#options.store.putResource(
      { ...rotationKey(this.mesh), body: writeRotationRecord(record), owned: true },
      { expectedVersion: version, requires: [{ type: 'Mesh', mesh: '', name: this.mesh }] },
    );
    this.#record = record;
    if (stateOf(record) !== before) this.#options.onChange();
    return stored.version;
  }

  /** Who is made anew when. Made once for each way in which the rotation goes on, so that nobody loses his turn. */
  #arrange({ scene, fleet }: Survey, issuing: Facts['issuing']): void {
    const { options, paused, startedAt, direction, step } = this.#record;
    const mode =
      paused !== undefined || issuing !== 'target' || step === 'trusting'
        ? 'hold'
        : options.immediate
          ? 'at-once'
          : 'spread';
    const key = canonicalJson([startedAt, direction, mode, issuing, options.maxPerSecond]);
    if (key === this.#orderKey) return;
    const old = fleet.members.filter(
      ({ certificate }) => certificate !== undefined && scene.sideOf(certificate) === 'old',
    );
    const namesOf = (isOnline: boolean) =>
      old.filter(({ online }) => online === isOnline).map(({ dataplane }) => dataplane);
    this.#order = createReissueOrder({
      mesh: this.mesh,
      startedAt,
      mode,
      // What the issuing side has made stands by itself.
      sideOf: mode === 'hold' ? (holder) => unless(issuing, scene.sideOf(holder)) : scene.sideOf,
      first: namesOf(true),
      last: namesOf(false),
      beginAt: this.#options.clock.now(),
      maxPerSecond: options.maxPerSecond,
    });
    this.#orderKey = key;
    this.#options.onChange();
  }

  /** While the Mesh is being changed nobody knows who issues. */
  #keepAsTheyAre(): void {
    this.#order = holdBoth(this.mesh, this.#record);
    this.#orderKey = '';
  }

  #tell(rule: string): void {
    const { mesh } = this;
    const { from, to, paused } = this.#record;
    const fields = { mesh, from, to, state: stateOf(this.#record), rule };
    if (paused?.why === undefined) this.#options.log.info(fields, 'rotation goes on');
    else this.#options.log.warn({ ...fields, why: paused.why }, 'rotation has stopped by itself');
  }

  #tellProblem(error: unknown): void {
    const problem = error instanceof CaError ? error.message : 'unexpected error: the log of mesh-ca tells more';
    const { from, to } = this.#record;
    if (problem !== this.#problem)
      this.#options.log.warn(
        { mesh: this.mesh, from, to, err: error },
        'rotation waits: what it needs to know could not be read or written',
      );
    this.#problem = problem;
  }
}

/** Nothing changes hands: until the first reading, and while who issues is being changed. */
function holdBoth(mesh: string, { from, to, startedAt, options }: RotationRecord): ReissueOrder {
  const sideOf = ({ backend }: CertificateHolder) => (backend === from || backend === to ? 'old' : undefined);
  const { maxPerSecond } = options;
  return createReissueOrder({ mesh, startedAt, sideOf, mode: 'hold', first: [], beginAt: startedAt, maxPerSecond });
}

function unless<T>(excluded: unknown, value: T): T | undefined {
  return value === excluded ? undefined : value;
}
