import type { Backend } from '../../backends/backend.ts';
import type { Clock } from '../../runtime/clock.ts';
import { createAdaptiveLimit, createServiceTimes, type ServiceTimes, smooth } from './adaptive-limit.ts';
import { createAlarm } from './alarm.ts';
import { createFairTurns, type Lane, type Turn } from './fair-turns.ts';
import { isDeadline, type Outcome } from './outcome.ts';
import { createPauses } from './pauses.ts';
import { createPlace, type Place } from './place.ts';
import type { Priority } from './priority.ts';
import { cameTooLate, isClosed, isPaused, isTooMany, type Waiting } from './refusals.ts';
import { createThroughput } from './throughput.ts';

/** What a queue has to know of a backend. */
export type QueuedBackend = Pick<Backend, 'mesh' | 'name' | 'local' | 'endpoint' | 'concurrency' | 'metrics'>;

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

/** One backend of one mesh. */
interface Key {
  readonly name: string;
  readonly lane: Lane<Waiter>;
  readonly times: ServiceTimes;
  /** What its requests take lately, those that were parked included. */
  usualMs: number | undefined;
  /** Places that it holds, parked ones included. */
  held: number;
  parked: number;
  /** What it waits for is not capacity: its requests are parked from the start. */
  isStalled: boolean;
  servedMs: number;
}

interface Waiter {
  readonly backend: QueuedBackend;
  readonly key: Key;
  readonly signal: AbortSignal;
  give(place: Place): void;
  reject(error: unknown): void;
}

/** Parked requests that one backend may have; its next ones wait. */
const MAX_PARKED = 32;
/** Backends whose usual times are remembered while they want nothing. */
const MAX_IDLE_KEYS = 1_000;
/** Not done after this, or after several times what is usual: perhaps it waits for somebody, or there is no such issuer. */
const LATE_AFTER_MS = 2_000;
const SEVERAL = 4;
/** Who would have to wait for longer because of a pause is told so at once. */
const LONGEST_PAUSE_MS = 30_000;
/** A mesh that holds a place already leaves this part of them free while other meshes come, too: so that theirs need not wait for its to end. */
const SPARE_PART = 1 / 4;
const SHARED_FOR_MS = 60_000;
/** A place that is held for long costs its mesh up to so many times more. */
const MOST_EXTRA = 3;

