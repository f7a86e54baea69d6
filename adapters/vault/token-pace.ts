import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { FailureKind } from './failure.ts';

/**
 * How often callers may make us get another token, whatever they do: at most once a second, and less often the longer it is in vain. The keeper's
 * own steps have a plan of their own (`token-life.ts`); this is about what calls and changed data sources bring about.
 */
export interface TokenPace {
  mayTry(): boolean;
  /** As `mayTry`, for a data source that holds something new: that is worth a try at once, unless new things were refused before. */
  mayTryNews(): boolean;
  /** Until then. */
  waitMs(): number;
  succeeded(): void;
  failed(why: FailureKind | 'same', retryAfterMs: number): void;
  /** A path that was refused with a fresh token: it lacks a right, and another token would not bring it. For a while. */
  deny(path: string): void;
  isDenied(path: string): boolean;
  /** What the data source holds is no good token. It is not tried again for a while. True when that was not known. */
  reject(fingerprint: string): boolean;
  isRejected(fingerprint: string): boolean;
  hasRejections(): boolean;
  /** Something may have been changed: the next try may come a second after the last one. */
  hasten(): void;
}

const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 30_000;
const DENIED_FOR_MS = 60_000;
const REJECTED_FIRST_MS = 30_000;
const REJECTED_MAX_MS = 300_000;
/** The paths of one mount and role, and some more: a cap that is never met. */
const MAX_DENIED = 100;
/** Costs Vault nothing, or is answered by nobody: tried every second, so that the end of the trouble is noticed soon. */
const CHEAP: ReadonlySet<FailureKind | 'same'> = new Set<FailureKind | 'same'>([
  ...(['same', 'conf', 'network', 'tls', 'tls-name', 'no-tls', 'timeout', 'sealed', 'standby', 'server'] as const),
]);

export function createTokenPace(clock: IssuerDeps['clock']): TokenPace {
  let failures = 0;
  let lastMs = Number.NEGATIVE_INFINITY;
  let notBeforeMs = Number.NEGATIVE_INFINITY;
  const denied = new Map<string, number>();
  let rejected: { readonly fingerprint: string; readonly times: number; readonly untilMs: number } | undefined;

  const now = () => clock.monotonicMs();
  const growingMs = () => FIRST_WAIT_MS * 2 ** Math.min(failures++, 10);
  const wait = (ms: number) => {
    lastMs = now();
    notBeforeMs = lastMs + Math.min(ms, MAX_WAIT_MS);
  };
  return {
    mayTry: () => now() >= notBeforeMs,
    mayTryNews: () => failures === 0 || now() >= notBeforeMs,
    waitMs: () => Math.max(notBeforeMs - now(), 0),
    succeeded() {
      failures = 0;
      rejected = undefined;
      wait(FIRST_WAIT_MS);
    },
    failed(why, retryAfterMs) {
      wait(Math.max(CHEAP.has(why) ? FIRST_WAIT_MS : growingMs(), retryAfterMs));
    },
    deny(path) {
      if (denied.size < MAX_DENIED || denied.has(path)) denied.set(path, now() + DENIED_FOR_MS);
    },
    isDenied(path) {
      const untilMs = denied.get(path);
      if (untilMs === undefined || now() < untilMs) return untilMs !== undefined;
      denied.delete(path);
      return false;
    },
    reject(fingerprint) {
      const isKnown = rejected?.fingerprint === fingerprint;
      const times = isKnown ? (rejected?.times ?? 0) + 1 : 1;
      const forMs = Math.min(REJECTED_FIRST_MS * 2 ** Math.min(times - 1, 10), REJECTED_MAX_MS);
      rejected = { fingerprint, times, untilMs: now() + forMs };
      wait(growingMs());
      return !isKnown;
    },
    isRejected: (fingerprint) => rejected?.fingerprint === fingerprint && now() < rejected.untilMs,
    hasRejections: () => rejected !== undefined,
    hasten() {
      notBeforeMs = Math.min(notBeforeMs, lastMs + FIRST_WAIT_MS);
    },
  };
}
