import { backendId } from '../../backends/backend-rows.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createAdaptiveLimit } from './adaptive-limit.ts';
import { createAlarm } from './alarm.ts';
import { createFairTurns, type Turn } from './fair-turns.ts';
import { createKeys, type Key, type QueuedBackend } from './keys.ts';
import { isDeadline, type Outcome } from './outcome.ts';
import { createPauses } from './pauses.ts';
import { createPlace, type Place } from './place.ts';
import type { Priority } from './priority.ts';
import { closedError, isFull, lateError, pausedError, tooManyError, type Waiting } from './refusals.ts';
import { createServiceTimes, isKnown, noteTime } from './service-times.ts';
import { createSparePlaces } from './spare-places.ts';
import { createThroughput } from './throughput.ts';

export interface QueueLoad {
  /** Certificates of this backend that are being asked for, those that wait for somebody else included. */
  readonly inFlight: number;
  /** Certificates of this backend that wait for a place. */
  readonly queued: number;
  /** Places of its endpoint, shared with the other backends of it; undefined: it needs none. */
  readonly limit: number | undefined;
}

/** The places of one endpoint, and who waits for them. */
export interface EndpointQueue {
  /** Nobody waits, and nobody holds a place. */
  readonly isIdle: boolean;
  /** @throws RateLimitedError, IssuerUnavailableError after `close`, the signal's reason */
  take(backend: QueuedBackend, priority: Priority, signal: AbortSignal): Promise<Place>;
  load(backend: QueuedBackend): QueueLoad;
  close(): void;
}

interface Waiter {
  readonly backend: QueuedBackend;
  readonly key: Key<Waiter>;
  readonly signal: AbortSignal;
  give(place: Place): void;
  reject(error: unknown): void;
}

/** How a place was held. */
interface Held {
  readonly givenMs: number;
  readonly wasInFlight: boolean;
  /** It was said that it waits for something else than capacity. */
  readonly wasTold: boolean;
}

/** Parked requests that one backend may have; its next ones wait. */
const MAX_PARKED = 32;
/** Not done after this, or after several times what is usual: perhaps it waits for somebody, or there is no such issuer. */
const LATE_AFTER_MS = 2_000;
const SEVERAL = 4;
/** Who would have to wait for longer because of a pause is told so at once. */
const LONGEST_PAUSE_MS = 30_000;
/** A place that is held for long costs its mesh up to so many times more. */
const MOST_EXTRA = 3;

/**
 * Who waits is served in fair turns (fair-turns.ts) while fewer are in flight than the limit (adaptive-limit.ts), and no pause is kept (pauses.ts). What has
 * waited for long without any of its backend getting through is parked: it is in flight no longer, its place goes to others.
 */
