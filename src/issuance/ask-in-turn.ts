import { withRequestCount } from '../backends/count-requests.ts';
import { CaError, withNextTry } from '../issuer/errors.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Profile } from '../x509/profile.ts';
import { type AskOptions, askBackend, type BackendAnswer } from './ask-backend.ts';
import { checkIssued, type LeafFacts, ownLeafFacts } from './check-issued.ts';
import type { BackendGuards, GuardedRequest, Permit } from './guards/backend-guards.ts';
import type { EndpointQueues } from './queue/endpoint-queues.ts';
import { type Priority, priorityOf } from './queue/priority.ts';
import { mayServeStale } from './renewal.ts';
import type { Task } from './task.ts';

export interface AskInTurnOptions extends AskOptions {
  /** Who may ask a backend at all, and when. */
  readonly guards: BackendGuards;
  /** In what order, and how many at a time, certificates are asked of an endpoint. */
  readonly queues: EndpointQueues;
  readonly clock: Clock;
  readonly profile: Profile;
}

/** An answer of a backend that was found good. */
export interface GoodAnswer extends BackendAnswer {
  readonly leaf: LeafFacts;
  readonly issuedAt: Date;
}

/**
 * Asks when the backend may be asked and it is this request's turn, within the deadline of one certificate, checks what came, and learns from how it went.
 * @throws every error of the issuer contract; one with `hold` when the backend was not asked
 */
export function askInTurn(task: Task, options: AskInTurnOptions, call: CallOptions): Promise<GoodAnswer> {
  return task.backend.local ? askLocal(task, options, call) : askGuarded(task, options, call);
}

/** A CA in this process: nothing to wait for, nothing to spare, nothing to distrust. */
async function askLocal(task: Task, options: AskInTurnOptions, call: CallOptions): Promise<GoodAnswer> {
  const ask = (within: CallOptions) => askBackend(task, options, within);
  // Signing a CSR waits for nothing: a deadline would only cost.
  const answer = await (task.csr === undefined ? task.backend.within('certificate', call, ask) : ask(call));
  return { ...answer, leaf: ownLeafFacts(answer.issued), issuedAt: options.clock.now() };
}

async function askGuarded(task: Task, options: AskInTurnOptions, call: CallOptions): Promise<GoodAnswer> {
  const { guards, queues, clock, profile } = options;
  const { backend, identity } = task;
  const priority = priorityOf(task.record, task.wanted);
  const guarded = guardedRequest(task, priority);
  guards.check(backend, guarded);
  let permit: Permit | undefined;
  const ask = (inPlace: CallOptions) => {
    permit = guards.admit(backend, guarded);
    return withRequestCount(
      () => askBackend(task, options, inPlace),
      (requests) => backend.metrics?.requestsOfCertificate(requests),
    );
  };
  try {
    const answer = await backend.within('certificate', call, (within) => queues.run(backend, priority, ask, within));
    const issuedAt = clock.now();
    const { issued, spkiDer } = answer;
    const leaf = backend.judge(() => checkIssued(issued, { identity, spkiDer, profile, at: issuedAt }));
    permit?.succeeded();
    return { ...answer, leaf, issuedAt };
  } catch (error) {
    if (permit !== undefined && call.signal.aborted) permit.given();
    else permit?.failed(error);
    throw withHold(error, () => guards.check(backend, guarded));
  }
}

/** The error, with the time at which the guard lets the same request through again, and the state of the breaker. */
function withHold(error: unknown, check: () => void): unknown {
  if (!(error instanceof CaError)) return error;
  try {
    check();
    return error;
  } catch (held) {
    if (!(held instanceof CaError) || held.hold === undefined) throw held;
    return withNextTry(error, held.retryAfterMs, held.hold.breaker);
  }
}

/** What holds back the next request like this one, should it fail. With another CSR, identity or backend it is another request. */
function guardedRequest({ request, record, wanted, identityHash, csr }: Task, priority: Priority): GuardedRequest {
  const { dataplane } = request;
  const urgent = priority === 'first' || priority === 'expiring';
  return {
    dataplane,
    // Only after a failure does anybody want to know.
    get fingerprint() {
      return [wanted.backendHash, identityHash, csr?.der.toString('base64') ?? ''].join('/');
    },
    ...(mayServeStale(record, wanted) && { instead: { notAfter: record.notAfter, urgent } }),
  };
}
