import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';

export interface LookAgainOptions {
  readonly everyMs: number;
  readonly clock: Pick<Clock, 'sleep'>;
  readonly log: Log;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Calls `look` again and again. Resolves when the signal has fired, whatever `look` does. */
export async function lookAgain(look: () => void, { everyMs, clock, log, signal }: LookAgainOptions): Promise<void> {
  while (!signal.aborted) {
    try {
      await clock.sleep(everyMs, signal);
      look();
    } catch (error) {
      if (!signal.aborted) log.error({ err: error }, 'trust bundles not looked at');
    }
  }
}
