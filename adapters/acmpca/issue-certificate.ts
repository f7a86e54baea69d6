import { IssuancePendingError, IssuerDeniedError } from '../../src/issuer/errors.ts';
import type { IssuerDeps, SignRequest } from '../../src/issuer/issuer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { type Attempt, idempotencyToken, type Plan, startAnew } from './attempts.ts';
import type { CaArn } from './ca-arn.ts';
import { type CaFacts, SHORT_LIVED_SECONDS, stateFailure } from './ca-facts.ts';
import type { Caller } from './caller.ts';
import { nameOf } from './errors.ts';
import { type Failure, type FailureKind, isTransient, toError } from './failure.ts';
import type { KnownFacts } from './known-facts.ts';
import type { ReadyTime } from './ready-time.ts';
import type { CertificateReply } from './replies.ts';
import { passthroughOf, type Template } from './template.ts';
import { validityOf } from './validity.ts';

export interface IssueDeps {
  readonly ca: CaArn;
  readonly template: Template;
  readonly caller: Caller;
  readonly clock: IssuerDeps['clock'];
  readonly facts: KnownFacts;
  readonly readyTime: ReadyTime;
}

/** Whatever happens: a call that AWS took is on the bill. */
const MAX_ISSUE_CALLS = 3;
/** Shorter than the default of `MESH_CA_REQUEST_TIMEOUT`, so that "pending" is told and not "no answer". */
const POLL_FOR_MS = 20_000;
const MAX_FAULTS_WHILE_POLLING = 3;
/** Found missing this often, a certificate that was just asked for is not merely slow to appear. */
const MAX_MISSES = 2;

/**
 * Asks AWS for the certificate and waits until it is there. `attempt` is brought up to date before and after every call, so that whoever remembers
 * it can go on from there: `plan` is set while AWS may have got it, `certificateArn` from when AWS has taken it.
 */
export async function issueCertificate(
  request: SignRequest,
  attempt: Attempt,
  deps: IssueDeps,
  signal: AbortSignal,
): Promise<CertificateReply> {
  const budget = { left: MAX_ISSUE_CALLS };
  let isRemembered = attempt.certificateArn !== undefined;
  for (;;) {
    const arn = attempt.certificateArn ?? (await ask(request, attempt, deps, budget, signal));
    const reply = await poll(arn, isRemembered, attempt, deps, signal);
    if (reply !== 'lost') return reply;
    // AWS lost it, or never had it: the same words make no second one where it comes back.
    attempt.certificateArn = undefined;
    isRemembered = false;
  }
}

/** One certificate ARN, by at most as many calls as the budget has left. */
async function ask(
  request: SignRequest,
  attempt: Attempt,
  deps: IssueDeps,
  budget: { left: number },
  signal: AbortSignal,
): Promise<string> {
  const { ca, template, caller, clock } = deps;
  const passthrough = passthroughOf(template, request.identity);
  const csrPem = encodePem('CERTIFICATE REQUEST', request.csrDer);
  const refused: Refusal[] = [];
  let isRepeated = false;
  for (;;) {
    const plan = attempt.plan ?? (await makePlan(request, refused, deps, signal));
    if (budget.left === 0) throw outOfBudget(ca);
    const token = idempotencyToken({ caArn: ca.text, templateArn: template.arn }, plan, attempt, request);
    const input = { ...plan, csrPem, passthrough, idempotencyToken: token };
    const outcome = await caller.issue(input, signal, () => {
      if (attempt.plan === undefined) attempt.startedMs = clock.monotonicMs();
      attempt.plan = plan;
      budget.left -= 1;
    });
    if (outcome.ok) {
      attempt.certificateArn = outcome.value;
      return outcome.value;
    }
    const { failure } = outcome;
    const mayRepeat = budget.left > 0 && !isRepeated;
    if (failure.kind === 'throttled' || failure.kind === 'credentials' || isTransient(failure)) {
      if (!mayRepeat) throw toError(failure);
      isRepeated = true;
      continue;
    }
    // AWS has decided: there is nothing to go on with.
    attempt.plan = undefined;
    if (failure.kind === 'state') throw toError(await explainState(failure, deps, signal));
    if (failure.kind !== 'arguments' || budget.left === 0) throw toError(failure);
    refused.push({ plan, failure });
  }
}

interface Refusal {
  readonly plan: Plan;
  readonly failure: Failure;
}

/** A refusal that speaks of the certificate's life, and not of the CA's key. */
const LIFE_TEXT = /validity|not ?after|expir|duration|lifetime|seven|7 days/i;

/**
 * What to ask for: by what is known of the CA; where that is little, by trying. After a refusal the CA is read again, because it may have been replaced.
 * @throws the last refusal, when there is nothing else to try
 */
