import {
  type BackendGuards,
  createBackendGuards,
  type GuardedBackend,
  type GuardedRequest,
  type Permit,
} from '../../../src/issuance/guards/backend-guards.ts';
import { CaError, IssuerUnavailableError } from '../../../src/issuer/errors.ts';
import type { Clock } from '../../../src/runtime/clock.ts';
import { createMemoryStore } from '../../../src/store/memory/memory-store.ts';
import type { Store } from '../../../src/store/store.ts';
import { createFakeClock, type FakeClock } from '../../conformance/issuer-deps.ts';
import { createListLog, type LogLine } from '../../support/list-log.ts';
import { passTime, settle } from '../../support/pass-time.ts';

export const LIMITS = { backoffBaseMs: 5000, backoffMaxMs: 300_000, breakerDataplanes: 3, recoverySpreadMs: 60_000 };
export const BACKEND: GuardedBackend = {
  mesh: 'default',
  name: 'v1',
  type: 'vault',
  hash: 'h1',
  local: false,
  isRetired: false,
};
/** On a whole second, so that times in messages are easy to read. */
export const START = new Date('2026-09-01T12:00:00.000Z');
const START_MS = START.getTime();

/** The guards on a store and a clock that a test turns; they can be stopped and started again. */
export interface GuardWorld {
  /** Those of the process that runs now. */
  readonly guards: BackendGuards;
  readonly store: Store;
  readonly clock: FakeClock;
  readonly lines: LogLine[];
  /** Since the start of the test. */
  readonly nowMs: number;
  /** What chance gives each time. */
  chance: number;
  /** What the wall clock is ahead of the true time. */
  skewMs: number;
  /** The permit, or why there is none. */
  ask(dataplane: string, more?: Partial<GuardedRequest>, backend?: GuardedBackend): Permit | CaError;
  /** @throws when it is not let through */
  fail(dataplane: string, error?: unknown, more?: Partial<GuardedRequest>): void;
  /** @throws when it is let through */
  refused(dataplane: string, more?: Partial<GuardedRequest>): CaError;
  /** Opens the breaker by so many data planes `x-1`, ... as are needed. */
  open(error?: () => CaError): void;
  /** Body of what stands in the store. */
  stored(name?: string): Promise<string | undefined>;
  putSecret(mesh: string): Promise<void>;
  pass(ms: number): Promise<void>;
  /** The process ends and another one starts, with clocks of its own. @param how `killed`: nothing is written at the end */
  restart(how?: 'stopped' | 'killed', downMs?: number): Promise<void>;
  close(): Promise<void>;
}

export interface GuardWorldOptions {
  readonly store?: (clock: Clock) => Promise<Store>;
  /** The store is closed and opened again by a restart. */
  readonly reopens?: boolean;
  readonly limits?: Partial<typeof LIMITS>;
}

export async function startGuards(options: GuardWorldOptions = {}): Promise<GuardWorld> {
  const turned = createFakeClock(START);
  let bootMs = 0;
  let skewMs = 0;
  const clock: Clock = {
    ...turned,
    now: () => new Date(turned.now().getTime() + skewMs),
    // That of a new process starts anywhere.
    monotonicMs: () => turned.monotonicMs() - bootMs,
  };
  let store = await (options.store?.(clock) ?? createMemoryStore({ clock }));
  const lines: LogLine[] = [];
  const log = createListLog(lines);
  const limits = { ...LIMITS, ...options.limits };
  const random = { uniform: () => world.chance };
  const create = () => createBackendGuards({ store, clock, random, log, limits });
  let guards = create();

  const world: GuardWorld = {
    get guards() {
      return guards;
    },
    get store() {
      return store;
    },
    clock: turned,
    lines,
    get nowMs() {
      return turned.now().getTime() - START_MS;
    },
    chance: 0,
    get skewMs() {
      return skewMs;
    },
    set skewMs(ms) {
      skewMs = ms;
    },
    ask(dataplane, more, backend = BACKEND) {
      const request = { dataplane, fingerprint: 'f', ...more };
      try {
        const permit = guards.admit(backend, request);
        return permit;
      } catch (error) {
        if (!(error instanceof CaError)) throw error;
        return error;
      }
    },
    fail(dataplane, error = unavailable(), more = {}) {
      const permit = world.ask(dataplane, more);
      if (permit instanceof CaError) throw permit;
      permit.failed(error);
    },
    refused(dataplane, more) {
      const permit = world.ask(dataplane, more);
      if (permit instanceof CaError) return permit;
      permit.given();
      throw new Error(`${dataplane} was let through`);
    },
    open(error = unavailable) {
      for (let i = 1; i <= limits.breakerDataplanes; i++) world.fail(`x-${i}`, error());
    },
    stored: async (name = BACKEND.name) =>
      (await store.getResource({ type: 'BackendState', mesh: BACKEND.mesh, name }))?.body,
    async putSecret(mesh) {
      await store.putResource({ type: 'Secret', mesh, name: 'token', body: '{}' });
      await settle();
    },
    pass: (ms) => passTime(turned, ms),
    async restart(how = 'stopped', downMs = 0) {
      await settle();
      if (how === 'stopped') {
        await guards.close();
        if (options.reopens === true && options.store !== undefined) {
          await store.close();
          store = await options.store(clock);
        }
      }
      turned.advance(downMs);
      bootMs += 12_345;
      guards = create();
      await guards.restore();
    },
    async close() {
      await guards.close();
      await store.close();
    },
  };
  await store.putResource({ type: 'Mesh', mesh: '', name: BACKEND.mesh, body: '{}' });
  return world;
}

export function unavailable(retryAfterMs?: number): IssuerUnavailableError {
  return new IssuerUnavailableError('issuer(vault v1): vault at https://vault:8200 is sealed', {
    fix: 'unseal it',
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

/** With a certificate to go on with until then. */
export function holding(notAfter: Date | number, urgent = false): Partial<GuardedRequest> {
  return { instead: { notAfter: new Date(notAfter), urgent } };
}
