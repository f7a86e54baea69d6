import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { plainText } from '../text/plain-text.ts';
import type { ProofCheck } from './proof.ts';

/** What one look found. */
export type Finding = Pick<ProofCheck, 'status' | 'message' | 'cause' | 'fix' | 'retry'>;

/** A named look at something, in a table. */
export interface Look<T> {
  /** Stable. */
  readonly name: string;
  /** Names of looks before this one that must have found nothing wrong, or this one can tell nothing. */
  readonly needs: readonly string[];
  look(subject: T): Finding | Promise<Finding>;
}

export interface RunOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Name of a check elsewhere that failed: nothing is looked at. */
  readonly blockedBy: string | undefined;
}

export const passed = (message: string): Finding => ({ status: 'passed', message });
/** There is nothing to look at. */
export const skip = (message: string): Finding => ({ status: 'skipped', message });

/** What is wrong, or will hurt. */
export type Trouble = Required<Pick<Finding, 'message' | 'cause' | 'fix'>> & Pick<Finding, 'retry'>;
export const failed = (trouble: Trouble): Finding & { readonly status: 'failed' } => ({ status: 'failed', ...trouble });
export const warned = (trouble: Omit<Trouble, 'retry'>): Finding => ({ status: 'warning', ...trouble });

/** A check that was not made, and which failed one it depends on. */
export function skipped(name: string, dependsOn: string): ProofCheck {
  return { name, status: 'skipped', message: `not looked at: depends on ${dependsOn}`, dependsOn, durationMs: 0 };
}

/**
 * Looks at all that the table names, one after the other; what depends on a failed look is skipped.
 * @returns one check for each row, in order. Rejects with the signal's reason only
 */
export async function runChecks<T>(table: readonly Look<T>[], subject: T, options: RunOptions): Promise<ProofCheck[]> {
  const { clock, log, signal, blockedBy } = options;
  /** What was not found good -> the failed check behind that. */
  const blame = new Map<string, string>();
  const checks: ProofCheck[] = [];
  for (const { name, needs, look } of table) {
    signal.throwIfAborted();
    const behind = blockedBy ?? needs.map((need) => blame.get(need)).find((failure) => failure !== undefined);
    if (behind !== undefined) {
      blame.set(name, behind);
      checks.push(skipped(name, behind));
      continue;
    }
    const startedMs = clock.monotonicMs();
    let finding: Finding;
    try {
      finding = await look(subject);
    } catch (error) {
      signal.throwIfAborted();
      log.error({ check: name, err: error }, 'check not made');
      finding = UNEXPECTED;
    }
    if (finding.status === 'failed') blame.set(name, name);
    checks.push({ name, ...plainFinding(finding), durationMs: clock.monotonicMs() - startedMs });
  }
  signal.throwIfAborted();
  return checks;
}

/** A certificate may hold a thousand names: nobody reads that many. */
const MAX_TEXT = 2_000;

/** What was found, fit to be told, logged and stored: certificates and servers have put words into it. */
export function plainFinding<F extends Finding>(finding: F): F {
  const plain = (text: string) => plainText(text, MAX_TEXT);
  return {
    ...finding,
    message: plain(finding.message),
    ...(finding.cause !== undefined && { cause: plain(finding.cause) }),
    ...(finding.fix !== undefined && { fix: plain(finding.fix) }),
  };
}

/** Unexpected errors are told blandly: their text may hold anything. */
export const UNEXPECTED = failed({
  message: 'mesh-ca could not look at it',
  cause: 'an unexpected error',
  fix: 'look for "check not made" in the log of mesh-ca',
});
