import type { Backend } from '../../backends/backend.ts';
import { backendId } from '../../backends/backend-rows.ts';
import type { FairTurns, Lane } from './fair-turns.ts';
import { createServiceTimes, type ServiceTimes } from './service-times.ts';

/** What a queue has to know of a backend. */
export type QueuedBackend = Pick<Backend, 'mesh' | 'name' | 'local' | 'endpoint' | 'concurrency' | 'metrics'>;

/** One backend of one mesh, as the queue of its endpoint sees it. */
export interface Key<T> {
  readonly name: string;
  readonly lane: Lane<T>;
  /** Of those that were in flight. */
  readonly times: ServiceTimes;
  /** Those that were parked included. */
  readonly allTimes: ServiceTimes;
  /** Places that it holds, parked ones included. */
  held: number;
  parked: number;
  /** What it waits for is not capacity: its requests are parked from the start. */
  isStalled: boolean;
  servedMs: number;
}

/** The backends of one endpoint. */
export interface Keys<T> {
  /** Made when it is not known. */
  get(backend: QueuedBackend): Key<T>;
  peek(name: string): Key<T> | undefined;
  all(): Iterable<Key<T>>;
  /** Those of which nothing gets through. */
  stalled(): Iterable<Key<T>>;
  setStalled(key: Key<T>, isStalled: boolean): void;
  /** To be called when it may have become idle, or is so no longer: of those who want nothing only some are remembered. */
  settle(key: Key<T>): void;
}

const MAX_IDLE = 1_000;

export function createKeys<T>(turns: FairTurns<T>): Keys<T> {
  const keys = new Map<string, Key<T>>();
  const stalled = new Set<Key<T>>();
  /** The one that is idle for longest first. */
  const idle = new Set<Key<T>>();

  return {
    get(backend) {
      const name = backendId(backend);
      const known = keys.get(name);
      if (known !== undefined) return known;
      const key: Key<T> = {
        ...{ name, lane: turns.createLane(backend.mesh), times: createServiceTimes(), allTimes: createServiceTimes() },
        ...{ held: 0, parked: 0, isStalled: false, servedMs: Number.NEGATIVE_INFINITY },
      };
      keys.set(name, key);
      return key;
    },
    peek: (name) => keys.get(name),
    all: () => keys.values(),
    stalled: () => stalled,
    setStalled(key, isStalled) {
      key.isStalled = isStalled;
      if (isStalled) stalled.add(key);
      else stalled.delete(key);
    },
    settle(key) {
      idle.delete(key);
      if (key.held + key.lane.waiting.size > 0) return;
      idle.add(key);
      const [oldest] = idle;
      if (idle.size <= MAX_IDLE || oldest === undefined) return;
      idle.delete(oldest);
      stalled.delete(oldest);
      keys.delete(oldest.name);
      turns.removeLane(oldest.lane);
    },
  };
}
