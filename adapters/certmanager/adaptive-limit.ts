/** What a request that held a place has shown about the load of cert-manager. */
export type Sample =
  /** It became ready; the time since the place was given counts. */
  | 'ready'
  /** It was throttled, or not served in time. */
  | 'overload'
  /** Nothing: refused, given up by its caller. */
  | 'nothing';

export interface Place {
  /**
   * The request waits for something that is not cert-manager's capacity (an approver, an issuer that is not there): the place goes to the next one,
   * so that one issuer that is not well does not stop the others. Idempotent.
   */
  park(): void;
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

/** Times to ready below this say nothing about a queue. */
const FLAT_MS = 250;
/** One cut for one cause: what was in flight then tells of it, too. */
const CUT_PAUSE_MS = 1_000;
/** How often the shortest time to ready is measured anew, with few in flight: a cert-manager may have become slower or quicker for good. */
const MEASURE_EVERY_MS = 120_000;

/** What is remembered between two decisions. Times in ms. */
export interface LimitState {
  readonly limit: number;
  /** Doubles until the first sign of a queue. */
  readonly isStarting: boolean;
  readonly shortestMs: number;
}

export interface Window {
  readonly meanMs: number;
  readonly shortestMs: number;
  /** The limit was what held requests back: only then can it be too low. */
  readonly isUsedUp: boolean;
}

/**
 * The rule, after TCP Vegas: with `limit` requests in flight, `limit * (1 - shortest / mean)` of them wait in cert-manager's queue. Few: one more,
 * or twice as many at the start. Many: fewer. So a stock cert-manager (7 a second) gets about six at a time, and a quick one up to `max`.
 */
export function nextLimit({ limit, isStarting, shortestMs }: LimitState, window: Window, max: number): LimitState {
  const base = Math.min(shortestMs, window.shortestMs);
  const queued = window.meanMs <= FLAT_MS ? 0 : limit * (1 - base / window.meanMs);
  const few = Math.max(2, Math.log2(limit));
  if (queued > 2 * few) return { limit: Math.max(1, Math.floor(limit * 0.8)), isStarting: false, shortestMs: base };
  if (queued > few) return { limit, isStarting: false, shortestMs: base };
  if (!window.isUsedUp) return { limit, isStarting, shortestMs: base };
  return { limit: Math.min(max, isStarting ? 2 * limit : limit + 1), isStarting, shortestMs: base };
}

/** For a new measurement: with a quarter of what was in flight, nothing of a queue is left. */
export function measureAnew({ limit }: LimitState): LimitState {
  return { limit: Math.max(1, Math.floor(limit / 4)), isStarting: true, shortestMs: Number.POSITIVE_INFINITY };
}

interface Waiter {
  give(): void;
}

export function createAdaptiveLimit(options: AdaptiveLimitOptions): AdaptiveLimit {
  const { monotonicMs, start = 8, max = 256, maxParked = 32 } = options;
  let state: LimitState = { limit: start, isStarting: true, shortestMs: Number.POSITIVE_INFINITY };
  let inFlight = 0;
  let mostInFlight = 0;
  let samples = { count: 0, sumMs: 0, shortestMs: Number.POSITIVE_INFINITY };
  let cutMs = Number.NEGATIVE_INFINITY;
  let measuredMs = monotonicMs();
  /** By key, in the order in which keys are served next. */
  const queues = new Map<string, Set<Waiter>>();
  const parked = new Map<string, number>();

  function note(sample: Sample, tookMs: number): void {
    // What was given before a new measurement stood in the old queue.
    const isOld = monotonicMs() - tookMs < measuredMs;
    if (sample === 'nothing' || (sample === 'ready' && isOld)) return;
    if (sample === 'overload') {
      const nowMs = monotonicMs();
      if (nowMs - cutMs < CUT_PAUSE_MS) return;
      cutMs = nowMs;
      state = { ...state, limit: Math.max(1, Math.floor(state.limit / 2)) };
      startWindow();
      return;
    }
    samples.count += 1;
    samples.sumMs += tookMs;
    samples.shortestMs = Math.min(samples.shortestMs, tookMs);
    if (samples.count < state.limit) return;
    const window = {
      meanMs: samples.sumMs / samples.count,
      shortestMs: samples.shortestMs,
      isUsedUp: mostInFlight >= state.limit,
    };
    state = nextLimit(state, window, max);
    if (monotonicMs() - measuredMs >= MEASURE_EVERY_MS) {
      measuredMs = monotonicMs();
      state = measureAnew(state);
    }
    startWindow();
  }

  function startWindow(): void {
    samples = { count: 0, sumMs: 0, shortestMs: Number.POSITIVE_INFINITY };
    mostInFlight = inFlight;
  }

  function serve(): void {
    while (inFlight < state.limit) {
      const next = [...queues].find(([key]) => (parked.get(key) ?? 0) < maxParked);
      if (next === undefined) return;
      const [key, queue] = next;
      const [waiter] = queue;
      queues.delete(key);
      if (waiter === undefined) continue;
      queue.delete(waiter);
      if (queue.size > 0) queues.set(key, queue);
      inFlight += 1;
      mostInFlight = Math.max(mostInFlight, inFlight);
      waiter.give();
    }
  }

  function createPlace(key: string): Place {
    const givenMs = monotonicMs();
    let is: 'in flight' | 'parked' | 'released' = 'in flight';
    return {
      park() {
        if (is !== 'in flight') return;
        is = 'parked';
        inFlight -= 1;
        parked.set(key, (parked.get(key) ?? 0) + 1);
        serve();
      },
      release(sample) {
        if (is === 'released') return;
        if (is === 'in flight') {
          inFlight -= 1;
          note(sample, monotonicMs() - givenMs);
        } else {
          const left = (parked.get(key) ?? 1) - 1;
          if (left === 0) parked.delete(key);
          else parked.set(key, left);
          if (sample === 'overload') note(sample, 0);
        }
        is = 'released';
        serve();
      },
    };
  }

  return {
    get limit() {
      return state.limit;
    },
    get inFlight() {
      return inFlight;
    },
    get waiting() {
      return [...queues.values()].reduce((sum, { size }) => sum + size, 0);
    },
    take(key, signal) {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        const queue = queues.get(key) ?? new Set<Waiter>();
        const onAbort = () => {
          queue.delete(waiter);
          if (queue.size === 0 && queues.get(key) === queue) queues.delete(key);
          reject(signal.reason);
        };
        const waiter: Waiter = {
          give() {
            signal.removeEventListener('abort', onAbort);
            resolve(createPlace(key));
          },
        };
        queue.add(waiter);
        queues.set(key, queue);
        signal.addEventListener('abort', onAbort, { once: true });
        serve();
      });
    },
  };
}
