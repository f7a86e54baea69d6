import { hash } from 'node:crypto';
import type { CertificateHolder } from '../store/store.ts';

/**
 * What a rotation that is under way says about a certificate that stands by all other rules, or is due only because another backend of the mesh
 * issues now. Costs nothing: it is asked on the hot path.
 *
 * `due`: it is this certificate's turn to be made anew. A Date: it stands until then. Undefined: the rotation does not care; the usual rules hold.
 */
export type ReissuePlan = (holder: CertificateHolder, now: Date) => 'due' | Date | undefined;

export interface ReissuePlans {
  /** Undefined: no rotation in this mesh. */
  of(mesh: string): ReissuePlan | undefined;
}

/**
 * `hold`: no certificate is made anew because of the rotation, whichever side issues. `spread`: one after the other. `at-once`: whoever asks.
 */
export type ReissueMode = 'hold' | 'spread' | 'at-once';

export interface ReissueOrderOptions {
  readonly mesh: string;
  /** Of the rotation: another one has another order. */
  readonly startedAt: Date;
  /** Certificates of the side that is to issue in the end are `target`, those that have to go `old`; undefined: neither. */
  readonly sideOf: (holder: CertificateHolder) => 'target' | 'old' | undefined;
  readonly mode: ReissueMode;
  /** Of those who get turns: first these, then the others. Data planes with old certificates; any others are due when they ask. */
  readonly first: readonly string[];
  readonly last?: readonly string[];
  /** The first turn; the others follow at `maxPerSecond`. */
  readonly beginAt: Date;
  readonly maxPerSecond: number;
}

export interface ReissueOrder {
  readonly plan: ReissuePlan;
  /** The last turn; undefined where there are no turns. */
  readonly endsAt: Date | undefined;
}

/** When who is to wait for something unknown looks again. */
const LOOK_AGAIN_MS = 30_000;
const SECOND_MS = 1_000;

/**
 * Gives every data plane with an old certificate its turn, in an order that is fixed by a hash: strangers to zones and names, so that the load is spread
 * over all of them. Whoever comes late gets a turn as soon as one is free: within any second at most `maxPerSecond` are due.
 */
export function createReissueOrder(options: ReissueOrderOptions): ReissueOrder {
  const { sideOf, mode } = options;
  if (mode === 'hold') return { plan: holdAll(sideOf), endsAt: undefined };
  if (mode === 'at-once')
    return { plan: (holder) => (sideOf(holder) === 'old' ? 'due' : undefined), endsAt: undefined };
  const ranks = rankAll(options);
  const turns = createTurns(ranks.size, options);
  return {
    plan(holder, now) {
      if (sideOf(holder) !== 'old') return undefined;
      const rank = ranks.get(holder.dataplane);
      return rank === undefined ? 'due' : turns.of(rank, now.getTime());
    },
    endsAt: ranks.size === 0 ? undefined : new Date(turns.momentMs(ranks.size - 1)),
  };
}

function holdAll(sideOf: ReissueOrderOptions['sideOf']): ReissuePlan {
  return (holder, now) => (sideOf(holder) === undefined ? undefined : new Date(now.getTime() + LOOK_AGAIN_MS));
}

function rankAll({ mesh, startedAt, first, last = [] }: ReissueOrderOptions): ReadonlyMap<string, number> {
  const seed = startedAt.toISOString();
  const inOrder = (dataplanes: readonly string[]) =>
    dataplanes
      .map((dataplane) => ({ dataplane, place: hash('sha256', `${mesh}/${dataplane}/${seed}`) }))
      .sort((a, b) => (a.place < b.place ? -1 : 1));
  const ranks = new Map<string, number>();
  for (const { dataplane } of [...inOrder(first), ...inOrder(last)]) ranks.set(dataplane, ranks.size);
  return ranks;
}

/** Turns by rank, and a count of those who took theirs, so that many who come late do not come together. */
function createTurns(count: number, { beginAt, maxPerSecond }: ReissueOrderOptions) {
  const beginMs = beginAt.getTime();
  const gapMs = SECOND_MS / maxPerSecond;
  /** One bit for each rank: it has had its turn, and may ask again. */
  const had = new Uint8Array(Math.ceil(count / 8));
  /** When the last `maxPerSecond` turns were taken, in a ring. */
  const taken = new Float64Array(Math.min(maxPerSecond, Math.max(1, count))).fill(Number.NEGATIVE_INFINITY);
  let oldest = 0;
  let left = count;
  /** The next turn that is offered to somebody who came too late for his own. */
  let offerMs = Number.NEGATIVE_INFINITY;

  const hasHad = (rank: number) => ((had[rank >> 3] ?? 0) & (1 << (rank & 7))) !== 0;
  const momentMs = (rank: number) => beginMs + Math.ceil(rank * gapMs);

  function take(rank: number, nowMs: number): void {
    had[rank >> 3] = (had[rank >> 3] ?? 0) | (1 << (rank & 7));
    taken[oldest] = nowMs;
    oldest = (oldest + 1) % taken.length;
    left -= 1;
  }

  return {
    momentMs,
    of(rank: number, nowMs: number): 'due' | Date {
      if (hasHad(rank)) return 'due';
      const turnMs = momentMs(rank);
      if (nowMs < turnMs) return new Date(turnMs);
      const freeMs = (taken[oldest] ?? Number.NEGATIVE_INFINITY) + SECOND_MS;
      if (nowMs >= freeMs) {
        take(rank, nowMs);
        return 'due';
      }
      // Those that ask again and again must not push the offers out of reach: the rest is done by then.
      const lastMs = freeMs + left * gapMs;
      offerMs = offerMs < freeMs || offerMs > lastMs ? freeMs : offerMs + gapMs;
      return new Date(Math.ceil(offerMs));
    },
  };
}
