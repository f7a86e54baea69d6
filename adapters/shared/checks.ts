import { CaError } from '../../src/issuer/errors.ts';
import type { Check, InspectOptions, IssuerDeps } from '../../src/issuer/issuer.ts';

/** What is wrong, for an operator. */
export interface Finding {
  /** One sentence. */
  readonly message: string;
  readonly cause?: string | undefined;
  readonly fix?: string | undefined;
  /** The key of `conf` that is to blame, where it is another than the check's rule says. */
  readonly field?: string | undefined;
  /** It may pass later without anybody changing anything. */
  readonly retry?: boolean | undefined;
}

/**
 * Tells the findings of one inspection as soon as they are made. Each takes the time since the one before. Names are given without the type.
 * Every method throws the signal's reason once it has fired: nothing is told after that.
 */
export interface Checks {
  pass(name: string, message: string): void;
  /** Certificates can be had, but something will hurt later, or cannot be known. */
  warn(name: string, finding: Finding): void;
  /** There is nothing to look at: this conf has no such thing, or it may not be read, which another check has warned of. */
  skip(name: string, why: string): void;
  /** An error of ours says by itself what to do, whether it may pass, and which key is to blame when its violations name one only. */
  fail(name: string, finding: Finding | CaError, more?: Pick<Finding, 'cause' | 'field' | 'retry'>): void;
  /**
   * `<type>.clock`
   * @param skewMs how far the other clock is ahead of ours
   * @param theirs whose it is: `AWS's`
   */
  clock(skewMs: number, limits: ClockLimits, theirs: string): void;
  /** True once one has failed. */
  readonly failed: boolean;
}

export interface ClockLimits {
  /** Beyond it there is a warning. */
  readonly warnMs?: number;
  /** What signatures and certificates bear. */
  readonly maxMs: number;
  /** The same where their clock is behind ours. Default: `maxMs`. */
  readonly maxBehindMs?: number;
}

/** A difference of more than this is worth a word, whatever the backend bears. */
const CLOCK_WARN_MS = 5_000;

/** @param type of the backend: every name begins with it */
export function createChecks(
  type: string,
  {
    clock,
    signal,
    report,
  }: Pick<InspectOptions, 'signal' | 'report'> & { readonly clock: Pick<IssuerDeps['clock'], 'monotonicMs'> },
): Checks {
  let beforeMs = clock.monotonicMs();
  let anyFailed = false;

  function tell(status: Check['status'], name: string, { message, cause, fix, field, retry }: Finding): void {
    signal.throwIfAborted();
    const nowMs = clock.monotonicMs();
    const durationMs = Math.max(0, nowMs - beforeMs);
    beforeMs = nowMs;
    anyFailed ||= status === 'failed';
    report({
      name: `${type}.${name}`,
      status,
      message,
      ...(cause !== undefined && { cause }),
      ...(fix !== undefined && { fix }),
      ...(field !== undefined && { field }),
      ...(retry !== undefined && { retry }),
      durationMs,
    });
  }

  return {
    get failed() {
      return anyFailed;
    },
    pass: (name, message) => tell('passed', name, { message }),
    warn: (name, finding) => tell('warning', name, finding),
    skip: (name, why) => tell('skipped', name, { message: `not looked at: ${why}` }),
    fail(name, finding, more = {}) {
      tell('failed', name, { ...(finding instanceof CaError ? findingOf(finding) : finding), ...more });
    },
    clock(skewMs, { warnMs = CLOCK_WARN_MS, maxMs, maxBehindMs = maxMs }, theirs) {
      const offMs = Math.abs(skewMs);
      const borneMs = skewMs > 0 ? maxMs : maxBehindMs;
      if (offMs <= Math.min(warnMs, borneMs)) return tell('passed', 'clock', { message: 'the clocks agree' });
      const finding = {
        message: `${theirs} clock is ${Math.round(offMs / 1000)} s ${skewMs > 0 ? 'ahead of' : 'behind'} ours`,
        cause:
          skewMs < 0
            ? 'certificates end earlier than asked'
            : `certificates are not valid yet when they come${offMs > borneMs ? '' : `, once it is more than ${borneMs / 1000} s`}`,
        fix: 'synchronise both clocks by NTP: timedatectl status',
      };
      tell(offMs > borneMs ? 'failed' : 'warning', 'clock', finding);
    },
  };
}

function findingOf({ message, fix, retry, violations }: CaError): Finding {
  const fields = new Set(violations.map(({ field }) => field));
  return { message, fix, retry, field: fields.size === 1 ? violations[0]?.field : undefined };
}

/** The value, or the error of ours that it failed with; anything else is rethrown. */
export async function attempt<T>(work: () => T | Promise<T>, signal: AbortSignal): Promise<T | CaError> {
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof CaError) return error;
    throw error;
  }
}
