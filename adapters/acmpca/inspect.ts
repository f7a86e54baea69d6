import { CaError } from '../../src/issuer/errors.ts';
import type { InspectOptions, IssuerDeps } from '../../src/issuer/issuer.ts';
import { countText } from '../../src/text/count-text.ts';
import { spanText } from '../../src/text/span-text.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { isRoot } from '../shared/ca-certificates.ts';
import { checkCaLife } from '../shared/ca-life.ts';
import { attempt, type Checks, createChecks } from '../shared/checks.ts';
import { findPath } from '../shared/issued-certificate.ts';
import type { CaArn } from './ca-arn.ts';
import { SHORT_LIVED_SECONDS, stateFailure } from './ca-facts.ts';
import type { Caller } from './caller.ts';
import { parseCertificates } from './chain.ts';
import type { Endpoint } from './endpoint.ts';
import { nameOf } from './errors.ts';
import { type FailureKind, type Outcome, toError, valueOrThrow } from './failure.ts';
import type { CaDescription, CertificateReply } from './replies.ts';
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

/** AWS takes signatures five minutes off; a certificate begins 10 s ago. */
const CLOCK_LIMITS = { maxMs: 60_000 };
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
/** Of no certificate: AWS tells that there is none to who may fetch one. */
const NO_CERTIFICATE = '0'.repeat(32);

/**
 * The named findings about one backend, in the order in which things must be right. Reads only, by three calls, none of which is on the bill. What
 * cannot be known because of an earlier fault is left out.
 */
export async function inspectAcmPca(inspected: Inspected, options: InspectOptions): Promise<void> {
  const { ca, caller, clock } = inspected;
  const { signal } = options;
  const checks = createChecks('acmpca', { ...options, clock });
  const credentials = await attempt(() => inspected.loadCredentials(signal), signal);
  if (credentials instanceof CaError) return checks.fail('credentials-loaded', credentials);
  const isConf = inspected.credentialsFrom === 'conf';
  checks.pass('credentials-loaded', isConf ? 'the access key is there' : "AWS's default chain is asked for them");
  const pinned = await attempt(() => inspected.loadPinned(signal), signal);
  checkPinned(pinned, checks);

  // Our own limiter may send us away, too.
  const description = await attempt(() => caller.describe(signal), signal);
  if (description instanceof CaError) return checks.fail('address-reachable', description);
  if (!checkAnswer(description, inspected, checks)) return;
  checkState(description, inspected, options.ttlSeconds, checks);
  const [certificate, chain] = await Promise.all([
    attempt(() => caller.getCertificate(`${ca.text}/certificate/${NO_CERTIFICATE}`, signal), signal),
    attempt(() => caller.getCaCertificate(signal), signal),
  ]);
  checkGet(certificate, checks);
  checks.pass('issue-template', `certificates are issued with ${inspected.template.arn}`);
  const isPinned = !(pinned instanceof CaError) && pinned.length > 0;
  const told = checkChain(chain, isPinned, inspected, checks);
  if (!(pinned instanceof CaError)) checkRoot(told, pinned, inspected, checks);
}

function checkPinned(pinned: readonly Certificate[] | CaError, checks: Checks): void {
  if (pinned instanceof CaError) checks.fail('ca-cert-loaded', pinned);
  else if (pinned.length > 0) {
    checks.pass('ca-cert-loaded', `caCert holds ${countText(pinned.length, 'certificate')}`);
  } else checks.skip('ca-cert-loaded', 'caCert is not set');
}

