import { type Delays, nextLimit } from './next-limit.ts';

/** What a request that held a place has shown about the load of cert-manager. */
export type Sample =
  /** It became ready; the time since the place was given counts. */
  | 'ready'
  /** It was throttled. */
  | 'throttled'
  /** Nothing: refused, given up by its caller. */
  | 'nothing';

export interface Place {
  /**
   * The request waits for something that is not cert-manager's capacity (an approver, an issuer that is not there): the place goes to the next one,
   * so that one issuer that is not well does not stop the others. Idempotent.
   */
  park(): void;
  /** It waits for long. Parked when nothing of its key became ready since it was given its place; then the key is stalled until something does. */
  late(): void;
  /** Idempotent. */
  release(sample: Sample): void;
}

export interface AdaptiveLimitOptions {
  /** Milliseconds that only grow. */
  readonly monotonicMs: () => number;
  readonly start?: number;
  readonly max?: number;
  /** Parked requests that one key may have; the next ones of that key wait. */
  readonly maxParked?: number;
}

export interface AdaptiveLimit {
  /** How many may be in flight now. */
  readonly limit: number;
  readonly inFlight: number;
  readonly waiting: number;
  /** Places are given in turn to the keys that wait, and first come, first served within a key. Rejects with the signal's reason. */
  take(key: string, signal: AbortSignal): Promise<Place>;
}

/** One cut for one cause: what was in flight then tells of it, too. */
const CUT_PAUSE_MS = 1_000;
/** How often the shortest time to ready is measured anew, while there seems to be a queue: an issuer may have become slower for good. */
const MEASURE_EVERY_MS = 120_000;
const MEASURE_WITH = 4;
/** So many requests that became ready, or all that were in flight, decide about the limit. */
const WINDOW = 16;
const MAX_REMEMBERED_KEYS = 1_000;

interface Key {
  readonly waiting: Set<Waiter>;
  inFlight: number;
  parked: number;
  /** What it waits for is not capacity: its requests are parked from the start. */
  isStalled: boolean;
  readyMs: number;
  /** Shortest time to ready: what its issuer takes when nothing is queued. */
  shortestMs: number;
}

interface Waiter {
  give(): void;
}

/** In what order, and how many at a time, requests of several issuers (`key`) go to one cert-manager. */
export function createAdaptiveLimit(options: AdaptiveLimitOptions): AdaptiveLimit {
  const { monotonicMs, start = 8, max = 256, maxParked = 32 } = options;
  /** In the order in which they are served next. */
  const keys = new Map<string, Key>();
  let limit = start;
  let inFlight = 0;
  let waiting = 0;
  let mostInFlight = 0;
  let delays = { count: 0, sumMs: 0 };
  let throttledMs = Number.NEGATIVE_INFINITY;
  let measuredMs = monotonicMs();
  /** Of the limit. Places given before tell of what was in flight before. */
  let changedMs = Number.NEGATIVE_INFINITY;

  function keyFor(name: string): Key {
    const known = keys.get(name);
    if (known !== undefined) return known;
    if (keys.size >= MAX_REMEMBERED_KEYS) forgetOne();
    const key: Key = {
      ...{ waiting: new Set(), inFlight: 0, parked: 0, isStalled: false },
      ...{ readyMs: Number.NEGATIVE_INFINITY, shortestMs: Number.POSITIVE_INFINITY },
    };
    keys.set(name, key);
    return key;
  }

  function forgetOne(): void {
    for (const [name, key] of keys) {
      if (key.waiting.size + key.inFlight + key.parked > 0) continue;
      keys.delete(name);
      return;
    }
  }

  function change(next: number): void {
    limit = Math.max(1, next);
    changedMs = monotonicMs();
    startWindow();
  }

  function noteReady(key: Key, givenMs: number): void {
    const nowMs = monotonicMs();
    if (givenMs < changedMs) return;
    key.shortestMs = Math.min(key.shortestMs, nowMs - givenMs);
    delays.count += 1;
    delays.sumMs += nowMs - givenMs - key.shortestMs;
    if (delays.count < Math.min(mostInFlight, WINDOW)) return;
    const window: Delays = { meanMs: delays.sumMs / delays.count, isUsedUp: mostInFlight >= limit };
    const next = nextLimit(limit, window, max);
    if (next > limit) change(next);
    else if (nowMs - measuredMs >= MEASURE_EVERY_MS) measureAnew();
    else if (next < limit) change(next);
    else startWindow();
  }

  /** With so few in flight, next to nothing of a queue is left. */
  function measureAnew(): void {
    measuredMs = monotonicMs();
    for (const key of keys.values()) key.shortestMs = Number.POSITIVE_INFINITY;
    change(Math.min(MEASURE_WITH, Math.floor(limit / 4)));
  }

  function noteThrottled(): void {
    const nowMs = monotonicMs();
    if (nowMs - throttledMs < CUT_PAUSE_MS) return;
    throttledMs = nowMs;
    change(Math.floor(limit / 2));
  }

  function startWindow(): void {
    delays = { count: 0, sumMs: 0 };
    mostInFlight = inFlight;
  }

  function isServed({ waiting: own, parked, isStalled }: Key): boolean {
    return own.size > 0 && parked < maxParked && (isStalled || inFlight < limit);
  }

  function serve(): void {
    while (waiting > 0) {
      const next = [...keys].find(([, key]) => isServed(key));
      if (next === undefined) return;
      const [name, key] = next;
      const [waiter] = key.waiting;
      if (waiter === undefined) return;
      key.waiting.delete(waiter);
      waiting -= 1;
      keys.delete(name);
      keys.set(name, key);
      if (key.isStalled) key.parked += 1;
      else {
        key.inFlight += 1;
        inFlight += 1;
        mostInFlight = Math.max(mostInFlight, inFlight);
      }
      waiter.give();
    }
  }

  function createPlace(key: Key): Place {
    const givenMs = monotonicMs();
    let is: 'in flight' | 'parked' | 'released' = key.isStalled ? 'parked' : 'in flight';
    const leave = () => {
      if (is === 'parked') key.parked -= 1;
      else {
        key.inFlight -= 1;
        inFlight -= 1;
      }
    };
    const park = () => {
      if (is !== 'in flight') return;
      leave();
      is = 'parked';
      key.parked += 1;
      serve();
    };
    return {
      park,
      late() {
        if (is !== 'in flight' || key.readyMs >= givenMs) return;
        key.isStalled = true;
        park();
      },
      release(sample) {
        if (is === 'released') return;
        leave();
        if (sample === 'ready') {
          key.isStalled = false;
          key.readyMs = monotonicMs();
          if (is === 'in flight') noteReady(key, givenMs);
        }
        if (sample === 'throttled') noteThrottled();
        is = 'released';
        serve();
      },
    };
  }

  return {
    get limit() {
      return limit;
    },
    get inFlight() {
      return inFlight;
    },
    get waiting() {
      return waiting;
    },
    take(name, signal) {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const key = keyFor(name);
        const onAbort = () => {
          if (key.waiting.delete(waiter)) waiting -= 1;
          reject(signal.reason);
        };
        const waiter: Waiter = {
          give() {
            signal.removeEventListener('abort', onAbort);
            resolve(createPlace(key));
          },
        };
        key.waiting.add(waiter);
        waiting += 1;
        signal.addEventListener('abort', onAbort, { once: true });
        serve();
      });
    },
  };
}
