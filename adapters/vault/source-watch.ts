import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { backoffMs } from './token-life.ts';

/** When to look whether the data sources of a token hold something new: at an interval, and at once when a secret of the mesh was changed. */
export interface SourceWatch {
  /** Follows the secrets of the mesh from now on. */
  follow(): void;
  /** The first interval begins. */
  start(): void;
  isDue(): boolean;
  /** When it is due without a change. Infinity for never. */
  nextMs(): number;
  /** What is there is looked at now: the next interval begins. */
  look(): void;
  /** There is something new, but it may not be tried yet. */
  lookAgainIn(ms: number): void;
  /** Something new was tried: in vain, so that it is tried again ever less often, or with a result. */
  tried(inVain: boolean): void;
  /** Nothing is followed any more. */
  close(): void;
}

export interface SourceWatchOptions {
  readonly clock: Pick<IssuerDeps['clock'], 'monotonicMs'>;
  readonly random: Pick<IssuerDeps['random'], 'uniform'>;
  readonly secrets: Pick<IssuerDeps['secrets'], 'onChange'>;
  /** 0: never. */
  readonly intervalMs: number;
  /** A secret of the mesh was changed. */
  onChange(): void;
}

export function createSourceWatch({ clock, random, secrets, intervalMs, onChange }: SourceWatchOptions): SourceWatch {
  let stopFollowing: (() => void) | undefined;
  let mayHaveChanged = false;
  let nextMs = Number.POSITIVE_INFINITY;
  let failures = 0;

  const after = (ms: number) => Math.ceil(clock.monotonicMs() + ms);
  const beginInterval = () => {
    nextMs = intervalMs === 0 ? Number.POSITIVE_INFINITY : after(intervalMs);
  };
  return {
    follow() {
      stopFollowing ??= secrets.onChange(() => {
        mayHaveChanged = true;
        onChange();
      });
    },
    start: beginInterval,
    isDue: () => mayHaveChanged || clock.monotonicMs() >= nextMs,
    nextMs: () => nextMs,
    look() {
      mayHaveChanged = false;
      beginInterval();
    },
    lookAgainIn(ms) {
      nextMs = after(ms);
    },
    tried(inVain) {
      failures = inVain ? failures + 1 : 0;
      if (!inVain) return;
      const waitMs = backoffMs({ failures, lastMs: clock.monotonicMs(), retryAfterMs: 0 }, random.uniform());
      nextMs = Math.min(nextMs, after(waitMs));
    },
    close: () => stopFollowing?.(),
  };
}
