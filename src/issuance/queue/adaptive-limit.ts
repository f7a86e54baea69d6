import type { Concurrency } from '../../issuer/issuer.ts';
import { HIGH_PRESSURE, nextLimit } from './next-limit.ts';
import { createServiceTimes, isKnown, noteTime, type ServiceTimes } from './service-times.ts';

export interface AdaptiveLimit {
  /** How many may be in flight now. */
  readonly limit: number;
  readonly inFlight: number;
  enter(): void;
  leave(): void;
  /** Somebody waits for want of a place: only then can the limit be too low. */
  wanted(): void;
  /** One that was in flight since `givenMs` got its certificate. */
  served(times: ServiceTimes, givenMs: number): void;
  /** The backend has said that it is too much, or was too slow to answer. */
  congested(how: 'throttled' | 'timed-out'): void;
}

export interface AdaptiveLimitOptions {
  /** Milliseconds that only grow. */
  readonly monotonicMs: () => number;
  readonly concurrency: Concurrency;
}

/** One cut for one cause: what was in flight then tells of it, too. */
const CUT_PAUSE_MS = 1_000;
/** How often the calm times are measured anew, while there seems to be a queue: a backend may have become slower for good. */
const MEASURE_EVERY_MS = 120_000;
const MEASURE_WITH = 4;
/** So many, or all that were in flight, and at least those of so long, decide about the limit. */
const WINDOW = 16;
const WINDOW_MS = 100;
/** Pressure that is left after a cut that was of use: less than this part of what it was before. */
const USEFUL = 0.75;

/**
 * How many requests may be in flight to one backend: as many as do not have to queue there for longer than `targetDelayMs`.
 *
 * What a request takes beyond the calm time of its like is taken for a queue, unless fewer in flight do not shorten it: then the backend is slower than it
 * was, or this process is busy, and the calm times are measured anew. A calm time is a mean, so that what varies anyway is no queue.
 */
export function createAdaptiveLimit({ monotonicMs, concurrency }: AdaptiveLimitOptions): AdaptiveLimit {
  const { start, max, targetDelayMs } = concurrency;
  let limit = Math.max(1, Math.min(start, max));
  const ofAll = createServiceTimes();
  let inFlight = 0;
  let throttledAt = Number.POSITIVE_INFINITY;
  let congestedMs = Number.NEGATIVE_INFINITY;
  let measurement = 0;
  let measuredMs = monotonicMs();
  /** Of the limit. Places given before tell of what was in flight before. */
  let changedMs = Number.NEGATIVE_INFINITY;
  let window = { startedMs: monotonicMs(), count: 0, pressures: 0, mostInFlight: 0, isWanted: false };
  let wasHigh = false;
  /** Before the cut that was made last because of a delay; undefined: the limit is what it is for other reasons. */
  let cutAtPressure: number | undefined;
  let cutFrom = 0;

  function startWindow(): void {
    window = { startedMs: monotonicMs(), count: 0, pressures: 0, mostInFlight: inFlight, isWanted: false };
  }

  function change(next: number): void {
    const before = limit;
    limit = Math.max(1, next);
    if (limit !== before) changedMs = monotonicMs();
    startWindow();
  }

  /** What the window has shown decides about the limit. */
  function judge(): void {
    const pressure = window.pressures / window.count;
    const isHigh = pressure > HIGH_PRESSURE;
    if (!isHigh && limit >= cutFrom) cutAtPressure = undefined;
    // Once may be chance: a pause of this process, say, slows all that is in flight.
    const isFirstHigh = isHigh && !wasHigh;
    wasHigh = isFirstHigh && window.isWanted;
    if (!window.isWanted || isFirstHigh) startWindow();
    else if (isMeasuredWrong(pressure)) measureAnew();
    else {
      if (isHigh) [cutAtPressure, cutFrom] = [pressure, limit];
      change(nextLimit(limit, { pressure, max, throttledAt }));
    }
  }

  /** The last cut was of no use, or there seems to be a queue for very long. */
  function isMeasuredWrong(pressure: number): boolean {
    if (cutAtPressure !== undefined && pressure > Math.max(HIGH_PRESSURE, USEFUL * cutAtPressure)) return true;
    return pressure > 1 && pressure <= HIGH_PRESSURE && monotonicMs() - measuredMs >= MEASURE_EVERY_MS;
  }

  /** With so few in flight, next to nothing of a queue is left. */
  function measureAnew(): void {
    measuredMs = monotonicMs();
    measurement += 1;
    cutAtPressure = undefined;
    change(Math.min(MEASURE_WITH, Math.floor(limit / 4)));
  }

  return {
    get limit() {
      return limit;
    },
    get inFlight() {
      return inFlight;
    },
    enter() {
      inFlight += 1;
      window.mostInFlight = Math.max(window.mostInFlight, inFlight);
    },
    leave() {
      inFlight -= 1;
    },
    wanted() {
      window.isWanted = true;
    },
    served(times, givenMs) {
      const nowMs = monotonicMs();
      if (givenMs < changedMs) return;
      const tookMs = nowMs - givenMs;
      noteTime(times, tookMs, measurement);
      noteTime(ofAll, tookMs, measurement);
      // Of many backends with few requests each there is no other measure.
      const { calmMs } = isKnown(times) ? times : ofAll;
      window.count += 1;
      window.pressures += (tookMs - calmMs) / Math.max(targetDelayMs, calmMs);
      if (window.count < Math.min(window.mostInFlight, WINDOW) || nowMs - window.startedMs < WINDOW_MS) return;
      judge();
    },
    congested(how) {
      const nowMs = monotonicMs();
      if (nowMs - congestedMs < CUT_PAUSE_MS) return;
      congestedMs = nowMs;
      cutAtPressure = undefined;
      change(Math.floor(limit / 2));
      if (how === 'throttled') throttledAt = limit;
    },
  };
}
