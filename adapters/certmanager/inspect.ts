import { CaError } from '../../src/issuer/errors.ts';
import type { InspectOptions, IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { checkCaLife } from '../shared/ca-life.ts';
import { attempt, type Checks, createChecks, type Finding } from '../shared/checks.ts';
import type { CallOptions } from './client.ts';
import type { Cluster } from './cluster.ts';
import type { CertManagerConf } from './config.ts';
import type { Verb } from './error-rules.ts';
import { type Failure, type FailureKind, type Outcome, toError } from './failure.ts';
import * as replies from './replies.ts';
import { cleanText } from './reply-text.ts';

export interface Inspected {
  readonly conf: CertManagerConf;
  readonly cluster: Cluster;
  readonly clock: IssuerDeps['clock'];
  /** The roots of `caCert`; undefined when it is not set. */
  readonly loadPinned: () => Promise<readonly Certificate[] | undefined>;
}

const TIMEOUT_MS = 4_000;
/** A certificate of cert-manager's begins at its clock: one ahead of ours makes it not valid yet. One behind makes it end earlier. */
const CLOCK_LIMITS = { maxMs: 5_000, maxBehindMs: 300_000 };
const VERBS: readonly Verb[] = ['create', 'get', 'list', 'watch', 'delete'];

/** Which check an attempt to list certificates has failed, by how it failed. Any other failure is about the resource itself. */
const BLAMED: Readonly<
  Partial<Record<FailureKind, 'kubeconfig-loaded' | 'address-reachable' | 'credentials-accepted'>>
> = {
  kubeconfig: 'kubeconfig-loaded',
  credentials: 'kubeconfig-loaded',
  unreachable: 'address-reachable',
  broken: 'address-reachable',
  timeout: 'address-reachable',
  tls: 'address-reachable',
  malformed: 'address-reachable',
  server: 'address-reachable',
  'rate-limited': 'address-reachable',
  unauthenticated: 'credentials-accepted',
};

/**
 * The named findings about one backend, in the order in which things must be right; what cannot be known because of an earlier fault is left out.
 * Reads only: access reviews store nothing.
 */
export async function inspectCertManager(inspected: Inspected, options: InspectOptions): Promise<void> {
  const { conf, cluster, clock, loadPinned } = inspected;
  const { signal } = options;
  signal.throwIfAborted();
  const checks = createChecks('certmanager', { ...options, clock });
  // It has nothing to do with the cluster: loaded meanwhile, told at its place.
  const pinned = attempt(() => orAborted(loadPinned(), signal), signal);
  pinned.catch(() => {});
  cluster.touch();
  if (await checkCluster(cluster, clock, checks, signal)) checkIssuer(conf, checks);
  checkRoot(await pinned, inspected, checks);
}

/** False: it makes no sense to look at what is in the cluster. */
async function checkCluster(
  cluster: Cluster,
  clock: IssuerDeps['clock'],
  checks: Checks,
  signal: AbortSignal,
): Promise<boolean> {
  const { client, namespace } = cluster;
  const call = { signal, timeoutMs: TIMEOUT_MS };
  const listed = await client.list({ schema: replies.nameList, limit: 1, metadataOnly: true }, call);
  const failure = listed.ok ? undefined : listed.failure;
  const blamed = failure && BLAMED[failure.kind];
  /** Passes unless the attempt has failed here; false then. */
  const reach = (name: string, message: string) => {
    if (failure !== undefined && blamed === name) checks.fail(name, findingOf(failure));
    else checks.pass(name, message);
    return blamed !== name;
  };
  if (!reach('kubeconfig-loaded', `the cluster is ${client.server}`)) return false;
  if (!reach('address-reachable', `${client.server} answers`)) return false;
  checks.clock(client.serverNow().getTime() - clock.now().getTime(), CLOCK_LIMITS, "the API server's");
  if (!reach('credentials-accepted', 'the API server accepts the credentials')) return false;
  checkNamespace(await client.namespacePhase(call), namespace, checks);
  if (failure === undefined) checks.pass('crd-installed', `CertificateRequests can be read in ${namespace}`);
  else if (failure.kind !== 'forbidden') checks.fail('crd-installed', findingOf(failure));
  await checkRights(cluster, failure, checks, call);
  return true;
}

/** An API server lists what is in a namespace that does not exist without a word. Few may look at the namespace itself. */
function checkNamespace(told: Outcome<string>, namespace: string, checks: Checks): void {
  if (!told.ok && told.failure.kind === 'absent') checks.fail('namespace', findingOf(told.failure));
  else if (!told.ok) {
    checks.pass('namespace', `requests are made in ${namespace}; whether it is there, a test certificate shows`);
  } else if (told.value === 'Terminating') {
    checks.fail('namespace', {
      message: `the namespace ${namespace} is being deleted`,
      fix: `make it again (kubectl create namespace ${namespace}), or set MESH_CA_SYSTEM_NAMESPACE to another`,
    });
  } else checks.pass('namespace', `requests are made in ${namespace}, which is there`);
}

async function checkRights(
  { client, namespace }: Cluster,
  failure: Failure | undefined,
  checks: Checks,
  call: CallOptions,
): Promise<void> {
  const told = await Promise.all(VERBS.map(async (verb) => ({ verb, answer: await client.may(verb, call) })));
  const where = `certificaterequests.cert-manager.io in ${namespace}`;
  const fix = 'kubectl apply -f policies/kubernetes/';
  const missing = told.flatMap(({ verb, answer }) => (answer.ok && !answer.value ? [verb] : []));
  const unknown = told.flatMap(({ verb, answer }) => (answer.ok ? [] : [{ verb, failure: answer.failure }]));
  if (missing.length > 0) {
    const message = `the user lacks ${missing.join(', ')} on ${where}`;
    checks.fail('rights', { message, cause: 'no role binding gives it', fix });
  } else if (failure?.kind === 'forbidden') checks.fail('rights', findingOf(failure));
  else if (unknown.length === 0) checks.pass('rights', `${VERBS.join(', ')} on ${where}`);
  else {
    const [first] = unknown;
    checks.warn('rights', {
      message: `whether the user may ${unknown.map(({ verb }) => verb).join(', ')} ${where} could not be found out`,
      cause: first?.failure.message,
      fix: first?.failure.fix ?? fix,
    });
  }
}

/** Only a first certificate shows it: mesh-ca has no right to read issuers, as the product has none. */
function checkIssuer({ issuerRef: { kind, name, group } }: CertManagerConf, checks: Checks): void {
  checks.pass(
    'issuer-named',
    `certificates are asked of ${kind}/${name} (${group}); whether it is ready, a test certificate shows`,
  );
}

function checkRoot(
  pinned: readonly Certificate[] | undefined | CaError,
  { conf, cluster, clock }: Inspected,
  checks: Checks,
): void {
  if (pinned instanceof CaError) {
    checks.fail('root-known', pinned);
    return;
  }
  const now = clock.now();
  if (pinned !== undefined) {
    checks.pass('root-known', `caCert holds ${subjects(pinned)}`);
    // An old root may stay beside the new one for as long as it likes.
    const alive = pinned.filter(({ notBefore, notAfter }) => notBefore <= now && now < notAfter);
    const renew =
      'give caCert the new root beside the old one, and take the old one out when every proxy has a new certificate';
    checkCaLife(checks, alive.length > 0 ? alive : pinned, now, renew);
    return;
  }
  const known = cluster.knownCa(conf.issuerRef);
  if (known === undefined) {
    const why = 'without caCert, cert-manager tells the root with the first certificate only (status.ca)';
    checks.skip('root-known', why);
    checks.skip('ca-valid', why);
    return;
  }
  const roots = known.roots.map(parseCertificate);
  checks.pass('root-known', `the last certificate led to ${subjects(roots)}`);
  const path = [...known.intermediates.map(parseCertificate), ...roots];
  checkCaLife(checks, path, now, "renew the issuer's CA in cert-manager");
}

function subjects(certificates: readonly Certificate[]): string {
  return certificates.map(({ subject }) => JSON.stringify(subject)).join(', ');
}

function findingOf(failure: Failure): Finding {
  const { message, fix, cause } = failure;
  return {
    message,
    fix,
    cause: cause instanceof Error ? cleanText(cause.message) || undefined : undefined,
    // A certificate that is not trusted does not become it by itself.
    retry: failure.kind !== 'tls' && toError(failure).retry,
  };
}
