import { IssuancePendingError, IssuerResponseError } from '../../src/issuer/errors.ts';
import {
  type CallOptions,
  type Cleaner,
  type ConfChecker,
  type IssuedCertificate,
  type Issuer,
  type IssuerContext,
  type IssuerDeps,
  KEY_TYPES,
  type SignRequest,
} from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { collectFindings } from '../shared/check-sources.ts';
import { createLifetime } from '../shared/lifetime.ts';
import { type CaCertRules, loadCaCert } from '../shared/load-ca-cert.ts';
import { loadOnce } from '../shared/load-once.ts';
import { createChainReader, type ReadChain } from './chain.ts';
import { acquireCluster } from './cluster.ts';
import type { CertManagerConf } from './config.ts';
import { renderDnsNames } from './dns-names.ts';
import { inspectCertManager } from './inspect.ts';
import { createRequestObject } from './request-object.ts';
import { runRequest } from './run-request.ts';

/** No request waits longer, whatever its caller allows: then nobody's clock says that it may be swept while it lives. */
const LONGEST_WAIT_MS = 120_000;
/** After that, until any mesh-ca may delete the object of one that crashed. */
const GRACE_MS = 60_000;
const CREATE_CALLS = 3;
const CLOCK_SKEW_MAX_MS = 3_000;
/** Of the life that the CA has left, for the way to cert-manager and back. */
const CA_MARGIN_MS = 5_000;

