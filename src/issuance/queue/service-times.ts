/** How long requests of one kind take. */
export interface ServiceTimes {
  /** Lately. */
  usualMs: number;
  /** When they were at their quickest: next to nothing of it is a queue. */
  calmMs: number;
  count: number;
  /** Which measurement of the calm times it belongs to. */
  measurement: number;
}

/** So many have to be known before their mean tells how much is usual. */
const FEW = 8;
/** Part that one has in what is usual: little, so that some lucky ones do not make the others look slow. */
const SMOOTHING = 1 / 16;

export function createServiceTimes(): ServiceTimes {
  return { usualMs: 0, calmMs: 0, count: 0, measurement: 0 };
}

/** @param measurement another one than before: what was known is forgotten */
export function noteTime(times: ServiceTimes, tookMs: number, measurement: number): void {
  if (times.measurement !== measurement) Object.assign(times, createServiceTimes(), { measurement });
  times.count += 1;
  times.usualMs += Math.max(SMOOTHING, 1 / times.count) * (tookMs - times.usualMs);
  times.calmMs = times.count <= FEW ? times.usualMs : Math.min(times.calmMs, times.usualMs);
}

export function isKnown({ count }: ServiceTimes): boolean {
  return count >= FEW;
}
