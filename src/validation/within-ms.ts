import { CaError, IssuerUnavailableError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import { orAborted } from '../runtime/or-aborted.ts';

/** How long an issuer has to say why, after its deadline. As `Backend.within`. */
const LAST_WORDS_MS = 50;

/**
 * Runs work for at most `ms`, whatever hangs. Work that does not honour its signal is left to itself; work that does may say within 50 ms why nothing
 * came.
 * @throws IssuerUnavailableError when the time is over; the signal's reason when `options.signal` fires
 */
export async function withinMs<T>(
  ms: number,
  { signal, clock }: CallOptions & { readonly clock: Clock },
  work: (options: CallOptions) => Promise<T>,
): Promise<T> {
  const deadline = clock.deadline(Math.max(0, ms), signal);
  const working = work({ signal: deadline.signal });
  try {
    return await orAborted(working, deadline.signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!deadline.signal.aborted) throw error;
    const late = new IssuerUnavailableError(`no answer within ${Math.round(ms)} ms`, {
      cause: error,
      fix: 'look at the load of the backend and the network between it and mesh-ca',
    });
    return await lastWords(working, late, { signal, clock });
  } finally {
    deadline.clear();
  }
}

async function lastWords<T>(
  working: Promise<T>,
  late: IssuerUnavailableError,
  { signal, clock }: CallOptions & { readonly clock: Clock },
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