export function createCertManagerIssuer(
  context: IssuerContext,
  conf: CertManagerConf,
  deps: IssuerDeps,
): Issuer & ConfChecker & Cleaner {
  const { clock, random } = deps;
  const { issuerRef } = conf;
  const lease = acquireCluster(deps);
  const cluster = lease.value;
  const pinned = loadOnce((options) => loadPinned(conf, deps, options.signal), clock, 'caCert');
  const chains = createChainReader(issuerRef);
  const lifetime = createLifetime();
  const underWay = new Set<Promise<IssuedCertificate>>();
  let closed: Promise<void> | undefined;

  /** One CertificateRequest and what came of it. */
  async function issue(
    request: SignRequest,
    durationSeconds: number,
    budget: { left: number },
    { signal, park }: CallOptions,
  ): Promise<ReadChain> {
    const roots = await pinned.get({ signal });
    const { certificatePem, caPem } = await runRequest({
      ...{ cluster, issuerRef, budget, clock, random, signal, park },
      createObject: () =>
        createRequestObject({
          ...{ context, issuerRef, durationSeconds },
          csrDer: request.csrDer,
          requestId: request.requestId,
          identity: request.identity,
          namespace: cluster.namespace,
          instance: cluster.instance,
          owner: cluster.owner,
          expiresAt: new Date(cluster.client.serverNow().getTime() + LONGEST_WAIT_MS + GRACE_MS),
        }),
    });
    const read = chains.read({ spkiDer: request.spkiDer, certificatePem, caPem, pinned: roots });
    const { chain: intermediates, roots: found } = read.issued;
    cluster.noteCa(issuerRef, { roots: found, intermediates, notAfter: read.caNotAfter });
    await untilValid(read.issued, signal);
    return read;
  }

  /** A certificate begins at cert-manager's clock. One that is a little ahead of ours is waited for. */
  async function untilValid({ notBefore }: IssuedCertificate, signal: AbortSignal): Promise<void> {
    const aheadMs = notBefore.getTime() - clock.now().getTime();
    if (aheadMs <= 0) return;
    if (aheadMs <= CLOCK_SKEW_MAX_MS) return clock.sleep(aheadMs, signal);
    throw new IssuerResponseError(
      `the issuer ${issuerRef.kind}/${issuerRef.name} gave a certificate that begins at ${notBefore.toISOString()}: its clock is ${Math.round(aheadMs / 1000)} s ahead of ours`,
      { fix: 'set the clocks of the cluster and of this machine by NTP: timedatectl status' },
    );
  }

  /** cert-manager's CA issuer signs beyond the end of its CA: what is asked for is cut to that end, which the first answer tells. */
  async function issueWithinCa(request: SignRequest, call: CallOptions): Promise<IssuedCertificate> {
    const wishedSeconds = Math.max(1, Math.floor(request.ttlSeconds));
    const budget = { left: CREATE_CALLS };
    const secondsUntil = (end: Date) =>
      Math.floor((end.getTime() - CA_MARGIN_MS - cluster.client.serverNow().getTime()) / 1000);
    const known = cluster.knownCa(issuerRef);
    const left = known === undefined ? wishedSeconds : secondsUntil(known.notAfter);
    const { issued, caNotAfter } = await issue(
      request,
      left < 1 ? wishedSeconds : Math.min(wishedSeconds, left),
      budget,
      call,
    );
    if (issued.notAfter <= caNotAfter) return issued;
    const seconds = secondsUntil(caNotAfter);
    const again = seconds < 1 || budget.left < 1 ? undefined : await issue(request, seconds, budget, call);
    if (again !== undefined && again.issued.notAfter <= again.caNotAfter) return again.issued;
    throw new IssuerResponseError(
      `the issuer ${issuerRef.kind}/${issuerRef.name} gave a certificate until ${issued.notAfter.toISOString()}, but its CA ends at ${caNotAfter.toISOString()}`,
      { fix: "renew the issuer's CA, or ask for less in dpCert.rotation.expiration" },
    );
  }

  async function start(request: SignRequest, call: CallOptions): Promise<IssuedCertificate> {
    const deadline = clock.deadline(LONGEST_WAIT_MS, call.signal);
    try {
      return await issueWithinCa(request, { ...call, signal: deadline.signal });
    } finally {
      deadline.clear();
    }
  }

  return {
    subject: (who) => ({
      commonName: conf.commonName?.render(who) ?? '',
      dnsNames: renderDnsNames(conf.dnsNames, who),
    }),

    async abilities({ signal }) {
      signal.throwIfAborted();
      return { sign: true, signsCsrAsIs: true, issueKeyPair: false, keyTypes: KEY_TYPES };
    },

    async sign(request, call) {
      const work = lifetime.whileOpen(call.signal, (signal) => start(request, { ...call, signal }));
      underWay.add(work);
      try {
        return await work;
      } finally {
        underWay.delete(work);
      }
    },

    async trustBundle({ signal }) {
      signal.throwIfAborted();
      lifetime.signal.throwIfAborted();
      cluster.touch();
      const roots = await pinned.get({ signal });
      const known = cluster.knownCa(issuerRef);
      if (roots !== undefined) {
        return { roots: roots.map(({ der }) => der), intermediates: known?.intermediates ?? [] };
      }
      if (known !== undefined) return { roots: known.roots, intermediates: known.intermediates };
      throw new IssuancePendingError(
        `the root of the issuer ${issuerRef.kind}/${issuerRef.name} is not known before its first certificate`,
        { fix: 'set conf.caCert to the root CA, or issue a first certificate' },
      );
    },

    checkConf: (call) => collectFindings([() => loadPinned(conf, deps, call.signal)], call),

    inspect: (options) =>
      lifetime.whileOpen(options.signal, (signal) =>
        inspectCertManager({ conf, cluster, clock, loadPinned: () => pinned.get({ signal }) }, { ...options, signal }),
      ),

    leftovers: ({ signal }) => lifetime.whileOpen(signal, (open) => cluster.deletions.settled(open)),

    close() {
      closed ??= (async () => {
        pinned.close();
        lifetime.close();
        // Each hands its object over for deletion before it ends.
        await Promise.allSettled([...underWay]);
        await lease.release();
      })();
      return closed;
    },
  };
}

const CA_CERT_RULES: CaCertRules = {
  what: 'root certificate',
  check(certificates) {
    const other = certificates.find(({ isSelfIssued }) => !isSelfIssued);
    if (other === undefined) return undefined;
    const { subject, issuer } = other;
    return `holds no usable root certificate: ${JSON.stringify(subject)} is no root: ${JSON.stringify(issuer)} issued it`;
  },
  fix: 'give the PEM of the self-signed root CA, one or more of them',
};

/** The certificates of `caCert`; undefined when it is not set. @throws ConfigError */
async function loadPinned(
  { caCert }: CertManagerConf,
  deps: IssuerDeps,
  signal: AbortSignal,
): Promise<readonly Certificate[] | undefined> {
  if (caCert === undefined) return undefined;
  return loadCaCert(deps, caCert, CA_CERT_RULES, signal);
}
