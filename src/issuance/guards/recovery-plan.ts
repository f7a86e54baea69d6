import { hash } from 'node:crypto';

/**
 * Who may renew when, after a backend was held back as a whole. Those that have a certificate to go on with get slots: the ones that were
 * refused meanwhile evenly, by the end of their certificate; others, when they come, by chance of their name in what is left.
 */
export interface RecoveryPlan {
  /** The last slot, or the end of the time over which renewals are spread. Moves when more come than fit. */
  readonly endsAtMs: number;
  /**
   * When this data plane may ask. Stays what it is once told.
   * @param notAfterMs of the certificate that it goes on with
   */
  slot(dataplane: string, notAfterMs: number, nowMs: number): number;
  /** Data planes whose slot is still to come, with the end of their certificates. */
  waiting(nowMs: number): IterableIterator<readonly [string, number]>;
}

export interface RecoveryOptions {
  readonly startMs: number;
  /** From the start; more when the refused ones need more. */
  readonly spreadMs: number;
  /** Data plane -> end of its certificate. */
  readonly refused: ReadonlyMap<string, number>;
  /** Slots that are remembered. */
  readonly most?: number;
}

/** A recovered backend is not asked for more renewals than this, beside what cannot wait. */
export const SLOTS_PER_SECOND = 50;
/** Data planes that are remembered. */
export const MOST_REMEMBERED = 100_000;

/** In the year 4147: times a hundred thousand still a whole number. */
const LATEST_SECONDS = 2 ** 36 - 1;

interface Slot {
  readonly atMs: number;
  readonly notAfterMs: number;
}

export function createRecoveryPlan({
  startMs,
  spreadMs,
  refused,
  most = MOST_REMEMBERED,
}: RecoveryOptions): RecoveryPlan {
  const slots = new Map<string, Slot>();
  /** By whole seconds from the start. */
  const taken: number[] = [];
  /** Of a second without room: one to look at instead. */
  const next: number[] = [];
  const windowMs = Math.max(spreadMs, (refused.size / SLOTS_PER_SECOND) * 1000);
  let endsAtMs = startMs + windowMs;

  function take(dataplane: string, atMs: number, notAfterMs: number): void {
    slots.set(dataplane, { atMs, notAfterMs });
    const second = Math.floor((atMs - startMs) / 1000);
    const count = (taken[second] ?? 0) + 1;
    taken[second] = count;
    if (count >= SLOTS_PER_SECOND) next[second] = second + 1;
    endsAtMs = Math.max(endsAtMs, atMs);
  }

  /** This second, or the first one after it that has room. */
  function withRoom(second: number): number {
    let found = second;
    for (let on = next[found]; on !== undefined; on = next[found]) found = on;
    // Those that were passed point at what was found, so that a long full stretch is walked once.
    for (let at = second; at !== found; ) {
      const on = next[at] ?? found;
      next[at] = found;
      at = on;
    }
    return found;
  }

  function latecomer(dataplane: string, notAfterMs: number, nowMs: number): number {
    const chance = chanceOf(dataplane);
    if (slots.size >= most) return startMs + chance * windowMs;
    const wishedMs = nowMs + chance * (endsAtMs - nowMs);
    const wished = Math.floor((wishedMs - startMs) / 1000);
    const second = withRoom(wished);
    const atMs = second === wished ? wishedMs : startMs + (second + chance) * 1000;
    take(dataplane, atMs, notAfterMs);
    return atMs;
  }

  let index = 0;
  for (const [dataplane, notAfterMs] of byUrgency(refused)) {
    take(dataplane, startMs + (index / refused.size) * windowMs, notAfterMs);
    index += 1;
  }

  return {
    get endsAtMs() {
      return endsAtMs;
    },
    slot: (dataplane, notAfterMs, nowMs) =>
      nowMs >= endsAtMs ? nowMs : (slots.get(dataplane)?.atMs ?? latecomer(dataplane, notAfterMs, nowMs)),
    *waiting(nowMs) {
      for (const [dataplane, { atMs, notAfterMs }] of slots) if (atMs > nowMs) yield [dataplane, notAfterMs];
    },
  };
}

/**
 * The earliest end first. The whole seconds and the place in the list are sorted as one number, natively: comparing 100,000 pairs would stop
 * everything else for a tenth of a second.
 */
function* byUrgency(refused: ReadonlyMap<string, number>): Generator<readonly [string, number]> {
  const entries = [...refused];
  const keys = new Float64Array(entries.length);
  entries.forEach(([, notAfterMs], index) => {
    const seconds = Math.floor(notAfterMs / 1000) || 0;
    keys[index] = Math.min(Math.max(seconds, 0), LATEST_SECONDS) * entries.length + index;
  });
  for (const key of keys.sort()) {
    const entry = entries[key % entries.length];
    if (entry !== undefined) yield entry;
  }
}

/** A number in [0, 1), the same for the same name. */
function chanceOf(name: string): number {
  return hash('sha256', name, 'buffer').readUInt32BE(0) / 2 ** 32;
}
