import type { Backend } from '../backends/backend.ts';
import type { AskOptions } from '../issuance/ask-backend.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Profile } from '../x509/profile.ts';
import { CERTIFICATE_CHECKS } from './certificate-checks.ts';
import { runOwnChecks } from './own-checks.ts';
import type { Proof, ProofCheck } from './proof.ts';
import { runChecks } from './run-checks.ts';
import { casAbove, createTestCertificate, type TestCertificate } from './test-certificate.ts';

export type { Proof, ProofCheck } from './proof.ts';
export { failedViolations, proofJson } from './proof.ts';

export interface ProveDeps extends AskOptions {
  readonly clock: Clock;
  readonly profile: Profile;
  readonly log: Log;
}

/** From the start of the proof, in milliseconds; whatever hangs, it is over after the last. */
const INSPECT_MS = 5_000;
const ANSWERED_BY_MS = 9_000;
const OVER_BY_MS = 10_000;
const HANDSHAKE_MS = 1_000;

/**
 * Proves a backend: what its adapter finds (`inspect`), then, unless that makes it pointless, a short-lived certificate for a reserved identity that is
 * looked at for everything that a proxy depends on. Takes at most 10 s. Nothing of the certificate is stored or counted, its key is forgotten.
 * @returns what was found, good or bad. Rejects with the signal's reason; with a TypeError when the adapter breaks its own table of checks
 */
export async function proveBackend(backend: Backend, deps: ProveDeps, options: CallOptions): Promise<Proof> {
  const release = backend.hold();
  try {
    return await prove(backend, deps, options);
  } finally {
    release();
  }
}

async function prove(backend: Backend, deps: ProveDeps, { signal }: CallOptions): Promise<Proof> {
  signal.throwIfAborted();
  const { clock, log } = deps;
  const startedMs = clock.monotonicMs();
  const own = await runOwnChecks(backend, { clock, log, signal, timeoutMs: INSPECT_MS });
  const test = createTestCertificate(backend, {
    ...deps,
    signal,
    answeredByMs: startedMs + ANSWERED_BY_MS,
    overByMs: startedMs + OVER_BY_MS,
    handshakeMs: HANDSHAKE_MS,
  });
  const blocks = new Set(backend.checks.filter((rule) => rule.blocks === true).map(({ name }) => name));
  const blockedBy = own.find(({ name, status }) => status === 'failed' && blocks.has(name))?.name;
  const onCertificate = await runChecks(CERTIFICATE_CHECKS, test, { clock, log, signal, blockedBy });
  const checks = [...own, ...onCertificate];
  const failures = checks.filter(({ status }) => status === 'failed');
  return {
    mesh: backend.mesh,
    backend: backend.name,
    type: backend.type,
    backendHash: backend.hash,
    ok: failures.length === 0,
    retry: failures.length > 0 && failures.every(({ retry }) => retry === true),
    provenAt: clock.now(),
    durationMs: clock.monotonicMs() - startedMs,
    checks,
    ...(await casOf(test, onCertificate)),
  };
}

async function casOf(
  test: TestCertificate,
  checks: readonly ProofCheck[],
): Promise<Pick<Proof, 'caExpiresAt' | 'rootExpiresAt' | 'roots'>> {
  if (checks.find(({ name }) => name === 'certificate.chain')?.status !== 'passed') return {};
  const certificates = await test.certificates();
  const cas = casAbove(certificates);
  const root = cas?.at(-1);
  if (cas === undefined || root === undefined) return {};
  const earliest = cas.reduce((a, b) => (b.notAfter < a.notAfter ? b : a));
  return {
    caExpiresAt: earliest.notAfter,
    rootExpiresAt: root.notAfter,
    roots: certificates.roots.map(({ der }) => der),
  };
}
