import { IssuancePendingError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { Cluster } from './cluster.ts';
import type { IssuerRef } from './config.ts';
import { type Failure, isPassing, toError } from './failure.ts';
import type { CertificateRequest } from './replies.ts';
import type { RequestObject } from './request-object.ts';
import { type Verdict, verdictOf } from './verdict.ts';

export interface RunOptions {
  readonly cluster: Cluster;
  readonly issuerRef: IssuerRef;
  /** Made when its turn has come, so that its end is counted from then. */
  readonly createObject: () => RequestObject;
  /** Create calls that may still be made for this certificate. */
  readonly budget: { left: number };
  readonly clock: IssuerDeps['clock'];
  readonly random: IssuerDeps['random'];
  readonly signal: AbortSignal;
  /** Called when cert-manager says that it waits for something: an approver, an issuer that is not there. */
  readonly park: (() => void) | undefined;
}

export type Issued = Extract<Verdict, { state: 'issued' }>;

/** A first create that is not answered by then is asked for again: after a half-open connection that is the fresh one. */
const CREATE_TIMEOUTS_MS = [1_000, 4_000, 10_000];
const GET_TIMEOUT_MS = 3_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;
/** How long a create is tried while the server cannot be reached at all: a restart of an API server. */
const PATIENCE_MS = 10_000;
/** A throttled create waits no longer than this for its turn. */
const LONGEST_RETRY_AFTER_MS = 5_000;

/**
 * One CertificateRequest from its creation to its deletion: waits for the watch, creates, waits for what the watch tells, and has the object deleted,
 * whatever happens.
 * @throws what the failure stands for; IssuancePendingError when `signal` fires by a time-out while the object waits; else the signal's reason
 */
export async function runRequest(options: RunOptions): Promise<Issued> {
  const { cluster, signal } = options;
  const release = cluster.hold();
  try {
    // A server that is away is told to all who wait.
    await cluster.watch.ready(signal);
    return await runWatched(options);
  } finally {
    release();
  }
}

async function runWatched(options: RunOptions): Promise<Issued> {
  const { cluster, signal } = options;
  const object = options.createObject();
  const { name } = object;
  const look = describeCommand(options.issuerRef, cluster.namespace);
  await cluster.deletions.gone(name, signal);

  const ended = new AbortController();
  let pending: Extract<Verdict, { state: 'pending' }> | undefined;
  let settle: (verdict: Exclude<Verdict, { state: 'pending' }>) => void = () => {};
  const settled = new Promise<Exclude<Verdict, { state: 'pending' }>>((resolve) => {
    settle = resolve;
  });
  const take = (request: CertificateRequest | undefined) => {
    const verdict: Verdict = request === undefined ? deleted() : verdictOf(request, look);
    if (verdict.state !== 'pending') return settle(verdict);
    pending = verdict;
    if (verdict.told) options.park?.();
  };
  const follow = cluster.watch.follow(name, take);
  const isKnown = () => pending !== undefined;
  try {
    const created = await orAborted(Promise.race([settled, create(options, object, isKnown, ended.signal)]), signal);
    follow.created();
    if ('metadata' in created) take(created);
    const verdict = await orAborted(settled, signal);
    if (verdict.state === 'refused') throw toError(verdict.failure);
    return verdict;
  } catch (error) {
    if (!signal.aborted) throw error;
    throw pending === undefined ? signal.reason : stillPending(pending.message, options, look);
  } finally {
    ended.abort();
    follow.end();
    cluster.deletions.add(name);
  }
}

/**
 * Creates the object, or finds it when an earlier attempt made it. At most `budget` calls reach the server; a server that is away is waited for.
 * @throws the error of the last attempt
 */
async function create(
  { cluster, budget, clock, random, signal }: RunOptions,
  { name, request, manifest }: RequestObject,
  isKnown: () => boolean,
  ended: AbortSignal,
): Promise<CertificateRequest> {
  const startedMs = clock.monotonicMs();
  const isOver = () => ended.aborted || signal.aborted;
  for (let attempt = 0; ; attempt += 1) {
    budget.left -= 1;
    const timeoutMs = CREATE_TIMEOUTS_MS[Math.min(attempt, CREATE_TIMEOUTS_MS.length - 1)] ?? GET_TIMEOUT_MS;
    const created = await cluster.client.create(manifest, { signal, timeoutMs });
    if (created.ok) return created.value;
    let { failure } = created;
    if (failure.kind === 'unreachable') budget.left += 1;
    if (failure.kind === 'timeout') cluster.watch.suspect();
    if (failure.kind === 'conflict') {
      // The name follows from the request: an object of this name is ours, from an attempt whose answer was lost.
      const found = await cluster.client.get(name, { signal, timeoutMs: GET_TIMEOUT_MS });
      if (found.ok && found.value.spec.request === request && !found.value.metadata.deletionTimestamp)
        return found.value;
      if (!found.ok && found.failure.kind !== 'gone') failure = found.failure;
    }
    const waitMs = pauseMs(failure, attempt, random.uniform());
    const isThrottledAgain = failure.kind === 'rate-limited' && attempt > 0;
    const mayTryAgain =
      budget.left > 0 &&
      isPassing(failure) &&
      !isThrottledAgain &&
      waitMs !== undefined &&
      clock.monotonicMs() - startedMs < PATIENCE_MS;
    if (!mayTryAgain) throw toError(failure);
    await clock.sleep(waitMs, signal);
    // While the server is away the watch alone knocks, for all.
    await cluster.watch.ready(signal);
    // The watch has told of it meanwhile: it was created, only the answer was lost.
    if (isKnown() || isOver()) return new Promise(() => {});
  }
}

/** Undefined: the server asks for a longer pause than a caller should wait here. */
function pauseMs({ retryAfterMs = 0 }: Failure, attempt: number, chance: number): number | undefined {
  if (retryAfterMs > LONGEST_RETRY_AFTER_MS) return undefined;
  const growing = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
  return Math.max(growing * (0.5 + chance / 2), retryAfterMs);
}

function deleted(): Verdict {
  return {
    state: 'refused',
    failure: {
      kind: 'gone',
      message: 'the CertificateRequest was deleted before it was signed',
      fix: 'find out who deletes CertificateRequests of mesh-ca; if its Pod is gone, the garbage collector does',
    },
  };
}

/** The signal's own reason for a caller who hung up; for a time-out what cert-manager says. */
function stillPending(message: string, { issuerRef: { kind, name }, signal }: RunOptions, look: string): unknown {
  const reason: unknown = signal.reason;
  if (!(reason instanceof Error) || reason.name !== 'TimeoutError') return reason;
  return new IssuancePendingError(`the issuer ${kind}/${name} has not signed in time, still pending: ${message}`, {
    cause: reason,
    retryAfterMs: 5_000,
    fix: `look at the issuer (${look}) and at cert-manager's log`,
  });
}

/** The group goes along because other kinds of issuers have the same names; the namespace does no harm where the kind is in none. */
function describeCommand({ kind, group, name }: IssuerRef, namespace: string): string {
  return `kubectl -n ${namespace} describe ${kind.toLowerCase()}.${group} ${name}`;
}
