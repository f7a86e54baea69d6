import { isSameData } from '../../src/backends/is-same-data.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Clock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';

/** A clock that moves only when a test turns it. Sleepers and deadlines fire while it is turned. */
export interface FakeClock extends Clock {
  advance(ms: number): void;
  setTo(at: Date): void;
  /** Sleepers and deadlines that are set. */
  readonly pending: number;
  /** Until the next of them; undefined when there is none. */
  readonly msToNext: number | undefined;
}

interface Timer {
  readonly atMs: number;
  fire(): void;
}

export function createFakeClock(start: Date): FakeClock {
  let nowMs = start.getTime();
  const timers = new Set<Timer>();
  const at = (ms: number, fire: () => void) => {
    const timer = { atMs: nowMs + ms, fire };
    timers.add(timer);
    return () => timers.delete(timer);
  };
  function setTo(instant: Date): void {
    nowMs = instant.getTime();
    for (const timer of [...timers].sort((a, b) => a.atMs - b.atMs)) {
      if (timer.atMs > nowMs || !timers.delete(timer)) continue;
      timer.fire();
    }
  }
  return {
    now: () => new Date(nowMs),
    monotonicMs: () => nowMs - start.getTime(),
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        signal?.throwIfAborted();
        const cancel = at(ms, () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        });
        const onAbort = () => cancel() && reject(signal?.reason);
        signal?.addEventListener('abort', onAbort, { once: true });
      });
    },
    deadline(ms, parent) {
      const controller = new AbortController();
      const cancel = at(ms, () => controller.abort(new DOMException(`no answer within ${ms} ms`, 'TimeoutError')));
      const onParent = () => controller.abort(parent?.reason);
      if (parent?.aborted) onParent();
      else parent?.addEventListener('abort', onParent, { once: true });
      return {
        signal: controller.signal,
        clear() {
          cancel();
          parent?.removeEventListener('abort', onParent);
        },
      };
    },
    advance: (ms) => setTo(new Date(nowMs + ms)),
    setTo,
    get pending() {
      return timers.size;
    },
    get msToNext() {
      return timers.size === 0 ? undefined : Math.min(...[...timers].map(({ atMs }) => atMs)) - nowMs;
    },
  };
}

export interface TestDepsOptions<C extends IssuerDeps['clock']> {
  /** Only used in messages. */
  readonly mesh?: string;
  readonly secrets?: Readonly<Record<string, Buffer | string>>;
  /** Path -> content, for `file` data sources. */
  readonly files?: Readonly<Record<string, Buffer | string>>;
  readonly clock?: C;
  readonly random?: IssuerDeps['random'];
  readonly log?: IssuerDeps['log'];
  readonly settings?: Partial<IssuerDeps['settings']>;
  /** Default: of its own. Give one to two backends that are to share. */
  readonly shared?: IssuerDeps['shared'];
}

export interface TestDeps<C extends IssuerDeps['clock'] = FakeClock> extends IssuerDeps {
  readonly clock: C;
  /** The secrets there are now. A test may change them. */
  readonly stored: Map<string, Buffer>;
  /** How often something was to be created or replaced. */
  readonly writes: { count: number };
  /** Requests that went out to the backend. */
  readonly requests: { count: number };
  /** What a test calls after it has changed `stored`: tells those who follow secrets. */
  tellSecretsChanged(): void;
}

/** Where the fake clock starts: between two whole seconds, as real clocks stand. */
export const TEST_START = new Date('2026-09-01T12:00:00.250Z');

/** The defaults of `mesh-ca serve`. */
const TEST_SETTINGS: IssuerDeps['settings'] = {
  vaultTokenChangeCheckIntervalMs: 30_000,
  systemNamespace: 'kong-mesh-system',
  podName: '',
  podUid: '',
  acmpcaIssuesPerSecond: 25,
  acmpcaGetsPerSecond: 75,
};

/** Everything the registry hands to an adapter, in memory: honest about atomicity, quick, with a clock that a test turns. */
export function createTestDeps(): TestDeps;
export function createTestDeps<C extends IssuerDeps['clock'] = FakeClock>(options: TestDepsOptions<C>): TestDeps<C>;
export function createTestDeps(options: TestDepsOptions<IssuerDeps['clock']> = {}): TestDeps<IssuerDeps['clock']> {
  const mesh = options.mesh ?? 'default';
  const toMap = (entries: Readonly<Record<string, Buffer | string>> = {}) =>
    new Map(Object.entries(entries).map(([name, data]) => [name, Buffer.from(data)]));
  const stored = toMap(options.secrets);
  const files = toMap(options.files);
  const writes = { count: 0 };
  const requests = { count: 0 };
  const followers = new Set<() => void>();
  return {
    stored,
    writes,
    requests,
    onRequest() {
      requests.count += 1;
    },
    tellSecretsChanged() {
      for (const listener of [...followers]) listener();
    },
    shared: options.shared ?? createSharedResources(),
    settings: { ...TEST_SETTINGS, ...options.settings },
    clock: options.clock ?? createFakeClock(TEST_START),
    random: options.random ?? createSystemRandom(),
    log: options.log ?? silentLog,
    secrets: {
      onChange(listener) {
        const follower = () => listener();
        followers.add(follower);
        return () => void followers.delete(follower);
      },
      async read(name) {
        const data = stored.get(name);
        return data && Buffer.from(data);
      },
      async createTogether(secrets) {
        writes.count += 1;
        if ([...secrets.keys()].some((name) => stored.has(name))) return false;
        for (const [name, data] of secrets) stored.set(name, Buffer.from(data));
        return true;
      },
      async replace(name, before, after) {
        writes.count += 1;
        if (!isSameData(stored.get(name), before)) return false;
        stored.set(name, Buffer.from(after));
        return true;
      },
    },
    async load(source, { signal }) {
      signal.throwIfAborted();
      if (source.kind === 'inline') return source.inline;
      const data = source.kind === 'secret' ? stored.get(source.secret) : files.get(source.file);
      if (data !== undefined) return Buffer.from(data);
      const cause =
        source.kind === 'secret'
          ? `resource not found: type="Secret" name="${source.secret}" mesh="${mesh}"`
          : `file "${source.file}": no such file`;
      throw new ConfigError(`could not load data: ${cause}`, { fix: 'put the data there first' });
    },
  };
}
