import { createAdaptiveLimit } from '../../../src/issuance/queue/adaptive-limit.ts';
import { createHeap } from '../../../src/issuance/queue/heap.ts';
import { createServiceTimes } from '../../../src/issuance/queue/service-times.ts';
import type { Concurrency } from '../../../src/issuer/issuer.ts';

/** A backend that serves so many at a time, in the order in which they come, and what happens on the way back to us. */
export interface ModelServer {
  readonly parallel: number;
  /** Of one request, at that time. Its latency is flat until `parallel` are in flight. */
  readonly serviceMs: (nowMs: number, chance: number) => number;
  /** When we get to see what was finished then: later when this process is busy. */
  readonly seenAtMs?: (finishedMs: number, chance: number) => number;
}

export interface ModelRun {
  readonly server: ModelServer;
  readonly forMs: number;
  /** Who ask again as soon as they are served. */
  readonly callers?: number;
  /** A number: the limit stands still. */
  readonly concurrency: Concurrency | number;
  /** They belong to so many backends of one endpoint. */
  readonly backends?: number;
}

export interface Shown {
  /** Served in each second. */
  readonly perSecond: readonly number[];
  /** At the end of each second. */
  readonly limits: readonly number[];
  readonly inFlight: readonly number[];
}

interface Event {
  readonly atMs: number;
  readonly order: number;
  happen(): void;
}

/** Always somebody waits. Time passes as fast as events come; chance is the same in each run. */
export function runModel({ server, forMs, callers = 1000, concurrency, backends = 1 }: ModelRun): Shown {
  let nowMs = 0;
  let orders = 0;
  const events = createHeap<Event>((one, other) =>
    one.atMs === other.atMs ? one.order < other.order : one.atMs < other.atMs,
  );
  const at = (atMs: number, happen: () => void) => {
    orders += 1;
    events.put({ atMs, order: orders, happen });
  };
  const chance = createChance();
  const fixed = typeof concurrency === 'number' ? concurrency : undefined;
  const adaptive = createAdaptiveLimit({
    monotonicMs: () => nowMs,
    concurrency: typeof concurrency === 'number' ? { start: 1, max: 1, targetDelayMs: 1 } : concurrency,
  });
  const times = Array.from({ length: backends }, createServiceTimes);
  let asked = 0;
  let waiting = callers;
  let busy = 0;
  const queue: (() => void)[] = [];
  const shown = { perSecond: [] as number[], limits: [] as number[], inFlight: [] as number[] };
  let served = 0;

  function work(): void {
    while (busy < server.parallel) {
      const next = queue.shift();
      if (next === undefined) return;
      busy += 1;
      next();
    }
  }

  function fill(): void {
    while (waiting > 0 && adaptive.inFlight < (fixed ?? adaptive.limit)) {
      const givenMs = nowMs;
      const own = times[asked % backends] ?? createServiceTimes();
      asked += 1;
      waiting -= 1;
      adaptive.enter();
      queue.push(() => {
        at(nowMs + server.serviceMs(nowMs, chance()), () => {
          busy -= 1;
          work();
          at(server.seenAtMs?.(nowMs, chance()) ?? nowMs, () => {
            served += 1;
            waiting += 1;
            adaptive.leave();
            adaptive.served(own, givenMs);
            fill();
          });
        });
      });
    }
    if (waiting > 0) adaptive.wanted();
    work();
  }

  for (let second = 1; second * 1000 <= forMs; second += 1) {
    at(second * 1000, () => {
      shown.perSecond.push(served);
      shown.limits.push(fixed ?? adaptive.limit);
      shown.inFlight.push(adaptive.inFlight);
      served = 0;
    });
  }
  at(0, fill);
  for (let event = events.peek(); event !== undefined && event.atMs <= forMs; event = events.peek()) {
    events.delete(event);
    nowMs = event.atMs;
    event.happen();
  }
  return shown;
}

/** Numbers in [0, 1) that look like chance: mulberry32. */
function createChance(): () => number {
  let state = 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
