import type { Backend } from '../../backends/backend.ts';
import { type BackendKey, backendId, createBackendRows } from '../../backends/backend-rows.ts';
import type { ErrorCode, Hold } from '../../issuer/errors.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { Store, StoredResource } from '../../store/store.ts';
import type { Moment } from './back-off.ts';
import { BackendGuard, type GuardedRequest, type GuardRules } from './backend-guard.ts';
import { type Breaker, type BreakerPhase, breakerPhase } from './breaker.ts';
import { readFailure } from './failure.ts';
import { readGuard, writeGuard } from './guard-body.ts';
import { holdError } from './hold-error.ts';

export type { GuardedRequest } from './backend-guard.ts';

export type GuardedBackend = Pick<Backend, 'mesh' | 'name' | 'type' | 'hash' | 'local' | 'isRetired'>;

/** The right to ask a backend once. The first call of one of these counts, the others do nothing. */
export interface Permit {
  succeeded(): void;
  /** With what the request ended. Not for what its caller, or our own stop, ended: that is `given`. */
  failed(error: unknown): void;
  /** Given back: the backend was not asked, or nobody waited for its answer. */
  given(): void;
}

export interface GuardState {
  /** `half-open`: its wait is over, one request may try, or is trying. */
  readonly breaker: Hold['breaker'];
  /** Data planes that are held by failures of their own. */
  readonly held: number;
  /** When one request is let through again; set while the breaker is open. */
  readonly retryAt?: Date;
  readonly cause?: { readonly code: ErrorCode; readonly message: string };
}

/**
 * Keeps failing backends from being asked: back-off for each data plane, a circuit breaker for each backend, and a recovery without a herd.
 * Backends that sign in this process are let be.
 */
export interface BackendGuards {
  /** Reads what was stored before the restart. Called once, before requests are served. */
  restore(): Promise<void>;
  /**
   * @throws CaError when the backend must not be asked now: the class and code of the failure that led to it, its message and fix,
   * `retryAfterMs` until it may be, and `hold`
   */
  check(backend: GuardedBackend, request: GuardedRequest): void;
  /**
   * `check` once more, at the moment of asking; takes the one place that a half-open breaker has. The permit must be brought to its end.
   * @throws CaError as `check`
   */
  admit(backend: GuardedBackend, request: GuardedRequest): Permit;
  /** A proof by a test certificate has passed: the breaker closes, holds are lifted. */
  recovered(backend: GuardedBackend): void;
  state(backend: GuardedBackend): GuardState;
  /** Stores what is not stored yet, and ends all timers. Idempotent. */
  close(): Promise<void>;
}

export interface BackendGuardsOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uniform'>;
  readonly log: Log;
  readonly limits: GuardRules;
}

/** How often what is over is dropped. */
const SWEEP_MS = 30_000;

const NO_PERMIT: Permit = { succeeded() {}, failed() {}, given() {} };
const WELL: GuardState = { breaker: 'closed', held: 0 };
const PHASES: Readonly<Record<BreakerPhase, Hold['breaker']>> = {
  closed: 'closed',
  open: 'open',
  due: 'half-open',
  trial: 'half-open',
};

interface Guarded {
  readonly key: BackendKey;
  readonly guard: BackendGuard;
}

