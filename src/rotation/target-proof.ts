import type { Backend } from '../backends/backend.ts';
import { backOffMs } from '../issuance/guards/back-off.ts';
import { CaError } from '../issuer/errors.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Proof } from '../validation/proof.ts';
import type { Proofs } from '../validation/proofs.ts';

export interface TargetProofOptions {
  readonly proofs: Pick<Proofs, 'prove' | 'latest'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs'>;
  readonly log: Log;
  /** Ends the proofs under way. */
  readonly signal: AbortSignal;
  /** A proof has ended: look again. */
  readonly onEnd: () => void;
}

/** Just before a backend is to issue, its proof must not be older than this; each one of a billed backend costs money. */
const FRESH_MS = 60_000;
const FRESH_BILLED_MS = 600_000;
/** A backend that failed is tried again after this, twice that after the next failure, up to the longest. */
const TRY_AGAIN = { backoffBaseMs: 5_000, backoffMaxMs: 60_000 };

/** How it stands with the proof of one backend. */
export type ProofState =
  /** The roots that its test certificate ended in, DER. */
  | { readonly isProven: true; readonly roots: readonly Buffer[] }
  | { readonly isProven: false; readonly waitingFor: string };

/** Keeps the proof of the backend that is to issue next; makes it anew when it is needed, one at a time, and less and less often while it fails. */
export class TargetProof {
  readonly #options: TargetProofOptions;
  #proving: Promise<void> | undefined;
  #failures = 0;
  #nextTryMs = Number.NEGATIVE_INFINITY;
  #error: CaError | undefined;
  #of: Backend | undefined;

  constructor(options: TargetProofOptions) {
    this.#options = options;
  }

  /**
   * How it stands now. Begins a proof where one is needed; never waits for it.
   * @param isNext the step that needs it would be taken now: the proof has to be fresh
   */
  stateOf(backend: Backend, isNext: boolean): ProofState {
    if (this.#of !== backend) this.#forget(backend);
    const proof = this.#options.proofs.latest(backend);
    const ageMs = proof === undefined ? Number.POSITIVE_INFINITY : this.#ageMs(proof);
    // Of a proof from before a restart nobody knows the roots.
    const isEnough = proof?.ok === true && proof.roots !== undefined;
    const isFresh = ageMs <= (backend.billed ? FRESH_BILLED_MS : FRESH_MS);
    if (!isEnough || (isNext && !isFresh)) this.#begin(backend);
    if (isEnough && (isFresh || !isNext)) return { isProven: true, roots: proof.roots ?? [] };
    return { isProven: false, waitingFor: this.#waitingFor(backend, proof) };
  }

  /** Resolves when no proof is under way. */
  async close(): Promise<void> {
    await this.#proving;
  }

  #ageMs({ provenAt }: Proof): number {
    return this.#options.clock.now().getTime() - provenAt.getTime();
  }

  #waitingFor({ name }: Backend, proof: Proof | undefined): string {
    const what = `a proof of backend "${name}"`;
    if (this.#error !== undefined) return `${what}: ${this.#error.message}`;
    const failed = proof?.checks.find(({ status }) => status === 'failed');
    return failed === undefined ? what : `${what}: ${failed.name} failed: ${failed.message}`;
  }

  #forget(backend: Backend): void {
    this.#of = backend;
    this.#failures = 0;
    this.#nextTryMs = Number.NEGATIVE_INFINITY;
    this.#error = undefined;
  }

  #begin(backend: Backend): void {
    const { clock, signal } = this.#options;
    if (this.#proving !== undefined || signal.aborted || clock.monotonicMs() < this.#nextTryMs) return;
    this.#proving = this.#prove(backend).finally(() => {
      this.#proving = undefined;
      this.#options.onEnd();
    });
  }

  /** Never rejects. */
  async #prove(backend: Backend): Promise<void> {
    const { proofs, clock, log, signal } = this.#options;
    let isGood = false;
    let error: unknown;
    try {
      isGood = (await proofs.prove(backend, { signal })).ok;
    } catch (failure) {
      error = failure;
      const { mesh, name, type } = backend;
      if (!signal.aborted && !backend.isRetired)
        log.warn({ mesh, backend: name, type, err: failure }, 'the next backend of a rotation could not be proven');
    }
    if (this.#of !== backend) return;
    this.#error = error instanceof CaError ? error : undefined;
    this.#failures = isGood ? 0 : this.#failures + 1;
    // It is alone, so there is nobody whom chance should keep it from meeting.
    const againMs = backOffMs(this.#failures, TRY_AGAIN, 0);
    this.#nextTryMs = isGood ? Number.NEGATIVE_INFINITY : clock.monotonicMs() + againMs;
  }
}
