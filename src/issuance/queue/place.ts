import { givenUp, type Outcome } from './outcome.ts';

/** What holding a place tells its queue. */
export interface PlaceHolder {
  /** It is in flight no longer, but not done. */
  onPark(): void;
  /** Asked once, when it has waited for long: whether it seems to wait for something else than capacity. */
  isStuck(): boolean;
  /** @param wasTold whether it was said to wait for something else: how long it took tells nothing */
  onRelease(outcome: Outcome, wasTold: boolean): void;
}

export interface PlaceOptions extends PlaceHolder {
  readonly givenMs: number;
  /** After which it is late. */
  readonly lateAfterMs: number;
  readonly isParked: boolean;
  /** Of the request that holds it. */
  readonly signal: AbortSignal;
}

/** One of the places of an endpoint, held by a request. */
export interface Place {
  /** It waits for something that is no capacity: the place goes to the next one. Idempotent. */
  park(): void;
  /** Idempotent. */
  release(outcome: Outcome): void;
  /** Does what is due. Returns when to look again. */
  check(nowMs: number): number;
}

/** Then it waits for something else, whatever becomes of others. */
const PARK_AFTER_MS = 10_000;
/** How long a request may still hold its place after its end: it should honour its signal at once. */
const GRACE_MS = 1_000;
const LOOK_EVERY_MS = 2_000;

export function createPlace(options: PlaceOptions): Place {
  const { givenMs, signal } = options;
  const parkAtMs = givenMs + PARK_AFTER_MS;
  let { isParked } = options;
  let isReleased = false;
  let wasTold = false;
  /** Undefined: it was told. */
  let lateAtMs: number | undefined = Math.min(givenMs + options.lateAfterMs, parkAtMs);
  let endsAtMs: number | undefined;

  function park(): void {
    if (isParked || isReleased) return;
    isParked = true;
    options.onPark();
  }

  function release(outcome: Outcome): void {
    if (isReleased) return;
    isReleased = true;
    options.onRelease(outcome, wasTold);
  }

  return {
    park() {
      wasTold = true;
      park();
    },
    release,
    check(nowMs) {
      if (signal.aborted) {
        endsAtMs ??= nowMs + GRACE_MS;
        if (nowMs >= endsAtMs) release(givenUp(signal));
        return endsAtMs;
      }
      if (isParked) return nowMs + LOOK_EVERY_MS;
      if (nowMs >= parkAtMs) park();
      else if (lateAtMs !== undefined && nowMs >= lateAtMs) {
        lateAtMs = undefined;
        if (options.isStuck()) park();
      }
      return Math.min(lateAtMs ?? parkAtMs, nowMs + LOOK_EVERY_MS);
    },
  };
}