async function makePlan(
  request: SignRequest,
  refused: readonly Refusal[],
  deps: IssueDeps,
  signal: AbortSignal,
): Promise<Plan> {
  if (refused.length > 0) deps.facts.forget();
  const facts = await deps.facts.get(signal);
  const last = refused.at(-1);
  const untried = plansFor(request, facts, deps).filter((plan) => !refused.some((one) => isSame(one.plan, plan)));
  const aboutLife = last !== undefined && LIFE_TEXT.test(last.failure.message);
  const better =
    untried.find((plan) => aboutLife && plan.signingAlgorithm === last.plan.signingAlgorithm) ?? untried[0];
  if (better !== undefined) return better;
  if (last !== undefined) throw toError(last.failure);
  throw new IssuerDeniedError(`${nameOf(deps)} ended at ${facts.notAfter?.toISOString() ?? 'an unknown time'}`, {
    fix: `give it a new certificate: aws acm-pca get-certificate-authority-csr --certificate-authority-arn ${deps.ca.text}, then import-certificate-authority-certificate`,
  });
}

/** The best first. */
function plansFor({ ttlSeconds }: SignRequest, facts: CaFacts, { clock }: IssueDeps): readonly Plan[] {
  const lives =
    facts.isModeKnown || facts.maxLifeSeconds !== undefined
      ? [facts]
      : [facts, { ...facts, maxLifeSeconds: SHORT_LIVED_SECONDS }];
  return lives.flatMap((bounds) => {
    const validity = validityOf(clock.now(), ttlSeconds, bounds);
    if (validity === undefined) return [];
    return facts.signingAlgorithms.map((signingAlgorithm) => ({ signingAlgorithm, validity }));
  });
}

/** The clock moved on between two plans: seconds are not another try. */
const SAME_LIFE_SECONDS = 60;

function isSame(one: Plan, other: Plan): boolean {
  const apart = Math.abs(one.validity.notAfterSeconds - other.validity.notAfterSeconds);
  return one.signingAlgorithm === other.signingAlgorithm && apart < SAME_LIFE_SECONDS;
}

/** What the next look may be spared: refused credentials are loaded anew, and the certificate is paid for. */
const PASSING: ReadonlySet<FailureKind> = new Set(['throttled', 'credentials', 'no-credentials']);

/** Looks until it is there. `lost`: AWS does not know it. */
async function poll(
  certificateArn: string,
  isRemembered: boolean,
  attempt: Attempt,
  deps: IssueDeps,
  signal: AbortSignal,
): Promise<CertificateReply | 'lost'> {
  const { clock, caller, readyTime } = deps;
  const askedMs = clock.monotonicMs();
  let faults = 0;
  let misses = 0;
  for (let look = 0; ; look += 1) {
    const delayMs = isRemembered && look === 0 ? 0 : readyTime.delayMs(look);
    if (clock.monotonicMs() + delayMs - askedMs > POLL_FOR_MS) throw pending(deps);
    if (delayMs > 0) await clock.sleep(delayMs, signal);
    const outcome = await caller.getCertificate(certificateArn, signal);
    if (outcome.ok) {
      if (!isRemembered && faults === 0) readyTime.learn(look, clock.monotonicMs() - askedMs);
      return outcome.value;
    }
    const { failure } = outcome;
    if (failure.kind === 'in-progress') continue;
    if (failure.kind === 'absent') {
      misses += 1;
      if (isRemembered || misses === MAX_MISSES) return 'lost';
    } else if (!PASSING.has(failure.kind) && !isTransient(failure)) {
      if (failure.kind === 'issue-failed') startAnew(attempt);
      throw toError(failure);
    }
    faults += 1;
    if (faults === MAX_FAULTS_WHILE_POLLING) throw toError(failure);
  }
}

/** A CA that is not ACTIVE says in which state it is, to who may ask. */
async function explainState(failure: Failure, deps: IssueDeps, signal: AbortSignal): Promise<Failure> {
  deps.facts.forget();
  const description = await deps.caller.describe(signal);
  return (description.ok ? stateFailure(description.value, deps.ca) : undefined) ?? failure;
}

function pending(deps: IssueDeps): IssuancePendingError {
  return new IssuancePendingError(`${nameOf(deps)} has not finished the certificate within ${POLL_FOR_MS} ms`, {
    retryAfterMs: Math.max(1000, deps.readyTime.expectedMs),
    fix: 'ask again with the same CSR within 5 minutes: the certificate that is being made is then fetched, not another one made',
  });
}

function outOfBudget(ca: CaArn): IssuancePendingError {
  return new IssuancePendingError(`${nameOf({ ca })} does not show the certificate that it took the request for`, {
    retryAfterMs: 1000,
    fix: 'ask again with the same CSR',
  });
}
