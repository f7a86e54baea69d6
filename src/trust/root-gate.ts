import type { Backend } from '../backends/backend.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import { rootsOf, type TrustBundle } from './trust-bundle.ts';

/** Certificates under a root that has just joined the bundle are held back for at most this long, and for half of what one certificate may take. */
const HELD_BACK_MS = 10_000;
const ASK_EVERY_MS = 250;

/** How many of the data planes that could take this version of the bundle now have not taken it yet. */
export type CountLacking = (mesh: string, version: number, options: CallOptions) => Promise<number>;

export interface RootGateOptions {
  readonly countLacking: CountLacking | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends all waits. */
  readonly signal: AbortSignal;
}

/** Roots that joined together. */
interface Joined {
  readonly version: number;
  /** SHA-256 (hex). */
  readonly roots: readonly string[];
  readonly untilMs: number;
  opening: Promise<void> | undefined;
}

/**
 * A backend whose root has changed upstream without notice may sign under the new one before the data planes have taken the bundle with it. The gate
 * holds such certificates back until they have, for a bounded time. It is none of its business when a backend is new: a rotation sees to that.
 */
export class RootGate {
  readonly #options: RootGateOptions;
  readonly #joined = new Map<string, readonly Joined[]>();

  constructor(options: RootGateOptions) {
    this.#options = options;
  }

  /** Notes what joined. @param before undefined: this is the first bundle, nobody can hold another one */
  changed(before: TrustBundle | undefined, after: TrustBundle): void {
    if (before === undefined || this.#options.countLacking === undefined) return;
    const roots = after.roots
      .filter(({ fingerprintSha256 }) => !before.fingerprints.has(fingerprintSha256))
      .filter(({ backends }) => backends.some((backend) => rootsOf(before, backend).length > 0))
      .map(({ fingerprintSha256 }) => fingerprintSha256);
    if (roots.length === 0) return;
    const untilMs = this.#options.clock.monotonicMs() + HELD_BACK_MS;
    const joined = { version: after.version, roots, untilMs, opening: undefined };
    this.#joined.set(after.mesh, [...this.#waiting(after.mesh), joined]);
  }

  /** The mesh is gone. */
  forget(mesh: string): void {
    this.#joined.delete(mesh);
  }

  /** Costs nothing where nothing joined lately. */
  isOpen(mesh: string): boolean {
    return !this.#joined.has(mesh);
  }

  /**
   * Resolves when a certificate that ends in these roots (SHA-256, hex) may be handed out. Rejects with the signal's reason only.
   */
  async pass(backend: Backend, roots: readonly string[], options: CallOptions): Promise<void> {
    const joined = this.#waiting(backend.mesh).findLast((one) => one.roots.some((root) => roots.includes(root)));
    if (joined === undefined) return;
    joined.opening ??= this.#open(backend, joined).finally(() => this.#remove(backend.mesh, joined));
    await orAborted(joined.opening, options.signal);
  }

  async #open(backend: Backend, { version, untilMs }: Joined): Promise<void> {
    const { clock, log, signal } = this.#options;
    const { mesh, name, type } = backend;
    const endMs = Math.min(untilMs, clock.monotonicMs() + backend.limits.issueTimeoutMs / 2);
    const deadline = clock.deadline(endMs - clock.monotonicMs(), signal);
    let notReady: number | undefined;
    try {
      while (!deadline.signal.aborted) {
        notReady = await this.#ask(mesh, version, deadline.signal);
        if (notReady === 0) return;
        await clock.sleep(ASK_EVERY_MS, deadline.signal).catch(() => {});
      }
    } finally {
      deadline.clear();
    }
    if (signal.aborted) return;
    log.warn(
      { mesh, backend: name, type, version, notReady: notReady ?? 'unknown' },
      'certificates under a new root are handed out before every data plane trusts it',
    );
  }

  /** Undefined: nobody can tell. */
  async #ask(mesh: string, version: number, signal: AbortSignal): Promise<number | undefined> {
    try {
      const asked = this.#options.countLacking?.(mesh, version, { signal });
      return asked === undefined ? 0 : await orAborted(asked, signal);
    } catch (error) {
      if (!signal.aborted) this.#options.log.debug({ mesh, version, err: error }, 'who holds a trust bundle not read');
      return undefined;
    }
  }

  /** Those whose time is not over. */
  #waiting(mesh: string): readonly Joined[] {
    const all = this.#joined.get(mesh);
    if (all === undefined) return [];
    const nowMs = this.#options.clock.monotonicMs();
    const waiting = all.filter(({ untilMs }) => nowMs < untilMs);
    this.#keep(mesh, waiting);
    return waiting;
  }

  #remove(mesh: string, joined: Joined): void {
    this.#keep(
      mesh,
      this.#waiting(mesh).filter((one) => one !== joined),
    );
  }

  #keep(mesh: string, joined: readonly Joined[]): void {
    if (joined.length === 0) this.#joined.delete(mesh);
    else this.#joined.set(mesh, joined);
  }
}
