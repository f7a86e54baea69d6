const SLOTS = 10;
const SLOT_MS = 1_000;

/** How much was done in the last ten seconds. */
export interface Throughput {
  count(nowMs: number): void;
  /** Per millisecond; 0 when nothing was done. */
  perMs(nowMs: number): number;
}

export function createThroughput(startMs: number): Throughput {
  const counts = new Array<number>(SLOTS).fill(0);
  let slot = Math.floor(startMs / SLOT_MS);

  function turnTo(nowMs: number): void {
    const now = Math.floor(nowMs / SLOT_MS);
    for (slot = Math.max(slot, now - SLOTS); slot < now; ) {
      slot += 1;
      counts[slot % SLOTS] = 0;
    }
  }

  return {
    count(nowMs) {
      turnTo(nowMs);
      counts[slot % SLOTS] = (counts[slot % SLOTS] ?? 0) + 1;
    },
    perMs(nowMs) {
      turnTo(nowMs);
      const ageMs = Math.min(nowMs - startMs, (SLOTS - 1) * SLOT_MS + (nowMs % SLOT_MS));
      return counts.reduce((sum, one) => sum + one, 0) / Math.max(ageMs, SLOT_MS);
    },
  };
}
