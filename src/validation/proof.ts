import type { FailedCheck, Violation } from '../issuer/errors.ts';
import type { Check } from '../issuer/issuer.ts';
import { fieldBelow } from '../mesh/violations.ts';

/** One check of a proof. */
export interface ProofCheck extends Check {
  /** Of a skipped one: the check that failed, without which this one can tell nothing. Absent: its message says why there is nothing to look at. */
  readonly dependsOn?: string;
}

/** What is known of a backend after it was proven: the adapter's own checks, then those on a test certificate. */
export interface Proof {
  readonly mesh: string;
  readonly backend: string;
  readonly type: string;
  /** `Backend.hash`: with another one the proof is about another backend. */
  readonly backendHash: string;
  /** Nothing failed. */
  readonly ok: boolean;
  /** All that failed may pass later by itself. */
  readonly retry: boolean;
  readonly provenAt: Date;
  readonly durationMs: number;
  readonly checks: readonly ProofCheck[];
  /** When the first of the CAs above the test certificate ends; undefined when none was had. */
  readonly caExpiresAt?: Date;
  /** When the root that it ends in does. */
  readonly rootExpiresAt?: Date;
  /** The roots that came with the test certificate, DER: every certificate of the backend wants them in the bundle. Not kept over a restart. */
  readonly roots?: readonly Buffer[];
}

/**
 * What refuses a Mesh, in Kuma's shape: each failed check at the key of the conf that is to blame, or at the conf.
 * @param at where the conf stands: `mtls.backends[0].conf`
 */
export function failedViolations(proof: Proof, at: string): Violation[] {
  return proof.checks
    .filter(({ status }) => status === 'failed')
    .map(({ field, message, cause }) => ({
      field: fieldBelow(at, field ?? ''),
      message: cause === undefined ? message : `${message}: ${cause}`,
    }));
}

/** The failed checks as a refused Mesh tells them. */
export function failedChecks(proof: Proof): FailedCheck[] {
  return proof.checks.flatMap((check) =>
    check.status === 'failed' ? [{ backend: proof.backend, ...checkCore(check), status: check.status }] : [],
  );
}

/** The proof of one backend as API.md has it ("Validate"). */
export function proofJson(proof: Proof): Readonly<Record<string, unknown>> {
  const { mesh, backend, type, ok, retry, provenAt, durationMs, checks, caExpiresAt, rootExpiresAt } = proof;
  return {
    mesh,
    backend,
    type,
    ok,
    retry,
    provenAt: provenAt.toISOString(),
    durationMs: Math.round(durationMs),
    ...(caExpiresAt && { caExpiresAt: caExpiresAt.toISOString() }),
    ...(rootExpiresAt && { rootExpiresAt: rootExpiresAt.toISOString() }),
    checks: checks.map(checkJson),
  };
}

function checkJson(check: ProofCheck): object {
  const { status, field, dependsOn } = check;
  const isBad = status === 'failed' || status === 'warning';
  return {
    ...checkCore(check),
    ...(isBad && field !== undefined && { field }),
    ...(dependsOn !== undefined && { dependsOn }),
  };
}

function checkCore({ name, status, durationMs, message, cause, fix }: ProofCheck) {
  return {
    name,
    status,
    durationMs: Math.round(durationMs),
    message,
    ...(cause !== undefined && { cause }),
    ...(fix !== undefined && { fix }),
  };
}
