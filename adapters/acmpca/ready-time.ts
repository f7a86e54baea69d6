/**
 * Learns how long AWS takes for a certificate, so that the first look finds it finished, most times, and is not late. Pure; milliseconds.
 */
export class ReadyTime {
  #expectedMs: number;

  constructor(expectedMs = FIRST_GUESS_MS) {
    this.#expectedMs = expectedMs;
  }

  /** How long to wait before look number `look` (from 0), counted from the one before it, or from the call that asked. */
  delayMs(look: number): number {
    if (look === 0) return this.#expectedMs;
    return Math.min(LONGEST_MS, Math.max(SHORTEST_MS, (this.#expectedMs / 2) * GROWTH ** (look - 1)));
  }

  /** It was there `elapsedMs` after it was asked for, found by look number `look`. */
  learn(look: number, elapsedMs: number): void {
    // Found at once: perhaps it had been there for long, so a little sooner next time. Found later: it was not there at the look before.
    const sampleMs = look === 0 ? this.#expectedMs * SOONER : elapsedMs;
    const weight = look === 0 ? 1 : WEIGHT;
    this.#expectedMs = Math.min(
      LONGEST_MS,
      Math.max(LEAST_MS, this.#expectedMs + weight * (sampleMs - this.#expectedMs)),
    );
  }

  get expectedMs(): number {
    return this.#expectedMs;
  }
}

const FIRST_GUESS_MS = 200;
const LEAST_MS = 10;
const SHORTEST_MS = 50;
const LONGEST_MS = 2000;
const GROWTH = 1.6;
const SOONER = 0.97;
const WEIGHT = 0.3;