/** What any answer shows, whatever it is: the way there, the clocks, the credentials. False: it makes no sense to ask more. */
function checkAnswer(
  answer: Outcome<unknown>,
  { ca, endpoint, transport: { clockSkewMs } }: Inspected,
  checks: Checks,
): boolean {
  const failure = answer.ok ? undefined : answer.failure;
  if (failure !== undefined && UNREACHABLE.has(failure.kind)) {
    // A certificate that is not trusted does not become it by itself.
    checks.fail('address-reachable', toError(failure), failure.kind === 'tls' ? { retry: false } : {});
    return false;
  }
  if (clockSkewMs !== undefined) {
    checks.pass('address-reachable', `${endpoint.url ?? `AWS's endpoint of ${ca.region}`} answers`);
    checks.clock(clockSkewMs, CLOCK_LIMITS, "AWS's");
  }
  if (failure !== undefined && WITHOUT_IDENTITY.has(failure.kind)) {
    checks.fail('credentials-accepted', toError(failure));
    return false;
  }
  checks.pass('credentials-accepted', 'AWS knows the credentials');
  return true;
}

function checkState(description: Outcome<CaDescription>, { ca }: Inspected, ttlSeconds: number, checks: Checks): void {
  if (!description.ok && description.failure.kind === 'denied') {
    checks.warn('ca-active', {
      message: 'the state of the CA may not be read: acm-pca:DescribeCertificateAuthority is not allowed',
      cause:
        'that it is disabled, in short-lived mode or about to end shows only when certificates fail or are cut: worst of all when a rotation leads to it',
      fix: description.failure.fix,
    });
    return;
  }
  const failure = description.ok ? stateFailure(description.value, ca) : description.failure;
  if (failure !== undefined) checks.fail('ca-active', toError(failure));
  if (!description.ok || failure !== undefined) return;
  const key = description.value.CertificateAuthorityConfiguration?.KeyAlgorithm ?? 'unknown';
  const state = `${nameOf({ ca })} is active, with a key of type ${key}`;
  if (description.value.UsageMode !== 'SHORT_LIVED_CERTIFICATE') checks.pass('ca-active', state);
  else if (ttlSeconds <= SHORT_LIVED_SECONDS) checks.pass('ca-active', `${state}, in short-lived mode`);
  else {
    checks.warn('ca-active', {
      message: `${state}, in short-lived mode: certificates live 7 days at most`,
      cause: `data planes are to get certificates of ${spanText(ttlSeconds * 1000)}; they renew more often instead`,
      fix: 'set dpCert.rotation.expiration to 7d or less, or use a CA of the general-purpose mode',
    });
  }
}

function checkGet(certificate: Outcome<CertificateReply> | CaError, checks: Checks): void {
  const unknown = 'whether acm-pca:GetCertificate is allowed could not be found out';
  if (certificate instanceof CaError) {
    checks.warn('get-permitted', { message: unknown, cause: certificate.message, fix: certificate.fix });
  } else if (certificate.ok || certificate.failure.kind === 'absent') {
    checks.pass('get-permitted', 'acm-pca:GetCertificate is allowed');
  } else if (certificate.failure.kind === 'denied') {
    const cause = 'a certificate would be paid for and could not be fetched';
    checks.fail('get-permitted', toError(certificate.failure), { cause });
  } else {
    checks.warn('get-permitted', {
      message: unknown,
      cause: certificate.failure.message,
      fix: certificate.failure.fix,
    });
  }
}

/** The certificates that AWS tells: none when it may not tell them, undefined when what it tells is of no use. */
function checkChain(
  read: Outcome<CertificateReply> | CaError,
  isPinned: boolean,
  { ca }: Inspected,
  checks: Checks,
): readonly Certificate[] | undefined {
  if (!(read instanceof CaError) && !read.ok && read.failure.kind === 'denied') {
    const denied = 'acm-pca:GetCertificateAuthorityCertificate is not allowed';
    if (isPinned) checks.pass('chain-readable', `${denied}, and not needed: caCert is used`);
    else {
      checks.warn('chain-readable', {
        message: denied,
        cause:
          'the root is known with the first certificate only: a rotation to this CA cannot tell it to proxies before, and one that replaces it is not noticed',
        fix: `${read.failure.fix}; or set caCert to the root of ${nameOf({ ca })}`,
      });
    }
    return [];
  }
  const told = tryParse(read);
  if (told instanceof CaError) {
    checks.fail('chain-readable', told);
    return undefined;
  }
  checks.pass('chain-readable', `the CA tells ${countText(told.length, 'certificate')}`);
  return told;
}

function tryParse(read: Outcome<CertificateReply> | CaError): readonly Certificate[] | CaError {
  if (read instanceof CaError) return read;
  try {
    const { Certificate: own, CertificateChain: above } = valueOrThrow(read);
    return parseCertificates(`${own}\n${above ?? ''}`);
  } catch (error) {
    if (error instanceof CaError) return error;
    throw error;
  }
}

function checkRoot(
  answer: readonly Certificate[] | undefined,
  pinned: readonly Certificate[],
  { ca, clock }: Inspected,
  checks: Checks,
): void {
  const told = answer ?? [];
  if (told.length === 0 && pinned.length === 0) {
    const why = 'the certificates of the CA may not be read (acmpca.chain-readable), and caCert is not set';
    if (answer !== undefined) for (const name of ['root-known', 'ca-valid']) checks.skip(name, why);
    return;
  }
  const isPinned = pinned.length > 0;
  const path = pathToRoot(told, pinned);
  if (path === undefined) {
    checks.fail('root-known', {
      message: isPinned ? "the CA's chain does not lead to the root in caCert" : 'the CA tells no root certificate',
      cause: isPinned
        ? `the CA is ${JSON.stringify(told[0]?.subject ?? '')}, issued by ${JSON.stringify(told[0]?.issuer ?? '')}`
        : 'its chain ends in a CA from elsewhere',
      fix: "set caCert to the CA's root certificate, with the intermediates above the CA",
    });
    return;
  }
  checks.pass('root-known', isPinned ? 'the root is that of caCert' : 'the chain ends in a root');
  const renew = `renew the CA: aws acm-pca get-certificate-authority-csr --certificate-authority-arn ${ca.text}, have it signed, then import-certificate-authority-certificate`;
  checkCaLife(checks, path, clock.now(), renew);
}

/** The CA's certificate, those above it, and the root. */
function pathToRoot(told: readonly Certificate[], pinned: readonly Certificate[]): readonly Certificate[] | undefined {
  const [own, ...above] = told;
  if (own === undefined) return pinned;
  if (isRoot(own)) return pinned.length === 0 || pinned.some(({ der }) => der.equals(own.der)) ? [own] : undefined;
  const path = findPath(own, above, pinned);
  return path && [own, ...path.chain, ...path.roots];
}
