import type { Backend } from '../backends/backend.ts';
import { type BackendRows, createBackendRows } from '../backends/backend-rows.ts';
import type { Backends } from '../backends/backends.ts';
import { IssuerUnavailableError, RateLimitedError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import type { Store } from '../store/store.ts';
import { listUnproven, type UnprovenList } from './list-unproven.ts';
import type { Proof } from './proof.ts';
import { readProofBody, writeProofBody } from './proof-body.ts';
import { createPlaces, type TakePlace } from './take-place.ts';

export interface ProofsOptions {
  readonly store: Store;
  readonly backends: Pick<Backends, 'get'>;
  /** Makes one proof. */
  readonly prove: (backend: Backend, options: CallOptions) => Promise<Proof>;
  /** Told of each proof of a live backend, whether it passed or not. */
  readonly onProven?: (backend: Backend, proof: Proof) => void;
  readonly clock: Pick<Clock, 'monotonicMs' | 'deadline' | 'sleep'>;
  readonly log: Log;
}

/** Proofs under way at once, over all meshes: the canary's own limit leaves half of them to those who ask. */
const MOST_AT_ONCE = 8;
/** Longest wait for one of these places. */
const LINE_MS = 20_000;
/** A proof has limits of its own; this one holds even when one of them does not. */
const PROOF_MS = 30_000;
/** Probes ask for the unproven every few seconds, from several sides. */
const UNPROVEN_FRESH_MS = 1000;

/** One proof that is being made, and for how many. */
interface Flight {
  readonly proof: Promise<Proof>;
  readonly controller: AbortController;
  waiting: number;
}

/** The proofs of live backends: made once for all who ask at the same time, remembered, also over a restart. */
export class Proofs {
  readonly #options: ProofsOptions;
  readonly #rows: BackendRows;
  readonly #flights = new Map<Backend, Flight>();
  readonly #takePlace: TakePlace = createPlaces(MOST_AT_ONCE);
  /** Mesh -> backend -> its last proof. */
  readonly #latest = new Map<string, Map<string, Proof>>();
  #unproven: { readonly list: Promise<UnprovenList>; readonly atMs: number } | undefined;
  #closed = false;

  constructor(options: ProofsOptions) {
    this.#options = options;
    this.#rows = createBackendRows({
      ...options,
      type: 'BackendProof',
      bodyOf: ({ mesh, name }) => {
        const proof = this.#latest.get(mesh)?.get(name);
        return proof && writeProofBody(proof);
      },
      onGone: ({ mesh }) => this.forget(mesh),
    });
  }

  /** Reads what was stored before a restart. To be called once, before requests are served. @throws StoreUnavailableError */
  async restore(): Promise<void> {
    const rows = await this.#rows.readAll();
    const proofs = rows.map(readProofBody).filter((proof) => proof !== undefined);
    for (const proof of proofs) this.#remember(proof);
    const unread = rows.length - proofs.length;
    if (unread > 0) this.#options.log.warn({ unread }, 'stored proofs of backends cannot be read: they are made anew');
  }

  /**
   * Proves a live backend now. Who asks while it is being proven gets that proof; who gives up does not end it for the others.
   * Ends within 50 s.
   * @throws RateLimitedError when too many others are proven first, IssuerUnavailableError when the proof does not end; the signal's reason
   */
  async prove(backend: Backend, { signal }: CallOptions): Promise<Proof> {
    signal.throwIfAborted();
    if (this.#closed) throw stopping();
    const flight = this.#flights.get(backend) ?? this.#start(backend);
    flight.waiting += 1;
    try {
      return await orAborted(flight.proof, signal);
    } finally {
      flight.waiting -= 1;
      if (flight.waiting === 0) this.#end(backend, flight, signal.reason);
    }
  }

  /** Takes a proof that was made elsewhere: of a Mesh that is stored now. */
  note(proof: Proof): void {
    const before = this.#latest.get(proof.mesh)?.get(proof.backend);
    this.#remember(proof);
    this.#rows.changed({ mesh: proof.mesh, name: proof.backend }, 'now');
    this.#tell(proof, before);
  }

  /** The last proof of a backend as it is configured now, also one from before a restart. */
  latest(backend: Pick<Backend, 'mesh' | 'name' | 'hash'>): Proof | undefined {
    const proof = this.#latest.get(backend.mesh)?.get(backend.name);
    return proof?.backendHash === backend.hash ? proof : undefined;
  }

  /** The enabled backends that are not proven. Asks no backend; up to a second old. @throws StoreUnavailableError */
  unproven(): Promise<UnprovenList> {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#unproven !== undefined && nowMs - this.#unproven.atMs < UNPROVEN_FRESH_MS) return this.#unproven.list;
    const list = listUnproven({ ...this.#options, latest: (backend) => this.latest(backend) });
    const kept = { list, atMs: nowMs };
    this.#unproven = kept;
    list.catch(() => {
      if (this.#unproven === kept) this.#unproven = undefined;
    });
    return list;
  }

  /** The mesh is gone, and what was stored went with it. */
  forget(mesh: string): void {
    this.#latest.delete(mesh);
    this.#unproven = undefined;
  }

  /** Forgets the backends that a mesh no longer has. */
  keepOnly(mesh: string, backends: Pick<ReadonlySet<string>, 'has'>): void {
    for (const name of this.#latest.get(mesh)?.keys() ?? []) {
      if (backends.has(name)) continue;
      this.#latest.get(mesh)?.delete(name);
      this.#rows.changed({ mesh, name }, 'now');
    }
  }

  /** Ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    const flights = [...this.#flights];
    for (const [backend, flight] of flights) this.#end(backend, flight, stopping());
    await Promise.allSettled(flights.map(([, { proof }]) => proof));
    await this.#rows.close();
  }

  #start(backend: Backend): Flight {
    const controller = new AbortController();
    const flight: Flight = { proof: this.#run(backend, controller.signal), controller, waiting: 0 };
    this.#flights.set(backend, flight);
    // Whoever waits hears of a failure; when nobody does any more, nobody minds.
    flight.proof.catch(() => {});
    return flight;
  }

  #end(backend: Backend, flight: Flight, reason: unknown): void {
    if (this.#flights.get(backend) === flight) this.#flights.delete(backend);
    flight.controller.abort(reason);
  }

  async #run(backend: Backend, signal: AbortSignal): Promise<Proof> {
    const giveBack = await this.#within(LINE_MS, signal, this.#takePlace, () => tooMany(backend));
    try {
      const make = (inner: AbortSignal) => orAborted(this.#options.prove(backend, { signal: inner }), inner);
      const proof = await this.#within(PROOF_MS, signal, make, () => endless(backend));
      // It is about a conf, or a secret, that is not used any more.
      if (!backend.isRetired) {
        this.note(proof);
        this.#tellProven(backend, proof);
      }
      return proof;
    } finally {
      giveBack();
    }
  }

  /** Unlike `Backend.within` it never leaves work to itself: a place that is given must be given back. @param late is thrown when the time is over */
  async #within<T>(
    ms: number,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    late: () => Error,
  ): Promise<T> {
    const deadline = this.#options.clock.deadline(ms, signal);
    try {
      return await work(deadline.signal);
    } catch (error) {
      throw deadline.signal.aborted && !signal.aborted ? late() : error;
    } finally {
      deadline.clear();
    }
  }

  #remember(proof: Proof): void {
    const ofMesh = this.#latest.get(proof.mesh) ?? new Map<string, Proof>();
    this.#latest.set(proof.mesh, ofMesh.set(proof.backend, proof));
    this.#unproven = undefined;
  }

  #tell(proof: Proof, before: Proof | undefined): void {
    const { mesh, backend, type, ok, durationMs, checks } = proof;
    const labels = { mesh, backend, type };
    if (ok) {
      if (before?.ok === false) this.#options.log.info({ ...labels, durationMs }, 'backend proves itself again');
      return;
    }
    if (before?.ok === false && before.backendHash === proof.backendHash) return;
    const failed = checks.filter(({ status }) => status === 'failed').map(({ name, message }) => ({ name, message }));
    this.#options.log.warn({ ...labels, failed }, 'backend does not prove itself');
  }

  #tellProven(backend: Backend, proof: Proof): void {
    try {
      this.#options.onProven?.(backend, proof);
    } catch (error) {
      const { mesh, name, type } = backend;
      this.#options.log.error({ mesh, backend: name, type, err: error }, 'listener for proofs failed');
    }
  }
}

function nameOf({ mesh, name }: Backend): string {
  return `backend "${name}" of mesh "${mesh}"`;
}

function tooMany(backend: Backend): RateLimitedError {
  return new RateLimitedError(`${nameOf(backend)} did not come to its turn: ${MOST_AT_ONCE} others are being proven`, {
    fix: 'ask again later',
    retryAfterMs: LINE_MS,
  });
}

function endless(backend: Backend): IssuerUnavailableError {
  return new IssuerUnavailableError(`the proof of ${nameOf(backend)} did not end within ${PROOF_MS / 1000} s`, {
    fix: 'look at the load of mesh-ca and of the backend',
    retryAfterMs: LINE_MS,
  });
}

function stopping(): IssuerUnavailableError {
  return new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000 });
}