export function createEndpointQueue(clock: Clock, { concurrency }: Pick<QueuedBackend, 'concurrency'>): EndpointQueue {
  const { monotonicMs } = clock;
  const limit = createAdaptiveLimit({ monotonicMs, concurrency });
  const turns = createFairTurns<Waiter>();
  const pauses = createPauses();
  const throughput = createThroughput(monotonicMs());
  const alarm = createAlarm(clock, onAlarm);
  const keys = createKeys(turns);
  const spare = createSparePlaces(monotonicMs);
  const places = new Set<Place>();
  const times = createServiceTimes();
  let servedMs = Number.NEGATIVE_INFINITY;
  let isOver = false;

  /** To be called after every change of a key. */
  function settle(key: Key<Waiter>): void {
    const isPaused = pauses.ownUntilMs(key.name) > monotonicMs();
    turns.setOpen(key.lane, !key.isStalled && !isPaused && key.parked < MAX_PARKED);
    serveStalled(key);
    keys.settle(key);
  }

  /** Its requests take nobody's place. */
  function serveStalled(key: Key<Waiter>): void {
    while (key.isStalled && key.parked < MAX_PARKED && pauses.untilMs(key.name) <= monotonicMs()) {
      const turn = turns.nextOf(key.lane);
      if (turn === undefined) return;
      key.parked += 1;
      give(turn, true);
    }
  }

  function serve(): void {
    if (pauses.wholeUntilMs > monotonicMs()) return;
    while (limit.inFlight < limit.limit) {
      const turn = turns.next(limit.limit - limit.inFlight <= spare.of(limit.limit));
      if (turn === undefined) break;
      spare.note(turn.item.backend.mesh);
      limit.enter();
      give(turn, false);
    }
    if (turns.isWanted) limit.wanted();
  }

  function give(turn: Turn<Waiter>, isParked: boolean): void {
    const { key, signal } = turn.item;
    const givenMs = monotonicMs();
    let isInFlight = !isParked;
    key.held += 1;
    function leave(): void {
      isInFlight = false;
      limit.leave();
      turns.giveBack(turn, extraOf(monotonicMs() - givenMs));
    }
    const place = createPlace({
      givenMs,
      isParked,
      signal,
      lateAfterMs: Math.max(LATE_AFTER_MS, SEVERAL * key.allTimes.usualMs),
      isStuck() {
        // Others of its kind come through: it stands in a queue.
        if (key.servedMs > givenMs) return false;
        // Only others come through: it is no matter of the endpoint.
        if (servedMs > givenMs) keys.setStalled(key, true);
        return true;
      },
      onPark() {
        leave();
        key.parked += 1;
        settle(key);
        serve();
      },
      onRelease(outcome, wasTold) {
        places.delete(place);
        const wasInFlight = isInFlight;
        if (isInFlight) leave();
        else key.parked -= 1;
        key.held -= 1;
        learn(key, outcome, { givenMs, wasInFlight, wasTold });
        settle(key);
        serve();
      },
    });
    places.add(place);
    alarm.ringAt(place.check(givenMs));
    turn.item.give(place);
  }

  function extraOf(heldMs: number): number {
    if (!isKnown(times)) return 0;
    return Math.max(0, Math.min(MOST_EXTRA, heldMs / Math.max(times.usualMs, 1) - 1));
  }

  function learn(key: Key<Waiter>, outcome: Outcome, { givenMs, wasInFlight, wasTold }: Held): void {
    const nowMs = monotonicMs();
    if (outcome.kind === 'throttled') {
      limit.congested('throttled');
      if (outcome.retryAfterMs !== undefined) pause(key, nowMs + outcome.retryAfterMs);
    }
    // One that is parked while others come through has its own trouble.
    if (outcome.kind === 'timed-out' && (wasInFlight || (!wasTold && servedMs <= givenMs)))
      limit.congested('timed-out');
    if (outcome.kind !== 'served') return;
    throughput.count(nowMs);
    if (wasInFlight) limit.served(key.times, givenMs);
    if (!wasTold) {
      noteTime(key.allTimes, nowMs - givenMs, 0);
      noteTime(times, nowMs - givenMs, 0);
    }
    key.servedMs = nowMs;
    servedMs = nowMs;
    if (key.isStalled) keys.setStalled(key, false);
  }

  function pause(key: Key<Waiter>, untilMs: number): void {
    const nowMs = monotonicMs();
    const wholeBeforeMs = pauses.wholeUntilMs;
    pauses.tell(key.name, untilMs, nowMs);
    for (const one of pauses.wholeUntilMs > wholeBeforeMs ? keys.all() : [key]) {
      const leftMs = pauses.untilMs(one.name) - nowMs;
      settle(one);
      if (leftMs > LONGEST_PAUSE_MS) rejectAll(one, ({ backend }) => paused(backend, leftMs));
    }
    wakeAt(pauses.untilMs(key.name));
  }

  /** When a pause ends, if somebody waits for that. */
  function wakeAt(endMs: number | undefined): void {
    if (endMs !== undefined && endMs > monotonicMs() && turns.waiting > 0) alarm.ringAt(endMs);
  }

  function rejectAll(key: Key<Waiter>, why: (waiter: Waiter) => unknown): void {
    for (let turn = turns.nextOf(key.lane); turn !== undefined; turn = turns.nextOf(key.lane))
      turn.item.reject(why(turn.item));
    settle(key);
  }

  /** Where nothing is left to wait for, it is not set again: to stop it each time would cost more than a certificate. */
  function onAlarm(): void {
    const nowMs = monotonicMs();
    for (const name of pauses.end(nowMs)) {
      const key = keys.peek(name);
      if (key !== undefined) settle(key);
    }
    for (const key of keys.stalled()) settle(key);
    serve();
    for (const place of places) alarm.ringAt(place.check(nowMs));
    wakeAt(pauses.nextEndMs(nowMs));
  }

  function isIdle(): boolean {
    return turns.waiting + places.size === 0;
  }

  function describe({ mesh, name }: QueuedBackend): Waiting {
    return {
      ...{ mesh, backend: name, ofMesh: turns.waitingOf(mesh), inAll: turns.waiting },
      ...{ limit: limit.limit, perMs: throughput.perMs(monotonicMs()) },
    };
  }

  function paused(backend: QueuedBackend, leftMs: number): unknown {
    return pausedError(describe(backend), leftMs, new Date(clock.now().getTime() + leftMs));
  }

  /** Why it waits no longer. */
  function ended(backend: QueuedBackend, reason: unknown): unknown {
    if (!isDeadline(reason)) return reason;
    const leftMs = pauses.untilMs(backendId(backend)) - monotonicMs();
    return leftMs > 0 ? paused(backend, leftMs) : lateError(describe(backend), reason);
  }

  function mayWait(backend: QueuedBackend, signal: AbortSignal): void {
    if (isOver) throw closedError();
    if (signal.aborted) throw ended(backend, signal.reason);
    const leftMs = pauses.untilMs(backendId(backend)) - monotonicMs();
    if (leftMs > LONGEST_PAUSE_MS) throw paused(backend, leftMs);
    if (isFull({ ofMesh: turns.waitingOf(backend.mesh), inAll: turns.waiting })) throw tooManyError(describe(backend));
  }

  return {
    get isIdle() {
      return isIdle();
    },
    take: (backend, priority, signal) =>
      new Promise((resolve, reject) => {
        mayWait(backend, signal);
        const key = keys.get(backend);
        const askedMs = monotonicMs();
        let hasEnded = false;
        let isListening = false;
        const end = () => {
          hasEnded = true;
          if (isListening) signal.removeEventListener('abort', onAbort);
        };
        const turn = turns.add(key.lane, priority, {
          backend,
          key,
          signal,
          give(place) {
            end();
            backend.metrics?.waited(monotonicMs() - askedMs);
            resolve(place);
          },
          reject(error) {
            end();
            reject(error);
          },
        });
        const onAbort = () => {
          turns.remove(turn);
          settle(key);
          reject(ended(backend, signal.reason));
        };
        settle(key);
        serve();
        // Most come to their turn at once.
        if (hasEnded) return;
        isListening = true;
        signal.addEventListener('abort', onAbort, { once: true });
        wakeAt(pauses.untilMs(key.name));
      }),
    load(backend) {
      const key = keys.peek(backendId(backend));
      return { inFlight: key?.held ?? 0, queued: key?.lane.waiting.size ?? 0, limit: limit.limit };
    },
    close() {
      isOver = true;
      alarm.stop();
      for (const key of keys.all()) rejectAll(key, closedError);
    },
  };
}
