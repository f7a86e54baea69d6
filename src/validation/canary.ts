import type { Clock } from '../runtime/clock.ts';
import { type CanaryTarget, CanaryTargets, type CanaryTargetsOptions } from './canary-targets.ts';
import type { Proofs } from './proofs.ts';

export interface CanaryOptions extends CanaryTargetsOptions {
  readonly proofs: Pick<Proofs, 'prove' | 'latest' | 'forget' | 'keepOnly'>;
  readonly clock: Clock;
}

const MOST_AT_ONCE = 4;
/** Of these, for backends whose last proof failed: many that hang leave room for the others. */
const MOST_FAILING = 2;
/** Proofs that are due together are started at this many times the mean rate, */
const RUSH = 2;
/** but one each second in any case. */
const LONGEST_GAP_MS = 1000;
const AFTER_MISTAKE_MS = 10_000;

/**
 * Proves every backend of every mesh again and again (settings `canaryIntervalMs`, `canaryBilledIntervalMs`), also those of meshes with
 * `skipValidation`, so that a backend that broke is known before a certificate is needed. What it finds is told by `Proofs`. Never throws.
 */
export class Canary {
  readonly #options: CanaryOptions;
  readonly #closing = new AbortController();
  readonly #running = new Map<CanaryTarget, Promise<void>>();
  /** Ends the wait for the next that is due. */
  #wake = new AbortController();
  #loop: Promise<void> | undefined;
  /** When the next backend that was proven before may be proven again; of the monotonic clock. */
  #nextTurnMs = 0;

  constructor(options: CanaryOptions) {
    this.#options = options;
  }

  /** To be called once, when the proofs from before a restart are read. */
  start(): void {
    const { canaryIntervalMs, canaryBilledIntervalMs } = this.#options;
    if (this.#loop !== undefined || (canaryIntervalMs === 0 && canaryBilledIntervalMs === 0)) return;
    this.#loop = this.#run();
  }

  /** Ends the proofs under way. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new DOMException('mesh-ca is stopping', 'AbortError'));
    this.#wake.abort();
    await this.#loop;
    await Promise.all(this.#running.values());
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    const targets = new CanaryTargets(this.#options, () => this.#wake.abort());
    while (!signal.aborted) {
      this.#wake = new AbortController();
      let waitMs: number | undefined = AFTER_MISTAKE_MS;
      try {
        await targets.read({ signal });
        if (!signal.aborted) waitMs = this.#startDue(targets);
      } catch (error) {
        this.#options.log.error({ err: error }, 'canary failed: goes on later');
      }
      if (!signal.aborted) await this.#pause(waitMs);
    }
    targets.close();
  }

  /** Until the time has passed, if there is one, or something changes. */
  async #pause(ms: number | undefined): Promise<void> {
    const { signal } = this.#wake;
    if (ms !== undefined) await this.#options.clock.sleep(Math.max(1, Math.ceil(ms)), signal).catch(() => {});
    else if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  }

  /** Starts what is due, the longest due first. Returns in how many milliseconds to look again; undefined: when something changes. */
  #startDue(targets: CanaryTargets): number | undefined {
    const nowMs = this.#options.clock.monotonicMs();
    let nextMs = targets.readAllAtMs ?? Number.POSITIVE_INFINITY;
    const due: CanaryTarget[] = [];
    for (const target of targets.all()) {
      if (target.dueAtMs > nowMs) nextMs = Math.min(nextMs, target.dueAtMs);
      else if (!this.#running.has(target)) due.push(target);
    }
    for (const target of due.sort((a, b) => a.dueAtMs - b.dueAtMs)) {
      // The end of a proof wakes us.
      if (this.#running.size >= MOST_AT_ONCE) break;
      const isFirst = targets.lastMs(target) === undefined;
      if (this.#isFresh(target, targets)) {
        targets.plan(target);
        nextMs = Math.min(nextMs, target.dueAtMs);
        continue;
      }
      if (!isFirst && !target.hasTurn) this.#giveTurn(target, targets, nowMs);
      if (target.dueAtMs > nowMs) nextMs = Math.min(nextMs, target.dueAtMs);
      else if (this.#hasPlace(target)) this.#start(target, targets);
    }
    return nextMs === Number.POSITIVE_INFINITY ? undefined : nextMs - nowMs;
  }

  /** Those that are due together start one after the other. */
  #giveTurn(target: CanaryTarget, targets: CanaryTargets, nowMs: number): void {
    target.hasTurn = true;
    target.dueAtMs = Math.max(nowMs, this.#nextTurnMs);
    this.#nextTurnMs = target.dueAtMs + gapMs(targets);
  }

  /** Somebody else has proven it meanwhile. */
  #isFresh(target: CanaryTarget, targets: CanaryTargets): boolean {
    const lastMs = targets.lastMs(target);
    return lastMs !== undefined && this.#options.clock.now().getTime() - lastMs < target.intervalMs;
  }

  #hasPlace(target: CanaryTarget): boolean {
    if (!this.#isFailing(target)) return true;
    return [...this.#running.keys()].filter((one) => this.#isFailing(one)).length < MOST_FAILING;
  }

  #isFailing({ backend, triedMs }: CanaryTarget): boolean {
    const proof = this.#options.proofs.latest(backend);
    return proof === undefined ? triedMs !== undefined : !proof.ok;
  }

  #start(target: CanaryTarget, targets: CanaryTargets): void {
    target.triedMs = this.#options.clock.now().getTime();
    const proving = this.#prove(target).then(() => {
      targets.plan(target);
      this.#running.delete(target);
      this.#wake.abort();
    });
    this.#running.set(target, proving);
  }

  /** Never rejects. */
  async #prove({ backend }: CanaryTarget): Promise<void> {
    const { proofs, log } = this.#options;
    try {
      await proofs.prove(backend, { signal: this.#closing.signal });
    } catch (error) {
      const { mesh, name, type } = backend;
      // One that was replaced meanwhile is proven as it is now.
      if (this.#closing.signal.aborted || backend.isRetired) return;
      log.warn({ mesh, backend: name, type, err: error }, 'backend could not be proven');
    }
  }
}

/** Between two proofs of backends that were proven before. */
function gapMs(targets: CanaryTargets): number {
  const perMs = targets.all().reduce((sum, { intervalMs }) => sum + 1 / intervalMs, 0);
  return Math.min(LONGEST_GAP_MS, 1 / (RUSH * perMs));
}
