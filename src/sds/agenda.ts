import { type Alarm, createAlarm } from '../issuance/queue/alarm.ts';
import { createHeap, type Heap } from '../issuance/queue/heap.ts';
import type { Clock } from '../runtime/clock.ts';

export interface Due {
  /** Milliseconds since 1970; `Infinity`: never. */
  readonly dueAtMs: number;
}

/** Looked at least so often: clocks are set. */
const LONGEST_SLEEP_MS = 60_000;
/** And at most so often: an item that is due again at once must not keep everything else from its turn. */
const SHORTEST_SLEEP_MS = 20;

/** When each of thousands is due, with one timer. */
export class Agenda<T extends Due> {
  readonly #clock: Clock;
  readonly #heap: Heap<T>;
  readonly #alarm: Alarm;
  readonly #onDue: (item: T) => void;

  /** @param onDue called with an item that is due, after it was taken out */
  constructor(clock: Clock, onDue: (item: T) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
    this.#heap = createHeap((one, other) => one.dueAtMs < other.dueAtMs);
    this.#alarm = createAlarm(clock, () => this.#ring());
  }

  /** To be called after each change of `dueAtMs`. */
  put(item: T): void {
    if (item.dueAtMs === Number.POSITIVE_INFINITY) this.#heap.delete(item);
    else this.#heap.put(item);
    this.#set();
  }

  delete(item: T): void {
    this.#heap.delete(item);
    if (this.#heap.size === 0) this.#alarm.stop();
  }

  close(): void {
    this.#alarm.stop();
  }

  #set(): void {
    const first = this.#heap.peek();
    if (first === undefined) return;
    const leftMs = first.dueAtMs - this.#clock.now().getTime();
    this.#alarm.ringAt(this.#clock.monotonicMs() + Math.min(Math.max(leftMs, SHORTEST_SLEEP_MS), LONGEST_SLEEP_MS));
  }

  #ring(): void {
    const nowMs = this.#clock.now().getTime();
    const due: T[] = [];
    for (let first = this.#heap.peek(); first !== undefined && first.dueAtMs <= nowMs; first = this.#heap.peek()) {
      this.#heap.delete(first);
      due.push(first);
    }
    for (const item of due) this.#onDue(item);
    this.#set();
  }
}
