import { CaError } from '../../src/issuer/errors.ts';
import type { Check, IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { isRoot } from '../shared/ca-certificates.ts';
import { caLifeCheck } from '../shared/ca-life.ts';
import { attempt, createChecks } from '../shared/checks.ts';
import { findPath } from '../shared/issued-certificate.ts';
import type { CaArn } from './ca-arn.ts';
import { stateFailure } from './ca-facts.ts';
import type { Caller } from './caller.ts';
import { parseCertificates } from './chain.ts';
import type { Endpoint } from './endpoint.ts';
import { nameOf } from './errors.ts';
import { type FailureKind, type Outcome, toError, valueOrThrow } from './failure.ts';
import type { CaDescription } from './replies.ts';
import type { Template } from './template.ts';
import type { Transport } from './transport.ts';

export interface Inspected {
  readonly ca: CaArn;
  readonly caller: Caller;
  readonly template: Template;
  readonly endpoint: Endpoint;
  readonly transport: Transport;
  readonly clock: IssuerDeps['clock'];
  readonly credentialsFrom: 'conf' | 'default chain';
  /** Of the conf. */
  loadCredentials(signal: AbortSignal): Promise<unknown>;
  loadPinned(signal: AbortSignal): Promise<readonly Certificate[]>;
}

const { pass, fail, clock: clockCheck } = createChecks('acmpca');

/** AWS takes signatures five minutes off; a certificate begins 10 s ago. */
const CLOCK_SKEW_MAX_MS = 60_000;
/** AWS was not asked in our name, or did not take that it was us. */
const WITHOUT_IDENTITY: ReadonlySet<FailureKind> = new Set(['credentials', 'no-credentials', 'clock']);
/** Nothing is learned about credentials and CA when the exchange ends like this. */
const UNREACHABLE: ReadonlySet<FailureKind> = new Set([
  'network',
  'tls',
  'timeout',
  'malformed',
  'server',
  'throttled',
  'conf',
]);

/**
 * The named findings about one backend, in the order in which things must be right. Reads only. What cannot be known because of an earlier fault
 * is left out.
 */
export async function inspectAcmPca(deps: Inspected, signal: AbortSignal): Promise<readonly Check[]> {
  const { ca, caller, template } = deps;
  const credentials = await attempt(() => deps.loadCredentials(signal), signal);
  if (credentials instanceof CaError) return [fail('credentials-loaded', credentials)];
  const from = deps.credentialsFrom === 'conf' ? 'the access key is there' : "AWS's default chain is asked for them";
  const checks = [pass('credentials-loaded', from)];
  const pinned = await attempt(() => deps.loadPinned(signal), signal);
  if (pinned instanceof CaError) checks.push(fail('ca-cert-loaded', pinned));

  const description = await caller.describe(signal);
  checks.push(...checkAnswer(description, deps));
  if (!checks.every(({ ok }) => ok)) return checks;

  checks.push(checkState(description, ca));
  const certificate = await caller.getCertificate(`${ca.text}/certificate/${'0'.repeat(32)}`, signal);
  const getRight = certificate.ok ? 'absent' : certificate.failure.kind;
  if (!certificate.ok && getRight === 'denied') checks.push(fail('get-permitted', toError(certificate.failure)));
  if (getRight === 'absent') checks.push(pass('get-permitted', 'acm-pca:GetCertificate is allowed'));
  checks.push(pass('issue-template', `certificates are issued with ${template.arn}`));
  const trusted = pinned instanceof CaError ? [] : pinned;
  return [...checks, ...(await checkRoots(trusted, deps, signal))];
}

/** What any answer shows, whatever it is: the way there, the clocks, the credentials. */
function checkAnswer(answer: Outcome<unknown>, { ca, endpoint, transport }: Inspected): readonly Check[] {
  const failure = answer.ok ? undefined : answer.failure;
  if (failure !== undefined && UNREACHABLE.has(failure.kind)) return [fail('address-reachable', toError(failure))];
  const isAnswered = transport.clockSkewMs !== undefined;
  const checks = isAnswered
    ? [pass('address-reachable', `${endpoint.url ?? `AWS's endpoint of ${ca.region}`} answers`)]
    : [];
  if (isAnswered) checks.push(clockCheck(transport.clockSkewMs, CLOCK_SKEW_MAX_MS, "AWS's"));
  if (failure !== undefined && WITHOUT_IDENTITY.has(failure.kind))
    checks.push(fail('credentials-accepted', toError(failure)));
  else checks.push(pass('credentials-accepted', 'AWS knows the credentials'));
  return checks;
}

function checkState(description: Outcome<CaDescription>, ca: CaArn): Check {
  if (!description.ok) {
    if (description.failure.kind !== 'denied') return fail('ca-active', toError(description.failure));
    const message = 'the state may not be read (acm-pca:DescribeCertificateAuthority); the first certificate will tell';
    return pass('ca-active', message, description.failure.fix);
  }
  const state = stateFailure(description.value, ca);
  if (state !== undefined) return fail('ca-active', toError(state));
  const key = description.value.CertificateAuthorityConfiguration?.KeyAlgorithm ?? 'unknown';
  const mode = description.value.UsageMode === 'SHORT_LIVED_CERTIFICATE' ? ', certificates live 7 days at most' : '';
  return pass('ca-active', `${nameOf({ ca })} is active, with a key of type ${key}${mode}`);
}

async function checkRoots(
  pinned: readonly Certificate[],
  { caller, ca, clock }: Inspected,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const read = await caller.getCaCertificate(signal);
  const checks: Check[] = [];
  let told: readonly Certificate[] = [];
  if (!read.ok && read.failure.kind === 'denied') {
    const instead = pinned.length > 0 ? 'caCert is used' : 'the first certificate will tell it';
    const message = `the chain may not be read (acm-pca:GetCertificateAuthorityCertificate): ${instead}`;
    checks.push(pass('chain-readable', message, read.failure.fix));
  } else {
    const parsed = await attempt(() => {
      const { Certificate: own, CertificateChain: above } = valueOrThrow(read);
      return parseCertificates(`${own}\n${above ?? ''}`);
    }, signal);
    if (parsed instanceof CaError) checks.push(fail('chain-readable', parsed));
    else {
      told = parsed;
      checks.push(pass('chain-readable', `the CA tells ${told.length} certificate${told.length === 1 ? '' : 's'}`));
    }
  }
  if (told.length === 0 && pinned.length === 0) return checks;
  const path = pathToRoot(told, pinned);
  if (path === undefined) {
    const isPinned = pinned.length > 0;
    const message = isPinned
      ? "the CA's chain does not lead to the root in caCert"
      : 'the CA tells no root certificate';
    const fix = "set caCert to the CA's root certificate, with the intermediates above the CA";
    return [...checks, fail('root-known', { message, fix })];
  }
  checks.push(pass('root-known', pinned.length > 0 ? 'the root is that of caCert' : 'the chain ends in a root'));
  const renew = `renew the CA: aws acm-pca get-certificate-authority-csr --certificate-authority-arn ${ca.text}, have it signed, then import-certificate-authority-certificate`;
  return [...checks, caLifeCheck('acmpca.ca-valid', path, clock.now(), renew)];
}

/** The CA's certificate, those above it, and the root. */
function pathToRoot(told: readonly Certificate[], pinned: readonly Certificate[]): readonly Certificate[] | undefined {
  const [own, ...above] = told;
  if (own === undefined) return pinned;
  if (isRoot(own)) return pinned.length === 0 || pinned.some(({ der }) => der.equals(own.der)) ? [own] : undefined;
  const path = findPath(own, above, pinned);
  return path && [own, ...path.chain, ...path.roots];
}
