import { CaError } from '../../src/issuer/errors.ts';
import type { Check, IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { caLifeCheck } from '../shared/ca-life.ts';
import { attempt, createChecks } from '../shared/checks.ts';
import type { Cluster } from './cluster.ts';
import type { CertManagerConf } from './config.ts';
import type { Verb } from './error-rules.ts';
import type { Failure, FailureKind } from './failure.ts';
import * as replies from './replies.ts';

const { pass, fail, clock: clockCheck } = createChecks('certmanager');

export interface Inspected {
  readonly conf: CertManagerConf;
  readonly cluster: Cluster;
  readonly clock: IssuerDeps['clock'];
  /** The roots of `caCert`; undefined when it is not set. */
  readonly loadPinned: () => Promise<readonly Certificate[] | undefined>;
}

const TIMEOUT_MS = 5_000;
/** A certificate of cert-manager's begins at its clock: one ahead of ours makes it not valid yet. */
const CLOCK_SKEW_MAX_MS = 5_000;
const VERBS: readonly Verb[] = ['create', 'get', 'list', 'watch', 'delete'];

/** Up to which check an attempt to list has come, by how it failed. */
const REACHED: Readonly<Partial<Record<FailureKind, 'nothing' | 'kubeconfig' | 'address'>>> = {
  kubeconfig: 'nothing',
  credentials: 'nothing',
  unreachable: 'kubeconfig',
  broken: 'kubeconfig',
  timeout: 'kubeconfig',
  tls: 'kubeconfig',
  malformed: 'kubeconfig',
  server: 'kubeconfig',
  'rate-limited': 'kubeconfig',
  unauthenticated: 'address',
};

/**
 * The named findings about one backend, in the order in which things must be right; what cannot be known because of an earlier fault is left out.
 * Reads only: access reviews store nothing.
 */
export async function inspectCertManager(inspected: Inspected, signal: AbortSignal): Promise<readonly Check[]> {
  const { conf, cluster, clock } = inspected;
  signal.throwIfAborted();
  cluster.touch();
  const { client, namespace } = cluster;
  const call = { signal, timeoutMs: TIMEOUT_MS };
  const listed = await client.list({ schema: replies.nameList, limit: 1, metadataOnly: true }, call);
  const rootCheck = await checkRoot(inspected, signal);
  const failure = listed.ok ? undefined : listed.failure;
  const reached = failure === undefined ? 'all' : (REACHED[failure.kind] ?? 'all');

  const checks: Check[] = [];
  const end = (name: string, found: Failure) => [...checks, bad(name, found), ...rootCheck];
  if (failure !== undefined && reached === 'nothing') return end('kubeconfig-loaded', failure);
  checks.push(pass('kubeconfig-loaded', `the cluster is ${client.server}`));
  if (failure !== undefined && reached === 'kubeconfig') return end('address-reachable', failure);
  checks.push(pass('address-reachable', `${client.server} answers`));
  if (failure !== undefined && reached === 'address') return end('credentials-accepted', failure);
  checks.push(pass('credentials-accepted', 'the API server accepts the credentials'));
  checks.push(await checkRights(cluster, failure, call));
  if (failure?.kind !== 'forbidden') {
    checks.push(
      failure === undefined
        ? pass('crd-installed', `CertificateRequests can be read in ${namespace}`)
        : bad('crd-installed', failure),
    );
  }
  const skewMs = client.serverNow().getTime() - clock.now().getTime();
  checks.push(clockCheck(skewMs, CLOCK_SKEW_MAX_MS, "the API server's"));
  return [...checks, ...rootCheck, issuerCheck(conf)];
}

async function checkRights(
  { client, namespace }: Cluster,
  failure: Failure | undefined,
  call: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<Check> {
  const told = await Promise.all(VERBS.map((verb) => client.may(verb, call)));
  const missing = VERBS.filter((_, i) => {
    const answer = told[i];
    return answer?.ok === true && !answer.value;
  });
  if (missing.length > 0) {
    const message = `the user lacks ${missing.join(', ')} on certificaterequests.cert-manager.io in ${namespace}`;
    return fail('rights', { message, fix: 'kubectl apply -f policies/kubernetes/' }, 'no role binding gives it');
  }
  if (failure?.kind === 'forbidden') return bad('rights', failure);
  const unknown = told.some((answer) => !answer.ok);
  return pass(
    'rights',
    unknown
      ? `certificaterequests can be listed in ${namespace}; the API server does not tell the other rights`
      : `${VERBS.join(', ')} on certificaterequests.cert-manager.io in ${namespace}`,
  );
}

async function checkRoot(
  { conf, cluster, clock, loadPinned }: Inspected,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const pinned = await attempt(() => orAborted(loadPinned(), signal), signal);
  if (pinned instanceof CaError) return [fail('root-known', pinned)];
  if (pinned !== undefined) {
    const renew =
      'give caCert the new root beside the old one, and take the old one out when every proxy has a new certificate';
    return [
      pass('root-known', `caCert holds ${subjects(pinned)}`),
      caLifeCheck('certmanager.ca-valid', pinned, clock.now(), renew),
    ];
  }
  const known = cluster.knownCa(conf.issuerRef);
  if (known === undefined) {
    const message = 'the root is not known yet: it comes with the first certificate (status.ca)';
    return [pass('root-known', message, 'set caCert when the issuer leaves status.ca empty')];
  }
  const roots = known.roots.map(parseCertificate);
  const path = [...known.intermediates.map(parseCertificate), ...roots];
  return [
    pass('root-known', `the last certificate led to ${subjects(roots)}`),
    caLifeCheck('certmanager.ca-valid', path, clock.now(), "renew the issuer's CA in cert-manager"),
  ];
}

function subjects(certificates: readonly Certificate[]): string {
  return certificates.map(({ subject }) => JSON.stringify(subject)).join(', ');
}

/** Only a first certificate shows it: mesh-ca has no right to read issuers, as the product has none. */
function issuerCheck({ issuerRef }: CertManagerConf): Check {
  const { kind, name, group } = issuerRef;
  return pass(
    'issuer-named',
    `certificates are asked of ${kind}/${name} (${group}); whether it is ready, a test certificate shows`,
  );
}

function bad(name: string, failure: Failure): Check {
  const { cause } = failure;
  return fail(name, failure, cause instanceof Error ? cause.message.slice(0, 200) : undefined);
}
