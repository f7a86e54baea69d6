import { z } from 'zod';
import type { Wait } from './back-off.ts';
import { BackendGuard, type GuardRules, type Recovery } from './backend-guard.ts';
import { type Breaker, NEW_BREAKER } from './breaker.ts';
import { type Cause, HELD_CODES, LONGEST_TOLD_MS, MOST_TEXT } from './failure.ts';
import { type HeldDataplane, MOST_HELD } from './held-dataplanes.ts';
import { createRecoveryPlan, MOST_REMEMBERED, SLOTS_PER_SECOND } from './recovery-plan.ts';

/** The same instant by both clocks: times are kept by the wall, for they outlive the process. */
export interface Instant {
  readonly nowMs: number;
  /** Milliseconds since 1970. */
  readonly wallMs: number;
}

/** Characters of data planes that are held; the newest are kept. */
const MOST_HELD_CHARACTERS = 2 * 1024 * 1024;
/** Characters of a body that is read. */
const MOST_BODY = 32 * 1024 * 1024;
/** What one entry takes beside its names. */
const ENTRY_CHARACTERS = 60;

/** Of a name that is kept. */
const MOST_NAME = 1024;

const name = z.string().max(MOST_NAME);
const count = z.number().int().min(0);
const wallMs = z.number().int();
const toldMs = z.number().positive().max(LONGEST_TOLD_MS).nullable();
const causeText = z.string().max(MOST_TEXT);

const guardBody = z.object({
  backendHash: name,
  /** What the numbers called `cause` stand for: thousands of data planes fail for a few reasons. */
  causes: z
    .array(z.object({ code: z.enum(HELD_CODES), message: causeText, fix: causeText.optional() }))
    .max(MOST_HELD + 2),
  failed: z.array(name).max(100_000),
  open: z.object({ opened: count.min(1), dataplanes: count, retryAt: wallMs, toldMs, cause: count }).optional(),
  /** Data plane, digest of the fingerprint, failures, retryAt, toldMs, cause; the oldest first. */
  held: z.array(z.tuple([name, name, count.min(1), wallMs, toldMs, count])).max(MOST_HELD),
  recovery: z.object({ endsAt: wallMs, cause: count }).optional(),
});

type GuardBody = z.output<typeof guardBody>;

/** JSON text for the store. Requests under way are not part of it: a trial is tried again. */
export function writeGuard(guard: BackendGuard, { nowMs, wallMs }: Instant): string {
  const causes: Cause[] = [];
  const indexes = new Map<Cause, number>();
  const indexOf = (cause: Cause): number => {
    const known = indexes.get(cause);
    if (known !== undefined) return known;
    indexes.set(cause, causes.length);
    return causes.push(cause) - 1;
  };
  const toWall = (ms: number) => Math.ceil(ms - nowMs + wallMs);
  const { breaker, recovery } = guard;

  const open =
    breaker.state === 'closed'
      ? undefined
      : {
          opened: breaker.opened,
          dataplanes: breaker.dataplanes,
          retryAt: toWall(breaker.wait.untilMs),
          toldMs: breaker.wait.toldMs ?? null,
          cause: indexOf(breaker.cause),
        };
  const held: GuardBody['held'] = [];
  let characters = 0;
  for (const [dataplane, { digest, failures, wait, cause }] of [...guard.held.entries()].reverse()) {
    if (!isKept(dataplane)) continue;
    const before = causes.length;
    const index = indexOf(cause);
    characters += dataplane.length + digest.length + ENTRY_CHARACTERS;
    if (causes.length > before) characters += cause.message.length + (cause.fix?.length ?? 0);
    if (characters > MOST_HELD_CHARACTERS) break;
    held.push([dataplane, digest, failures, toWall(wait.untilMs), wait.toldMs ?? null, index]);
  }
  const body: GuardBody = {
    backendHash: guard.hash,
    failed: breaker.state === 'closed' ? [...breaker.failed].filter(isKept) : [],
    ...(open !== undefined && { open }),
    held: held.reverse(),
    ...(recovery !== undefined && {
      recovery: { endsAt: toWall(recovery.plan.endsAtMs), cause: indexOf(recovery.cause) },
    }),
    causes: causes.map(({ code, message, fix }) => ({
      code,
      message,
      ...(fix !== undefined && { fix }),
    })),
  };
  return JSON.stringify(body);
}

/**
 * Reads what `writeGuard` wrote. The wall clock may have been set meanwhile: no wait becomes longer by that than it can have been.
 * @throws Error when it is nothing that `writeGuard` writes
 */
export function readGuard(text: string, rules: GuardRules, { nowMs, wallMs }: Instant): BackendGuard {
  if (text.length > MOST_BODY) throw new Error(`the state of a backend has ${text.length} characters`);
  const body = guardBody.parse(JSON.parse(text));
  const causes = body.causes.map(({ code, message, fix }): Cause => ({ code, message, fix }));
  const causeOf = (index: number): Cause => {
    const found = causes[index];
    if (found === undefined) throw new Error(`there is no cause ${index}`);
    return found;
  };
  const fromWall = (atMs: number, mostMs: number) => nowMs + Math.min(atMs - wallMs, mostMs);
  const waitOf = (retryAt: number, told: number | null): Wait => ({
    untilMs: fromWall(retryAt, Math.max(rules.backoffMaxMs, told ?? 0)),
    toldMs: told ?? undefined,
  });
  const { open, recovery, failed } = body;

  const breaker: Breaker =
    open === undefined
      ? { ...NEW_BREAKER, failed: new Set(failed) }
      : {
          state: 'open',
          opened: open.opened,
          dataplanes: open.dataplanes,
          wait: waitOf(open.retryAt, open.toldMs),
          cause: causeOf(open.cause),
          trial: undefined,
        };
  const guard = new BackendGuard(body.backendHash, rules, nowMs, {
    breaker,
    recovery:
      recovery && recoveryOf(fromWall(recovery.endsAt, longestWindowMs(rules)) - nowMs, causeOf(recovery.cause)),
  });
  for (const [dataplane, digest, failures, retryAt, told, cause] of body.held) {
    const entry: HeldDataplane = { digest, failures, wait: waitOf(retryAt, told), cause: causeOf(cause) };
    guard.held.restore(dataplane, entry);
  }
  return guard;

  /** Nobody is remembered: all come by chance of their names in what is left. */
  function recoveryOf(leftMs: number, cause: Cause): Recovery | undefined {
    if (leftMs <= 0 || rules.recoverySpreadMs === 0) return undefined;
    return { plan: createRecoveryPlan({ startMs: nowMs, spreadMs: leftMs, refused: new Map() }), cause };
  }
}

function isKept(dataplane: string): boolean {
  return dataplane.length <= MOST_NAME;
}

function longestWindowMs({ recoverySpreadMs }: GuardRules): number {
  return Math.max(recoverySpreadMs, (MOST_REMEMBERED / SLOTS_PER_SECOND) * 1000);
}