export function createBackendGuards({ store, clock, random, log, limits }: BackendGuardsOptions): BackendGuards {
  /** Backends that are not well, or were not a moment ago; the others do not stand here. */
  const guards = new Map<string, Guarded>();
  const closing = new AbortController();
  const rows = createBackendRows({
    type: 'BackendState',
    store,
    clock,
    log,
    bodyOf: (key) => {
      const known = guards.get(backendId(key));
      return known === undefined || known.guard.isIdle ? undefined : writeGuard(known.guard, instant());
    },
    onGone: (key) => void guards.delete(backendId(key)),
  });
  const stopListening = store.onChange((change) => {
    if (change.kind === 'unknown') for (const mesh of meshesOf(guards)) void followMesh(mesh);
    else if (change.key.type === 'Mesh') void followMesh(change.key.name);
    else if (change.key.type === 'Secret') tryAgain(change.key.mesh);
  });
  let permits = 0;
  let isSweeping = false;

  const moment = (): Moment => ({ nowMs: clock.monotonicMs(), chance: random.uniform() });
  const instant = () => ({ nowMs: clock.monotonicMs(), wallMs: clock.now().getTime() });

  /** What is known about the backend as it is configured now. */
  function find(backend: GuardedBackend): BackendGuard | undefined {
    const id = backendId(backend);
    const known = guards.get(id);
    if (known === undefined || known.guard.hash === backend.hash) return known?.guard;
    // Who still holds the backend as it was before knows nothing of it as it is now.
    if (backend.isRetired) return undefined;
    guards.delete(id);
    rows.changed(known.key, 'soon');
    return undefined;
  }

  /** @throws CaError when something stands against the request */
  function pass(backend: GuardedBackend, guard: BackendGuard, request: GuardedRequest): void {
    const nowMs = clock.monotonicMs();
    const holding = guard.hold(request, nowMs);
    if (holding === undefined) return;
    throw holdError(holding, {
      prefix: `issuer(${backend.type} ${backend.name}): `,
      request,
      breaker: PHASES[breakerPhase(guard.breaker, nowMs)],
      // A caller cannot wait for a part of a millisecond.
      leftMs: Math.ceil(holding.untilMs - nowMs),
      now: clock.now(),
    });
  }

  /**
   * Runs an event on what is known of the backend, or on something new when the event makes it worth knowing. What happened to an older conf does
   * not count. The event tells whether there is something to store.
   */
  function apply(backend: GuardedBackend, event: (guard: BackendGuard) => boolean, { isNew = false } = {}): void {
    const id = backendId(backend);
    const known = guards.get(id);
    if (known === undefined ? !isNew : known.guard.hash !== backend.hash) return;
    const guard = known?.guard ?? new BackendGuard(backend.hash, limits, clock.monotonicMs());
    const before = guard.breaker;
    if (!event(guard)) return;
    const key = { mesh: backend.mesh, name: backend.name };
    if (guard.isOver(clock.monotonicMs())) guards.delete(id);
    else guards.set(id, { key, guard });
    const after = guard.breaker;
    const hasTurned = before !== after && (before.state === 'open' || after.state === 'open');
    rows.changed(key, hasTurned ? 'now' : 'soon');
    tell(backend, before, after);
    sweepLater();
  }

  function tell({ mesh, name, type }: GuardedBackend, before: Breaker, after: Breaker): void {
    const labels = { mesh, backend: name, type };
    if (before.state === 'closed' && after.state === 'open') {
      const { dataplanes, cause } = after;
      log.warn(
        { ...labels, dataplanes, code: cause.code, cause: cause.message },
        'backend is held back: it fails for all',
      );
    } else if (before.state === 'open' && after.state === 'closed') {
      log.info(labels, 'backend is well again');
    }
  }

  function sweepLater(): void {
    if (isSweeping || guards.size === 0) return;
    isSweeping = true;
    clock.sleep(SWEEP_MS, closing.signal).then(sweep, () => {});
  }

  function sweep(): void {
    isSweeping = false;
    const nowMs = clock.monotonicMs();
    for (const [id, { key, guard }] of guards) {
      if (guard.prune(nowMs)) rows.changed(key, 'soon');
      if (guard.isOver(nowMs)) guards.delete(id);
    }
    sweepLater();
  }

  /** A mesh that is gone takes what is known about its backends with it. */
  async function followMesh(mesh: string): Promise<void> {
    if (!meshesOf(guards).has(mesh)) return;
    const found = await store.getResource({ type: 'Mesh', mesh: '', name: mesh }).catch(() => 'unknown');
    if (found !== undefined) return;
    for (const [id, { key }] of guards) if (key.mesh === mesh) guards.delete(id);
  }

  /** A secret of the mesh was changed, perhaps the very token that was refused. */
  function tryAgain(mesh: string): void {
    for (const [id, { key, guard }] of guards) {
      if (key.mesh !== mesh || !guard.mayTryNow(moment())) continue;
      if (guard.isIdle) guards.delete(id);
      rows.changed(key, 'soon');
    }
  }

  function restoreOne({ mesh, name, body }: StoredResource): void {
    const key = { mesh, name };
    const id = backendId(key);
    try {
      const guard = readGuard(body, limits, instant());
      guard.prune(clock.monotonicMs());
      if (!guard.isIdle) guards.set(id, { key, guard });
      else rows.changed(key, 'soon');
    } catch (error) {
      log.warn(
        { mesh, backend: name, err: error },
        'the stored state of a backend cannot be read: it is taken as well',
      );
      rows.changed(key, 'soon');
    }
  }

  return {
    async restore() {
      for (const row of await rows.readAll()) restoreOne(row);
      sweepLater();
    },

    check(backend, request) {
      const guard = backend.local ? undefined : find(backend);
      if (guard !== undefined) pass(backend, guard, request);
    },

    admit(backend, request) {
      if (backend.local) return NO_PERMIT;
      permits += 1;
      const permit = { id: permits, sinceMs: clock.monotonicMs() };
      const guard = find(backend);
      if (guard !== undefined) {
        pass(backend, guard, request);
        guard.admitted(permit.id, moment());
      }
      let isOver = false;
      const once = (end: () => void) => {
        if (isOver) return;
        isOver = true;
        end();
      };
      const give = () =>
        apply(backend, (known) => {
          known.given(permit.id, moment());
          return false;
        });
      return {
        given: () => once(give),
        succeeded: () => once(() => apply(backend, (known) => known.succeeded(request.dataplane, moment()))),
        failed: (error) =>
          once(() => {
            const failure = readFailure(error);
            // It failed with a conf, or a secret, that is not used any more.
            if (failure === undefined || backend.isRetired) give();
            else apply(backend, (known) => known.failed(request, failure, permit, moment()), { isNew: true });
          }),
      };
    },

    recovered(backend) {
      if (!backend.local) apply(backend, (guard) => guard.recovered(moment()));
    },

    state(backend) {
      const guard = guards.get(backendId(backend))?.guard;
      if (guard === undefined || guard.hash !== backend.hash) return WELL;
      const { nowMs, wallMs } = instant();
      const { breaker } = guard;
      const phase = breakerPhase(breaker, nowMs);
      const cause = breaker.state === 'open' ? breaker.cause : guard.held.newest?.cause;
      return {
        breaker: PHASES[phase],
        held: guard.held.count(nowMs),
        ...(breaker.state === 'open' &&
          phase === 'open' && { retryAt: new Date(Math.ceil(wallMs + breaker.wait.untilMs - nowMs)) }),
        ...(cause !== undefined && { cause: { code: cause.code, message: cause.message } }),
      };
    },

    close() {
      stopListening();
      closing.abort(new Error('closed'));
      return rows.close();
    },
  };
}

function meshesOf(guards: ReadonlyMap<string, Guarded>): ReadonlySet<string> {
  return new Set([...guards.values()].map(({ key }) => key.mesh));
}
