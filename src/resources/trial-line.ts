import { RateLimitedError } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import { createPlaces } from '../validation/take-place.ts';

/** Who tries backends of a Mesh that is not stored: each has connections, keys to make and up to ten seconds, so that not everybody can at once. */
export interface TrialLine {
  /**
   * Runs `work`, which tries so many backends, when there is room for them all.
   * @throws RateLimitedError when there is none in time, or too many wait already; the signal's reason; whatever `work` throws
   */
  run<T>(count: number, options: CallOptions, work: () => Promise<T>): Promise<T>;
}

/** Backends that are tried at once, over all callers: as many as a Mesh may have. */
const MOST_AT_ONCE = 64;
/** Meshes that wait for room. Each is held in memory meanwhile. */
const MOST_WAITING = 64;
const LINE_MS = 20_000;

export function createTrialLine({ clock }: { readonly clock: Pick<Clock, 'deadline'> }): TrialLine {
  const takePlace = createPlaces(MOST_AT_ONCE);
  /** Whoever takes places takes all that it needs before the next one takes some: two halves would wait for each other. */
  const takeDoor = createPlaces(1);
  let waiting = 0;

  async function takeAll(count: number, signal: AbortSignal): Promise<() => void> {
    const closeDoor = await takeDoor(signal);
    const taken: (() => void)[] = [];
    const giveBack = () => {
      for (const one of taken) one();
    };
    try {
      while (taken.length < count) taken.push(await takePlace(signal));
      return giveBack;
    } catch (error) {
      giveBack();
      throw error;
    } finally {
      closeDoor();
    }
  }

  async function take(count: number, { signal }: CallOptions): Promise<() => void> {
    if (waiting >= MOST_WAITING) throw tooMany();
    const deadline = clock.deadline(LINE_MS, signal);
    waiting += 1;
    try {
      return await takeAll(Math.min(count, MOST_AT_ONCE), deadline.signal);
    } catch (error) {
      signal.throwIfAborted();
      throw deadline.signal.aborted ? tooMany() : error;
    } finally {
      waiting -= 1;
      deadline.clear();
    }
  }

  return {
    async run(count, options, work) {
      if (count === 0) return work();
      const giveBack = await take(count, options);
      try {
        return await work();
      } finally {
        giveBack();
      }
    },
  };
}

function tooMany(): RateLimitedError {
  return new RateLimitedError('backends of too many other Meshes are being tried', {
    fix: 'ask again later, for fewer Meshes at a time',
    retryAfterMs: LINE_MS,
  });
}