export function createEndpointQueue(clock: Clock, { concurrency }: Pick<QueuedBackend, 'concurrency'>): EndpointQueue {
  const { monotonicMs } = clock;
  const limit = createAdaptiveLimit({ monotonicMs, concurrency });
  const turns = createFairTurns<Waiter>();
  const pauses = createPauses();
  const throughput = createThroughput(monotonicMs());
  const alarm = createAlarm(clock, onAlarm);
  const keys = new Map<string, Key>();
  const idleKeys = new Set<Key>();
  const stalledKeys = new Set<Key>();
  const places = new Set<Place>();
  let usualMs: number | undefined;
  let servedMs = Number.NEGATIVE_INFINITY;
  let lastMesh: string | undefined;
  /** When a place last went to another mesh than the one before. */
  let sharedMs = Number.NEGATIVE_INFINITY;
  let isOver = false;

  function keyFor(backend: QueuedBackend): Key {
    const name = nameOf(backend);
    const known = keys.get(name);
    if (known !== undefined) return known;
    const key: Key = {
      ...{ name, lane: turns.createLane(backend.mesh), times: createServiceTimes(), usualMs: undefined },
      ...{ held: 0, parked: 0, isStalled: false, servedMs: Number.NEGATIVE_INFINITY },
    };
    keys.set(name, key);
    return key;
  }

  /** To be called after every change of a key. */
  function settle(key: Key): void {
    const isPaused = pauses.ownUntilMs(key.name) > monotonicMs();
    turns.setOpen(key.lane, !key.isStalled && !isPaused && key.parked < MAX_PARKED);
    serveStalled(key);
    idleKeys.delete(key);
    if (key.held + key.lane.waiting.size > 0) return;
    idleKeys.add(key);
    const [oldest] = idleKeys;
    if (idleKeys.size <= MAX_IDLE_KEYS || oldest === undefined) return;
    idleKeys.delete(oldest);
    stalledKeys.delete(oldest);
    keys.delete(oldest.name);
    turns.removeLane(oldest.lane);
  }

  function setStalled(key: Key, isStalled: boolean): void {
    key.isStalled = isStalled;
    if (isStalled) stalledKeys.add(key);
    else stalledKeys.delete(key);
    settle(key);
  }

  /** Its requests take nobody's place. */
  function serveStalled(key: Key): void {
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
      const turn = turns.next(limit.limit - limit.inFlight <= spare());
      if (turn === undefined) break;
      noteMesh(turn.item.backend.mesh);
      limit.enter();
      give(turn, false);
    }
    if (turns.isWanted) limit.wanted();
  }

  function spare(): number {
    return monotonicMs() - sharedMs < SHARED_FOR_MS ? Math.floor(limit.limit * SPARE_PART) : 0;
  }

  function noteMesh(mesh: string): void {
    if (lastMesh !== undefined && lastMesh !== mesh) sharedMs = monotonicMs();
    lastMesh = mesh;
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
      ...{ givenMs, isParked, signal },
      lateAfterMs: Math.max(LATE_AFTER_MS, SEVERAL * (key.usualMs ?? 0)),
      isStuck() {
        // Others of its kind come through: it stands in a queue.
        if (key.servedMs >= givenMs) return false;
        // Only others come through: it is no matter of the endpoint.
        if (servedMs >= givenMs) setStalled(key, true);
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
        if (isIdle()) alarm.stop();
      },
    });
    places.add(place);
    alarm.ringAt(place.check(givenMs));
    turn.item.give(place);
  }

  function extraOf(heldMs: number): number {
    if (usualMs === undefined) return 0;
    return Math.max(0, Math.min(MOST_EXTRA, heldMs / Math.max(usualMs, 1) - 1));
  }

  interface Held {
    readonly givenMs: number;
    readonly wasInFlight: boolean;
    readonly wasTold: boolean;
  }

  function learn(key: Key, outcome: Outcome, { givenMs, wasInFlight, wasTold }: Held): void {
    const nowMs = monotonicMs();
    if (outcome.kind === 'throttled') {
      limit.congested('throttled');
      if (outcome.retryAfterMs !== undefined) pause(key, nowMs + outcome.retryAfterMs);
    }
    // One that is parked while others come through has its own trouble.
    if (outcome.kind === 'timed-out' && (wasInFlight || (!wasTold && servedMs < givenMs))) limit.congested('timed-out');
    if (outcome.kind !== 'served') return;
    throughput.count(nowMs);
    if (wasInFlight) limit.served(key.times, givenMs);
    if (!wasTold) {
      key.usualMs = smooth(key.usualMs, nowMs - givenMs);
      usualMs = smooth(usualMs, nowMs - givenMs);
    }
    key.servedMs = nowMs;
    servedMs = nowMs;
    if (key.isStalled) setStalled(key, false);
  }

  function pause(key: Key, untilMs: number): void {
    const nowMs = monotonicMs();
    const wholeBeforeMs = pauses.wholeUntilMs;
    pauses.tell(key.name, untilMs, nowMs);
    for (const one of pauses.wholeUntilMs > wholeBeforeMs ? keys.values() : [key]) {
      const leftMs = pauses.untilMs(one.name) - nowMs;
      settle(one);
      if (leftMs > LONGEST_PAUSE_MS) rejectAll(one, ({ backend }) => paused(backend, leftMs));
    }
    wakeAfterPause();
  }

  function wakeAfterPause(): void {
    const endMs = turns.waiting === 0 ? undefined : pauses.nextEndMs(monotonicMs());
    if (endMs !== undefined) alarm.ringAt(endMs);
  }

  function rejectAll(key: Key, why: (waiter: Waiter) => unknown): void {
    for (let turn = turns.nextOf(key.lane); turn !== undefined; turn = turns.nextOf(key.lane))
      turn.item.reject(why(turn.item));
    settle(key);
  }

  function onAlarm(): void {
    const nowMs = monotonicMs();
    for (const name of pauses.end(nowMs)) {
      const key = keys.get(name);
      if (key !== undefined) settle(key);
    }
    for (const key of stalledKeys) settle(key);
    serve();
    for (const place of places) alarm.ringAt(place.check(nowMs));
    wakeAfterPause();
    if (isIdle()) alarm.stop();
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
    return isPaused(describe(backend), leftMs, new Date(clock.now().getTime() + leftMs));
  }

  /** Why it waits no longer. */
  function ended(backend: QueuedBackend, reason: unknown): unknown {
    if (!isDeadline(reason)) return reason;
    const leftMs = pauses.untilMs(nameOf(backend)) - monotonicMs();
    return leftMs > 0 ? paused(backend, leftMs) : cameTooLate(describe(backend), reason);
  }

  function mayWait(backend: QueuedBackend, signal: AbortSignal): void {
    if (isOver) throw isClosed();
    if (signal.aborted) throw ended(backend, signal.reason);
    const leftMs = pauses.untilMs(nameOf(backend)) - monotonicMs();
    if (leftMs > LONGEST_PAUSE_MS) throw paused(backend, leftMs);
    const tooMany = isTooMany(describe(backend));
    if (tooMany !== undefined) throw tooMany;
  }

  return {
    get isIdle() {
      return isIdle();
    },
    take: (backend, priority, signal) =>
      new Promise((resolve, reject) => {
        mayWait(backend, signal);
        const key = keyFor(backend);
        const askedMs = monotonicMs();
        const onAbort = () => {
          turns.remove(turn);
          settle(key);
          if (isIdle()) alarm.stop();
          reject(ended(backend, signal.reason));
        };
        signal.addEventListener('abort', onAbort, { once: true });
        const turn = turns.add(key.lane, priority, {
          ...{ backend, key, signal },
          give(place) {
            signal.removeEventListener('abort', onAbort);
            backend.metrics?.waited(monotonicMs() - askedMs);
            resolve(place);
          },
          reject(error) {
            signal.removeEventListener('abort', onAbort);
            reject(error);
          },
        });
        settle(key);
        serve();
        wakeAfterPause();
      }),
    load(backend) {
      const key = keys.get(nameOf(backend));
      return { inFlight: key?.held ?? 0, queued: key?.lane.waiting.size ?? 0, limit: limit.limit };
    },
    close() {
      isOver = true;
      alarm.stop();
      for (const key of keys.values()) rejectAll(key, isClosed);
    },
  };
}

function nameOf({ mesh, name }: QueuedBackend): string {
  return `${mesh}/${name}`;
}
