import type { FakeClock } from '../conformance/issuer-deps.ts';

/** Lets everything run that waits for nothing but its turn. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export interface PassOptions {
  /** Called after each step. */
  readonly onStep?: () => void;
  /** So many timers in the time that passes are one that sets itself for ever. */
  readonly mostTimers?: number;
}

/** Turns the clock by `ms`, timer by timer: what one sets off has run before the next one fires. */
export async function passTime(
  clock: FakeClock,
  ms: number,
  { onStep, mostTimers = 100_000 }: PassOptions = {},
): Promise<void> {
  const untilMs = clock.monotonicMs() + ms;
  for (let timers = 0; ; timers += 1) {
    if (timers > mostTimers) throw new Error(`more than ${mostTimers} timers in ${ms} ms`);
    await settle();
    const leftMs = untilMs - clock.monotonicMs();
    const stepMs = clock.msToNext;
    const isLast = stepMs === undefined || stepMs > leftMs;
    // The clock knows whole milliseconds only.
    clock.advance(isLast ? leftMs : Math.ceil(Math.max(stepMs, 0)));
    onStep?.();
    if (isLast) break;
  }
  await settle();
}

/** Turns the clock, a second at a time, until the work has ended: what waits for time and for I/O in turn. */
export async function turnUntil<T>(clock: FakeClock, work: Promise<T>): Promise<T> {
  let hasEnded = false;
  const ended = work.finally(() => {
    hasEnded = true;
  });
  while (!hasEnded) {
    clock.advance(1000);
    await settle();
  }
  return ended;
}
