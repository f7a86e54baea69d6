import { IssuerDeniedError, IssuerResponseError } from '../../src/issuer/errors.ts';
import {
  type ConfChecker,
  type IssuedCertificate,
  type Issuer,
  type IssuerContext,
  type IssuerDeps,
  KEY_TYPES,
  type SignRequest,
} from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { collectFindings, inlineWarnings } from '../shared/check-sources.ts';
import { issuedCertificate, type Path, wrongKey } from '../shared/issued-certificate.ts';
import { createLifetime } from '../shared/lifetime.ts';
import { remember } from '../shared/remembered.ts';
import { type Attempt, createAttempts, startAnew } from './attempts.ts';
import { SHORT_LIVED_SECONDS } from './ca-facts.ts';
import { leaseCallLimits } from './call-limits.ts';
import { createCaller } from './caller.ts';
import { bundleOf, createChainReader, parseLeaf } from './chain.ts';
import type { AcmPcaConf } from './config.ts';
import { createConnector } from './connector.ts';
import { credentialChecks } from './credentials.ts';
import { findEndpoint } from './endpoint.ts';
import { nameOf } from './errors.ts';
import { inspectAcmPca } from './inspect.ts';
import { issueCertificate } from './issue-certificate.ts';
import { createKnownFacts } from './known-facts.ts';
import { loadPinned } from './pinned-roots.ts';
import { ReadyTime } from './ready-time.ts';
import { chooseTemplate } from './template.ts';
import { createTransport } from './transport.ts';

const LOAD_TIMEOUT_MS = 10_000;
/** A file of `caCert` that changed is noticed after this; a secret at once, by a new issuer. */
const PINNED_MAX_AGE_MS = 600_000;

export function createAcmPcaIssuer(context: IssuerContext, conf: AcmPcaConf, deps: IssuerDeps): Issuer & ConfChecker {
  const { arn: ca } = conf;
  const { clock } = deps;
  const lifetime = createLifetime();
  const { signal: closing, whileOpen } = lifetime;
  const template = chooseTemplate(ca, conf.commonName !== undefined);
  const endpoint = findEndpoint(conf, process.env);
  const transport = createTransport(deps);
  const connector = createConnector(conf, { template, endpoint, transport }, deps, closing);
  const limits = leaseCallLimits(ca, endpoint.url, deps);
  const caller = createCaller((signal) => connector.get(signal), limits.value, context.mesh);
  const facts = createKnownFacts(ca, caller, { clock, closing });
  const pinned = remember((signal) => loadPinned(conf, deps, signal), {
    ...{ clock, closing },
    ...{ loadTimeoutMs: LOAD_TIMEOUT_MS, maxAgeMs: PINNED_MAX_AGE_MS },
  });
  const attempts = createAttempts(clock);
  const chains = createChainReader(ca);
  const issueDeps = { ca, template, caller, clock, facts, readyTime: new ReadyTime() };
  const abilities = { sign: true, signsCsrAsIs: template.signsCsrAsIs, issueKeyPair: false, keyTypes: KEY_TYPES };

  async function signOnce(request: SignRequest, attempt: Attempt, signal: AbortSignal): Promise<IssuedCertificate> {
    const trusted = await pinned.get(signal);
    const reply = await issueCertificate(request, attempt, issueDeps, signal);
    const leaf = parseLeaf(reply.Certificate);
    const path = judge(request, leaf, attempt, () =>
      chains.read(leaf, reply.CertificateChain ?? '', trusted, facts.peek()?.certificates ?? NONE),
    );
    if (trusted.length === 0 && !(await facts.confirms(path, signal))) {
      startAnew(attempt);
      throw foreignRoot(nameOf({ ca }), path);
    }
    attempt.isDone = true;
    facts.learn(path, isCutShort(request, leaf, path));
    return issuedCertificate(leaf, path);
  }

  /** A certificate that is not what was asked for never becomes it: the next request asks for another. */
  function judge(request: SignRequest, leaf: Certificate, attempt: Attempt, read: () => Path): Path {
    try {
      if (!leaf.spkiDer.equals(request.spkiDer)) throw wrongKey(nameOf({ ca }));
      return read();
    } catch (error) {
      startAnew(attempt);
      throw error;
    }
  }

  return {
    subject: (who) => ({ commonName: conf.commonName?.render(who) ?? '', dnsNames: [] }),

    async abilities({ signal }) {
      signal.throwIfAborted();
      return abilities;
    },

    sign: (request, call) =>
      whileOpen(call.signal, async (signal) => {
        const attempt = attempts.take(request);
        try {
          return await signOnce(request, attempt, signal);
        } finally {
          if (attempt.plan !== undefined || attempt.round > 0) attempts.keep(request, attempt);
        }
      }),

    trustBundle: (call) =>
      whileOpen(call.signal, async (signal) => {
        const trusted = await pinned.get(signal);
        if (trusted.length > 0) return bundleOf(nameOf({ ca }), trusted);
        try {
          return bundleOf(nameOf({ ca }), await facts.certificates(signal));
        } catch (error) {
          throw error instanceof IssuerDeniedError ? withoutBundle(error) : error;
        }
      }),

    async checkConf(call) {
      const { signal } = call;
      const checks = [() => loadPinned(conf, deps, signal), ...credentialChecks(conf, deps, signal)];
      const source = conf.awsCredentials?.accessKeySecret;
      const secrets = source === undefined ? [] : [{ field: 'auth.awsCredentials.accessKeySecret', source }];
      return { ...(await collectFindings(checks, call)), warnings: inlineWarnings(secrets) };
    },

    inspect: (options) =>
      whileOpen(options.signal, (signal) =>
        inspectAcmPca(
          {
            ...{ ca, caller, template, endpoint, transport, clock },
            credentialsFrom: conf.awsCredentials === undefined ? 'default chain' : 'conf',
            loadCredentials: (within) => connector.get(within),
            loadPinned: (within) => pinned.get(within),
          },
          { ...options, signal },
        ),
      ),

    async close() {
      lifetime.close();
      connector.close();
      await limits.release();
    },
  };
}

const NONE: readonly Certificate[] = [];

/** AWS gave no more than the life of short-lived mode, though more was wished for and the CA lives on. */
function isCutShort({ ttlSeconds }: SignRequest, leaf: Certificate, { chain, roots }: Path): boolean {
  const lifeSeconds = (leaf.notAfter.getTime() - leaf.notBefore.getTime()) / 1000;
  const wishedEndMs = leaf.notBefore.getTime() + ttlSeconds * 1000;
  const caLives = [...chain, ...roots].every(({ notAfter }) => notAfter.getTime() > wishedEndMs);
  return ttlSeconds > SHORT_LIVED_SECONDS && lifeSeconds <= SHORT_LIVED_SECONDS && caLives;
}

function withoutBundle(error: IssuerDeniedError): IssuerDeniedError {
  return new IssuerDeniedError(error.message, {
    cause: error,
    fix: `${error.fix ?? ''}; or set caCert to the CA's root certificate, which takes no right`,
  });
}

function foreignRoot(ca: string, { roots }: Path): IssuerResponseError {
  return new IssuerResponseError(
    `${ca} gave a certificate under the root ${JSON.stringify(roots[0]?.subject ?? '')}, which is not the one that AWS tells for it`,
    { fix: 'check what stands between mesh-ca and AWS; set caCert to say which root is right' },
  );
}
