import { CaError } from '../../src/issuer/errors.ts';
import type { Check, IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { caLifeCheck } from '../shared/ca-life.ts';
import type { Cluster } from './cluster.ts';
import type { CertManagerConf } from './config.ts';
import type { Verb } from './error-rules.ts';
import type { Failure, FailureKind } from './failure.ts';
import * as replies from './replies.ts';

export interface Inspected {
  readonly conf: CertManagerConf;
  readonly cluster: Cluster;
  readonly clock: IssuerDeps['clock'];
  /** The roots of `caCert`; undefined when it is not set. */
  readonly loadRoots: () => Promise<readonly Certificate[] | undefined>;
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
  if (failure !== undefined && reached === 'nothing') return end('certmanager.kubeconfig-loaded', failure);
  checks.push({ name: 'certmanager.kubeconfig-loaded', ok: true, message: `the cluster is ${client.server}` });
  if (failure !== undefined && reached === 'kubeconfig') return end('certmanager.address-reachable', failure);
  checks.push({ name: 'certmanager.address-reachable', ok: true, message: `${client.server} answers` });
  if (failure !== undefined && reached === 'address') return end('certmanager.credentials-accepted', failure);
  checks.push({
    name: 'certmanager.credentials-accepted',
    ok: true,
    message: 'the API server accepts the credentials',
  });
  checks.push(await checkRights(cluster, failure, call));
  if (failure?.kind !== 'forbidden') {
    checks.push(
      failure === undefined
        ? { name: 'certmanager.crd-installed', ok: true, message: `CertificateRequests can be read in ${namespace}` }
        : bad('certmanager.crd-installed', failure),
    );
  }
  checks.push(checkClock(client.serverNow(), clock.now()));
  return [...checks, ...rootCheck, issuerCheck(conf)];
}

async function checkRights(
  { client, namespace }: Cluster,
  failure: Failure | undefined,
  call: { readonly signal: AbortSignal; readonly timeoutMs: number },
): Promise<Check> {
  const name = 'certmanager.rights';
  const told = await Promise.all(VERBS.map((verb) => client.may(verb, call)));
  const missing = VERBS.filter((_, i) => {
    const answer = told[i];
    return answer?.ok === true && !answer.value;
  });
  if (missing.length > 0) {
    return {
      name,
      ok: false,
      message: `the user lacks ${missing.join(', ')} on certificaterequests.cert-manager.io in ${namespace}`,
      cause: 'no role binding gives it',
      fix: 'kubectl apply -f policies/kubernetes/',
    };
  }
  if (failure?.kind === 'forbidden') return bad(name, failure);
  const unknown = told.some((answer) => !answer.ok);
  return {
    name,
    ok: true,
    message: unknown
      ? `certificaterequests can be listed in ${namespace}; the API server does not tell the other rights`
      : `${VERBS.join(', ')} on certificaterequests.cert-manager.io in ${namespace}`,
  };
}

async function checkRoot(
  { conf, cluster, clock, loadRoots }: Inspected,
  signal: AbortSignal,
): Promise<readonly Check[]> {
  const name = 'certmanager.root-known';
  const renew =
    'give caCert the new root beside the old one, and take the old one out when every proxy has a new certificate';
  try {
    const pinned = await orAborted(loadRoots(), signal);
    if (pinned !== undefined) {
      return [
        { name, ok: true, message: `caCert holds ${pinned.map(({ subject }) => JSON.stringify(subject)).join(', ')}` },
        caLifeCheck('certmanager.ca-valid', pinned, clock.now(), renew),
      ];
    }
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (!(error instanceof CaError)) throw error;
    return [{ name, ok: false, message: error.message, ...(error.fix === undefined ? {} : { fix: error.fix }) }];
  }
  const known = cluster.knownCa(conf.issuerRef);
  if (known === undefined) {
    return [
      {
        name,
        ok: true,
        message: 'the root is not known yet: it comes with the first certificate (status.ca)',
        fix: 'set caCert when the issuer leaves status.ca empty',
      },
    ];
  }
  const roots = known.roots.map(parseCertificate);
  const path = [...known.intermediates.map(parseCertificate), ...roots];
  return [
    {
      name,
      ok: true,
      message: `the last certificate led to ${roots.map(({ subject }) => JSON.stringify(subject)).join(', ')}`,
    },
    caLifeCheck('certmanager.ca-valid', path, clock.now(), "renew the issuer's CA in cert-manager"),
  ];
}

function checkClock(theirs: Date, ours: Date): Check {
  const name = 'certmanager.clock-in-step';
  const skewMs = theirs.getTime() - ours.getTime();
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  if (Math.abs(skewMs) <= CLOCK_SKEW_MAX_MS)
    return { name, ok: true, message: "the API server's clock agrees with ours" };
  return {
    name,
    ok: false,
    message: `the API server's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} ours`,
    cause: 'certificates begin at the clock of the cluster: proxies may find them not valid yet',
    fix: 'set both clocks by NTP: timedatectl status',
  };
}

/** Only a first certificate shows it: mesh-ca has no right to read issuers, as the product has none. */
function issuerCheck({ issuerRef }: CertManagerConf): Check {
  return {
    name: 'certmanager.issuer-named',
    ok: true,
    message: `certificates are asked of ${issuerRef.kind}/${issuerRef.name} (${issuerRef.group}); whether it is ready, a test certificate shows`,
  };
}

function bad(name: string, { message, fix, cause }: Failure): Check {
  return { name, ok: false, message, fix, ...(cause instanceof Error && { cause: cause.message.slice(0, 200) }) };
}
