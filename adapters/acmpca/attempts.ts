import { hash } from 'node:crypto';
import type { Identity, IssuerDeps, SignRequest } from '../../src/issuer/issuer.ts';
import type { SigningAlgorithm } from './signing-algorithm.ts';
import type { Validity } from './validity.ts';

/** What AWS is asked for, in words that must not change while it may still be answered. */
export interface Plan {
  readonly signingAlgorithm: SigningAlgorithm;
  readonly validity: Validity;
}

/** One certificate on its way. */
export interface Attempt {
  readonly requestId: string;
  startedMs: number;
  readonly ttlSeconds: number;
  /** How many certificates of this attempt came to nothing: AWS would answer the same words with the same one. */
  round: number;
  /** Undefined before the first call, and after a refusal. */
  plan: Plan | undefined;
  /** As soon as AWS has taken the request. From here on the certificate is on the bill. */
  certificateArn: string | undefined;
  /** A caller got it: only the very same request gets it again. */
  isDone: boolean;
}

export interface Attempts {
  /** The attempt that this request goes on with, taken out so that no other does; or a new one. */
  take(request: SignRequest): Attempt;
  /** Remembers it for the next request with the same CSR and identity. */
  keep(request: SignRequest, attempt: Attempt): void;
}

/** As long as AWS remembers an idempotency token (API reference, IssueCertificate). */
const KEPT_FOR_MS = 300_000;
const MAX_KEPT = 10_000;

/** Remembers attempts that did not come to their end (time-out, abort, a broken connection), so that nothing is paid for twice. */
export function createAttempts(clock: IssuerDeps['clock']): Attempts {
  /** Oldest first. */
  const kept = new Map<string, Attempt[]>();
  let count = 0;

  function dropOld(): void {
    for (const [key, attempts] of kept) {
      const isOld = attempts.every(({ startedMs }) => clock.monotonicMs() - startedMs >= KEPT_FOR_MS);
      if (!isOld && count <= MAX_KEPT) return;
      kept.delete(key);
      count -= attempts.length;
    }
  }

  return {
    take(request) {
      dropOld();
      const key = keyOf(request);
      const attempts = kept.get(key) ?? [];
      const found = attempts.findIndex((attempt) => fits(attempt, request, clock));
      if (found >= 0) {
        const [attempt] = attempts.splice(found, 1);
        count -= 1;
        if (attempts.length === 0) kept.delete(key);
        if (attempt !== undefined) return attempt;
      }
      const { requestId, ttlSeconds } = request;
      const startedMs = clock.monotonicMs();
      return { requestId, startedMs, ttlSeconds, round: 0, plan: undefined, certificateArn: undefined, isDone: false };
    },
    keep(request, attempt) {
      const key = keyOf(request);
      const attempts = kept.get(key) ?? [];
      kept.delete(key);
      kept.set(key, [...attempts, attempt]);
      count += 1;
      dropOld();
    },
  };
}

function fits(attempt: Attempt, request: SignRequest, clock: IssuerDeps['clock']): boolean {
  if (attempt.ttlSeconds !== request.ttlSeconds) return false;
  if (attempt.isDone && attempt.requestId !== request.requestId) return false;
  if (clock.monotonicMs() - attempt.startedMs >= KEPT_FOR_MS) return false;
  const { validity } = attempt.plan ?? {};
  if (validity === undefined) return attempt.round > 0;
  const leftSeconds = validity.notAfterSeconds - clock.now().getTime() / 1000;
  return leftSeconds > (validity.notAfterSeconds - validity.notBeforeSeconds) / 2;
}

function keyOf({ csrDer, identity }: SignRequest): string {
  return hash('sha256', `${csrDer.toString('base64')}\n${namesOf(identity)}`, 'base64');
}

/** What was made is no use, or could not be made: the next try is another one to AWS. */
export function startAnew(attempt: Attempt): void {
  attempt.round += 1;
  attempt.plan = undefined;
  attempt.certificateArn = undefined;
}

/**
 * AWS gives one certificate for equal tokens within five minutes. At most 36 characters (API reference, IssueCertificate). The request's id is
 * part of it: who asks anew for a certificate within the same second gets a new one.
 */
export function idempotencyToken(
  use: { readonly caArn: string; readonly templateArn: string },
  plan: Plan,
  { requestId, round }: Pick<Attempt, 'requestId' | 'round'>,
  { csrDer, identity }: Pick<SignRequest, 'csrDer' | 'identity'>,
): string {
  const { notBeforeSeconds, notAfterSeconds } = plan.validity;
  const words = [
    use.caArn,
    use.templateArn,
    plan.signingAlgorithm,
    notBeforeSeconds,
    notAfterSeconds,
    requestId,
    round,
  ];
  const text = [...words, csrDer.toString('base64'), namesOf(identity)].join('\n');
  return hash('sha256', text, 'hex').slice(0, 36);
}

function namesOf({ commonName, uriSans, dnsNames }: Identity): string {
  return JSON.stringify([commonName, uriSans, dnsNames]);
}
