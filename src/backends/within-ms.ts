import { CaError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import { orAborted } from '../runtime/or-aborted.ts';

export interface WithinOptions extends CallOptions {
  readonly clock: Pick<Clock, 'deadline'>;
  /** What is thrown when the time is over. */
  readonly late: (cause: unknown) => unknown;
}

/** How long an issuer has to say why, after its deadline. */
const LAST_WORDS_MS = 50;

/**
 * Runs work for at most `ms`, whatever hangs. Work that does not honour its signal is left to itself. Work that does may say within 50 ms why nothing
 * came: that its request waits for an approval, say.
 * @throws what `late` gives, or the last word of the work, when the time is over; the signal's reason when `signal` fires; else what the work throws
 */
export async function withinMs<T>(
  ms: number,
  { signal, clock, late }: WithinOptions,
  work: (options: CallOptions) => Promise<T>,
): Promise<T> {
  const deadline = clock.deadline(ms, signal);
  try {
    const working = work({ signal: deadline.signal });
    return await orAborted(working, deadline.signal).catch((error: unknown) => {
      if (error !== deadline.signal.reason) throw error;
      signal.throwIfAborted();
      return lastWords(working, late(error), { signal, clock });
    });
  } finally {
    deadline.clear();
  }
}

async function lastWords<T>(
  working: Promise<T>,
  late: unknown,
  { signal, clock }: Pick<WithinOptions, 'signal' | 'clock'>,
): Promise<T> {
  const enough = clock.deadline(LAST_WORDS_MS, signal);
  try {
    return await orAborted(working, enough.signal);
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof CaError ? error : late;
  } finally {
    enough.clear();
  }
}
