import type { TokenLife } from './auth/token-source.ts';

/** What `lookup-self` says. */
export interface LookedUpToken extends TokenLife {
  readonly neverExpires: boolean;
  /** What a renewal should give: the period, or the life the token was made with. Undefined where Vault does not tell. */
  readonly grantedSeconds: number | undefined;
}

/** What is known of a token's life. Instants are milliseconds of the monotonic clock. */
export interface Life {
  /** `untold`: nobody was asked yet. `unknown`: it may not look itself up, so only a refusal tells that it has ended. */
  readonly end: 'at' | 'never' | 'unknown' | 'untold';
  /** Infinity unless `end` is `at`. */
  readonly endsAtMs: number;
  /** What a renewal should give at least half of. */
  readonly grantedMs: number;
  /** Vault says so, and has refused no renewal. */
  readonly canRenew: boolean;
  /** The last renewal met a maximum: another one cannot help. */
  readonly isAtMaximum: boolean;
  readonly type: TokenLife['type'];
}

const NOTHING_KNOWN = {
  endsAtMs: Number.POSITIVE_INFINITY,
  grantedMs: 0,
  canRenew: false,
  isAtMaximum: false,
  type: 'unknown',
} as const;
export const UNTOLD_LIFE: Life = { end: 'untold', ...NOTHING_KNOWN };
export const UNKNOWN_LIFE: Life = { end: 'unknown', ...NOTHING_KNOWN };

/** As a login told. */
export function lifeFromLogin({ ttlSeconds, renewable, type }: TokenLife, nowMs: number): Life {
  if (ttlSeconds === 0) return { ...UNKNOWN_LIFE, end: 'never', type };
  const lifeMs = ttlSeconds * 1000;
  // Batch tokens have a fixed life, whatever the answer says.
  const canRenew = renewable && type !== 'batch';
  return { end: 'at', endsAtMs: nowMs + lifeMs, grantedMs: lifeMs, canRenew, isAtMaximum: false, type };
}

/** As the token itself told. */
export function lifeFromLookup(told: LookedUpToken, nowMs: number): Life {
  if (told.neverExpires) return { ...UNKNOWN_LIFE, end: 'never', type: told.type };
  const life = lifeFromLogin({ ...told, ttlSeconds: Math.max(told.ttlSeconds, 1) }, nowMs);
  return { ...life, grantedMs: Math.max((told.grantedSeconds ?? 0) * 1000, life.grantedMs) };
}

/**
 * After a renewal. One that gives less than half of what it should, or hardly more than was left, has met a maximum (`max_ttl`,
 * `explicit_max_ttl`).
 */
export function lifeAfterRenewal(before: Life, told: TokenLife, nowMs: number): Life {
  const givenMs = told.ttlSeconds * 1000;
  const endsAtMs = nowMs + givenMs;
  const gainedMs = endsAtMs - before.endsAtMs;
  const isAtMaximum = givenMs * 2 < before.grantedMs || gainedMs * 10 < before.grantedMs;
  return { ...before, endsAtMs, canRenew: told.renewable, isAtMaximum };
}

/** The life of a token whose renewal Vault refuses. */
export function withoutRenewal(life: Life): Life {
  return { ...life, canRenew: false };
}

export type StepKind = 'look-up' | 'renew' | 'replace';
export interface Step {
  readonly kind: StepKind;
  readonly atMs: number;
}

/** What was tried for the next step, in vain. */
export interface Tries {
  readonly failures: number;
  /** When the last step ended, or the token was obtained. */
  readonly lastMs: number;
  /** What Vault wants us to wait after the last failure. */
  readonly retryAfterMs: number;
}

/** No two steps are closer than this, whatever Vault says about lives: at most 30 in a minute. */
export const MIN_STEP_MS = 2_000;
/** The call that wanted the token goes first; shortened by up to a half at random. */
const LOOK_UP_AFTER_MS = 1_000;
const BACKOFF_FIRST_MS = 1_000;
export const BACKOFF_MAX_MS = 300_000;
/** Renewal is due after this part of the rest of the life, at a random point of the range: 2/3 on average. */
const DUE_FROM = 0.62;
const DUE_TO = 0.71;
/** A last attempt is made so long before the end: this part of the life granted, within these bounds. */
const LAST_PART = 0.05;
const LAST_PART_MIN_MS = 500;
const LAST_PART_MAX_MS = 10_000;

/**
 * What is to be done for a token next, and when; undefined when there is nothing that would help.
 * @param logsIn whether a new token can be had by a login: then one is wanted for as long as there is none that lives
 * @param uniform a random number in [0, 1)
 */
export function nextStep(life: Life, tries: Tries, logsIn: boolean, nowMs: number, uniform: number): Step | undefined {
  if (life.end === 'never' || life.end === 'unknown') return undefined;
  const retryMs = tries.lastMs + backoffMs(tries, uniform);
  if (life.end === 'untold') {
    const firstMs = tries.lastMs + LOOK_UP_AFTER_MS * (1 - uniform / 2);
    return { kind: 'look-up', atMs: Math.ceil(Math.max(tries.failures === 0 ? firstMs : retryMs, nowMs)) };
  }

  const earliestMs = Math.max(tries.lastMs + MIN_STEP_MS, nowMs);
  const restMs = life.endsAtMs - nowMs;
  if (restMs <= 0) return logsIn ? { kind: 'replace', atMs: Math.ceil(Math.max(retryMs, earliestMs)) } : undefined;
  // Somebody else's token at its maximum is still renewed: a maximum that was raised, or one that only looked like it, costs nothing.
  const kind = life.canRenew && !(life.isAtMaximum && logsIn) ? 'renew' : 'replace';
  const dueMs = nowMs + restMs * (DUE_FROM + (DUE_TO - DUE_FROM) * uniform);
  const lastPartMs = Math.min(Math.max(life.grantedMs * LAST_PART, LAST_PART_MIN_MS), LAST_PART_MAX_MS);
  const lastChanceMs = life.endsAtMs - lastPartMs;
  let wishMs = tries.failures === 0 ? dueMs : retryMs;
  // What is left may be too little for the whole wait: one attempt before the end, and if that was it, the next after the end.
  if (tries.failures > 0 && wishMs > lastChanceMs) {
    wishMs = tries.lastMs < lastChanceMs ? lastChanceMs : Math.max(retryMs, life.endsAtMs);
  }
  const atMs = Math.ceil(Math.max(wishMs, earliestMs));
  if (atMs < life.endsAtMs) return { kind, atMs };
  return logsIn || tries.failures === 0 ? { kind: 'replace', atMs } : undefined;
}

/** 0 before the first failure, then 1 s doubling to 5 min, each shortened by up to a quarter at random. Never less than Vault asked for. */
export function backoffMs({ failures, retryAfterMs }: Tries, uniform: number): number {
  if (failures === 0) return 0;
  const full = Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(failures - 1, 30), BACKOFF_MAX_MS);
  return Math.max(full * (1 - uniform / 4), retryAfterMs);
}
