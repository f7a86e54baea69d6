import type { Backend } from '../backends/backend.ts';
import { CaError } from '../issuer/errors.ts';
import type { CallOptions, Check } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { orAborted } from '../runtime/or-aborted.ts';
import type { ProofCheck } from './proof.ts';
import { failed, plainFinding, skipped, UNEXPECTED } from './run-checks.ts';

type Failure = ReturnType<typeof failed>;

export interface OwnChecksOptions extends CallOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly timeoutMs: number;
}

/**
 * The adapter's own checks, complete: one for each row of its table, in order. Where it did not come to an end, the first that it owes has failed.
 * @throws TypeError when it reports a check that its table does not name, or one twice; the signal's reason
 */
export async function runOwnChecks(backend: Backend, options: OwnChecksOptions): Promise<ProofCheck[]> {
  const { clock, signal, timeoutMs } = options;
  const names = new Set(backend.checks.map(({ name }) => name));
  const found = new Map<string, Check>();
  const odd: string[] = [];
  const deadline = clock.deadline(timeoutMs, signal);
  let toldMs = clock.monotonicMs();
  const report = (check: Check) => {
    if (deadline.signal.aborted) return;
    if (!names.has(check.name) || found.has(check.name)) odd.push(check.name);
    found.set(check.name, plainFinding(check));
    toldMs = clock.monotonicMs();
  };
  let broken: Failure | undefined;
  try {
    await orAborted(backend.inspect({ signal: deadline.signal, report }), deadline.signal);
  } catch (error) {
    signal.throwIfAborted();
    broken = deadline.signal.aborted ? late(timeoutMs) : brokenBy(error, backend, options.log);
  } finally {
    deadline.clear();
  }
  if (odd.length > 0) {
    throw new TypeError(
      `the adapter ${backend.type} reports checks that its table does not have, or twice: ${odd.join(', ')}`,
    );
  }
  const owed = broken && backend.checks.find(({ name }) => !found.has(name));
  if (broken !== undefined && owed !== undefined) {
    found.set(owed.name, { name: owed.name, ...plainFinding(broken), durationMs: clock.monotonicMs() - toldMs });
  }
  return completed(backend, found);
}

function completed({ checks }: Backend, found: ReadonlyMap<string, Check>): ProofCheck[] {
  const firstFailed = checks.find(({ name }) => found.get(name)?.status === 'failed')?.name;
  let lastFailed: string | undefined;
  return checks.map(({ name, field }) => {
    const check = found.get(name);
    if (check === undefined) return missing(name, lastFailed ?? firstFailed);
    if (check.status === 'failed') lastFailed = name;
    return field === undefined ? check : { field, ...check };
  });
}

function missing(name: string, dependsOn: string | undefined): ProofCheck {
  if (dependsOn !== undefined) return skipped(name, dependsOn);
  return { name, status: 'skipped', message: 'not looked at: the backend tells nothing of it', durationMs: 0 };
}

function late(timeoutMs: number): Failure {
  return failed({
    message: `no answer within ${timeoutMs} ms`,
    cause: 'the backend is slow or down, or the network between it and mesh-ca loses packets',
    fix: 'look at the load of the backend and at firewalls between it and mesh-ca, then validate again',
    retry: true,
  });
}

/** An adapter finds, it does not throw; one that does must not take the proof down. */
function brokenBy(error: unknown, backend: Backend, log: Log): Failure {
  if (error instanceof CaError) {
    const fix = error.fix ?? 'look at the log of mesh-ca';
    return failed({ message: 'it could not be looked at', cause: error.message, fix, retry: error.retry });
  }
  log.error({ mesh: backend.mesh, backend: backend.name, type: backend.type, err: error }, 'check not made');
  return UNEXPECTED;
}
