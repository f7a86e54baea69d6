import type { Backend } from '../backends/backend.ts';
import { CaError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';

/** After this a backend is asked again, also one that failed: a root that changed upstream has joined the bundle within a minute. */
const FRESH_FOR_MS = 45_000;
/** A backend that failed is left alone for this long, or for as long as it says, also by those who need to know. */
const LEFT_ALONE_MS = 2_000;
const LONGEST_LEFT_ALONE_MS = 30_000;
/** A root that came with a certificate is kept this long, whatever the backend says: by then the certificate is on record and keeps it. */
const SEEN_FOR_MS = 300_000;

/** What is known of one backend's CA certificates. DER. */
export interface KnownRoots {
  /** Undefined: none was ever told or seen. */
  readonly roots: readonly Buffer[] | undefined;
  readonly intermediates: readonly Buffer[];
  /** When the question was asked that the backend answered last. Undefined: it never told, so roots that it does not name prove nothing. */
  readonly toldAt: Date | undefined;
  /** Why the last question failed; undefined when it did not. */
  readonly error: unknown;
  /** False: the backend should be asked. */
  readonly isFresh: boolean;
}

interface Entry {
  told: { readonly roots: readonly Buffer[]; readonly at: Date } | undefined;
  intermediates: readonly Buffer[];
  /** Fingerprint -> root that came with a certificate, and when. */
  readonly seen: Map<string, { readonly der: Buffer; readonly atMs: number }>;
  error: unknown;
  nextAskMs: number;
  askedAtMs: number;
  /** Grows when what an answer under way will say may be old already. */
  expired: number;
  asking: Promise<void> | undefined;
}

/** Remembers the roots of live backends, and asks each only as often as is good for it, however many want to know. */
export class BackendRoots {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #signal: AbortSignal;
  readonly #entries = new WeakMap<Backend, Entry>();

  /** @param signal ends all questions */
  constructor(clock: Clock, log: Log, signal: AbortSignal) {
    this.#clock = clock;
    this.#log = log;
    this.#signal = signal;
  }

  known(backend: Backend): KnownRoots {
    const { told, intermediates, seen, error } = this.#entry(backend);
    const nowMs = this.#clock.monotonicMs();
    for (const [fingerprint, { atMs }] of seen) if (nowMs - atMs > SEEN_FOR_MS) seen.delete(fingerprint);
    const extra = [...seen.values()]
      .map(({ der }) => der)
      .filter((der) => told?.roots.some((other) => other.equals(der)) !== true);
    const roots = told === undefined && extra.length === 0 ? undefined : [...(told?.roots ?? []), ...extra];
    return { roots, intermediates, toldAt: told?.at, error, isFresh: this.isFresh(backend) };
  }

  /** False: the backend should be asked. */
  isFresh(backend: Backend): boolean {
    return this.#clock.monotonicMs() < this.#entry(backend).nextAskMs;
  }

  /** True: it should be asked even if nobody needs to know. One that fails is asked no more often than one that answers. */
  isDue(backend: Backend): boolean {
    const { askedAtMs } = this.#entry(backend);
    return !this.isFresh(backend) && this.#clock.monotonicMs() - askedAtMs >= FRESH_FOR_MS;
  }

  /**
   * Asks when it is time to. Never throws: `known` tells what came of it. Callers at the same time share one question, unless the answer to it may be old
   * (`expire`).
   */
  async ask(backend: Backend): Promise<void> {
    const entry = this.#entry(backend);
    while (!this.isFresh(backend) && !this.#signal.aborted) {
      entry.asking ??= this.#question(backend, entry).finally(() => {
        entry.asking = undefined;
      });
      await entry.asking;
    }
  }

  /** Something has changed: it is asked at the next opportunity. */
  expire(backend: Backend): void {
    const entry = this.#entry(backend);
    entry.expired += 1;
    entry.nextAskMs = 0;
  }

  /** Notes roots that came with a certificate: the backend has just proven that it uses them. */
  note(backend: Backend, roots: readonly Buffer[]): void {
    const { seen } = this.#entry(backend);
    for (const der of roots) seen.set(fingerprintSha256(der), { der, atMs: this.#clock.monotonicMs() });
  }

  async #question(backend: Backend, entry: Entry): Promise<void> {
    const { expired } = entry;
    entry.askedAtMs = this.#clock.monotonicMs();
    const at = this.#clock.now();
    const nextIn = (ms: number) => (entry.expired === expired ? this.#clock.monotonicMs() + ms : 0);
    try {
      const { roots, intermediates } = await backend.within('roots', { signal: this.#signal }, (options: CallOptions) =>
        backend.call('trustBundle', (issuer, call) => issuer.trustBundle(call), options),
      );
      Object.assign(entry, { told: { roots, at }, intermediates, error: undefined, nextAskMs: nextIn(FRESH_FOR_MS) });
    } catch (error) {
      const told = error instanceof CaError ? (error.retryAfterMs ?? 0) : 0;
      const leftAloneMs = Math.min(Math.max(told, LEFT_ALONE_MS), LONGEST_LEFT_ALONE_MS);
      const before = entry.error;
      Object.assign(entry, { error, nextAskMs: nextIn(leftAloneMs) });
      const { mesh, name, type } = backend;
      if (this.#signal.aborted) return;
      const level = isSame(error, before) ? 'debug' : 'warn';
      this.#log[level]({ mesh, backend: name, type, err: error }, 'roots of backend not read');
    }
  }

  #entry(backend: Backend): Entry {
    let entry = this.#entries.get(backend);
    if (entry === undefined) {
      entry = {
        told: undefined,
        intermediates: [],
        seen: new Map(),
        error: undefined,
        nextAskMs: 0,
        askedAtMs: Number.NEGATIVE_INFINITY,
        expired: 0,
        asking: undefined,
      };
      this.#entries.set(backend, entry);
    }
    return entry;
  }
}

/** It was told already that it fails so. */
function isSame(error: unknown, before: unknown): boolean {
  return error instanceof CaError && before instanceof CaError && error.code === before.code;
}
