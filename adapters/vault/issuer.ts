import { createPublicKey, type KeyObject } from 'node:crypto';
import { CaError, IssuerResponseError, NotSupportedError } from '../../src/issuer/errors.ts';
import type {
  ConfChecker,
  CredentialHolder,
  Identity,
  IssuedCertificate,
  Issuer,
  IssuerContext,
  IssuerDeps,
  KeyPairIssuer,
} from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { loadPrivateKey } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { checkSources } from '../shared/check-sources.ts';
import { issuedCertificate, wrongKey } from '../shared/issued-certificate.ts';
import { createLifetime } from '../shared/lifetime.ts';
import { remember } from '../shared/remembered.ts';
import { abilitiesOf, findKnowledge, type Knowledge } from './abilities.ts';
import { bundleOf, createChainReader, parseLeaf } from './chain.ts';
import type { SubjectBody, VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import { createConnector } from './connector.ts';
import { dataSources } from './data-sources.ts';
import { type FailureKind, type Outcome, toError } from './failure.ts';
import { inspectVault } from './inspect.ts';
import { createMountIssuers, type ToValue } from './mount-issuers.ts';
import type { IssuedReply } from './replies.ts';
import { learnFromRefusal } from './role.ts';
import { createStateExplainer } from './server-state.ts';
import { checkValidity } from './validity.ts';

/** For the two or three calls that are made once and remembered. */
const PREPARE_TIMEOUT_MS = 60_000;
/** A policy or role that was widened is noticed after this; a narrowed one at the first refusal. */
const KNOWLEDGE_MAX_AGE_MS = 60_000;
/** CA certificates that no answer has told: a new one is told by the first certificate that it signs. */
const MOUNT_CAS_MAX_AGE_MS = 600_000;
/** What could not be asked is asked again after this. */
const ASK_AGAIN_MS = 30_000;

export function createVaultIssuer(
  context: IssuerContext,
  conf: VaultConf,
  deps: IssuerDeps,
): Issuer & KeyPairIssuer & ConfChecker & CredentialHolder {
  const { clock, log } = deps;
  const names = { ...conf, mesh: context.mesh };
  const lifetime = createLifetime();
  const { signal: closing } = lifetime;
  const connector = createConnector(context, conf, deps, closing, () => knowledge.forget());
  const options = { clock, closing, loadTimeoutMs: PREPARE_TIMEOUT_MS };
  const open = (signal: AbortSignal) => connector.open(signal);
  const state = createStateExplainer(open, clock, closing);
  const toValue: ToValue = async (outcome, signal) => {
    if (outcome.ok) return outcome.value;
    throw toError(await state.explain(outcome.failure, signal));
  };

  const knowledge = remember<Knowledge>(
    async (signal) => toValue(await connector.call((client) => findKnowledge(client, names, signal), signal), signal),
    {
      ...options,
      maxAgeMs: ({ isComplete }) => (isComplete ? KNOWLEDGE_MAX_AGE_MS : ASK_AGAIN_MS),
      grace: { ms: ASK_AGAIN_MS, after: isPassing },
    },
  );
  const issuers = createMountIssuers(conf.pki, {
    open,
    toValue,
    log,
    issuerRef: () => knowledge.peek()?.role.issuerRef,
  });
  const mountCas = remember((signal) => issuers.read(signal), { ...options, maxAgeMs: MOUNT_CAS_MAX_AGE_MS });
  const chains = createChainReader(conf.pki, mountCas);

  /** One call of `sign` or `issue`. A refusal corrects what is remembered, so that the next call does better. */
  async function request(
    used: Knowledge,
    call: (client: VaultClient) => Promise<Outcome<IssuedReply>>,
    signal: AbortSignal,
  ): Promise<IssuedReply> {
    const outcome = await connector.call(call, signal);
    if (outcome.ok) return outcome.value;
    const { kind, message } = outcome.failure;
    // A role that can be read was changed since; of another one the refusal is all that can be known.
    if (FORGETFUL.has(kind) || (kind === 'key-type' && used.role.isKnown)) forget(used);
    else if (kind === 'key-type' && knowledge.peek() === used) {
      knowledge.set({ ...used, role: learnFromRefusal(used.role, message) });
    }
    return toValue(outcome, signal);
  }

  /** Refusals of calls that were made at the same time are about the same mistake: asked about once. */
  function forget(used: Knowledge): void {
    if (knowledge.peek() === used) knowledge.forget();
  }

  async function toIssued(reply: IssuedReply, leaf: Certificate, signal: AbortSignal): Promise<IssuedCertificate> {
    const caPems = [reply.issuing_ca ?? '', ...(reply.ca_chain ?? [])];
    const path = await chains.read(leaf, caPems, signal);
    await checkValidity(leaf, path, { conf, mesh: context.mesh, clock, open }, signal);
    return issuedCertificate(leaf, path);
  }

  return {
    subject: (who) => ({ commonName: conf.commonName?.render(who) ?? '', dnsNames: [] }),

    async abilities({ signal }) {
      return abilitiesOf(await knowledge.get(signal));
    },

    async sign({ csrDer, spkiDer, identity, ttlSeconds }, { signal }) {
      const used = await knowledge.get(signal);
      if (!used.maySign) throw notPermitted(conf, 'sign', 'issue');
      const body = { ...subjectBody(identity, ttlSeconds), csr: encodePem('CERTIFICATE REQUEST', csrDer) };
      const reply = await request(used, (client) => client.sign(body, signal), signal);
      const leaf = parseLeaf(conf.pki, reply.certificate);
      if (!leaf.spkiDer.equals(spkiDer)) throw wrongKey(`vault at ${conf.endpoint}`);
      // The role takes names from the CSR since it was read.
      if (!used.role.signsCsrAsIs && !isSameSet(leaf.uriSans, identity.uriSans)) forget(used);
      return toIssued(reply, leaf, signal);
    },

    async issueKeyPair({ identity, ttlSeconds }, { signal }) {
      const used = await knowledge.get(signal);
      if (!used.mayIssue) throw notPermitted(conf, 'issue', 'sign');
      const body = { ...subjectBody(identity, ttlSeconds), private_key_format: 'pkcs8' } as const;
      const reply = await request(used, (client) => client.issue(body, signal), signal);
      const leaf = parseLeaf(conf.pki, reply.certificate);
      const privateKey = parsePrivateKey(reply.private_key ?? '');
      const spkiDer = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
      if (!leaf.spkiDer.equals(spkiDer)) throw wrongKey(`vault at ${conf.endpoint}`);
      const issued = await toIssued(reply, leaf, signal);
      return { ...issued, privateKeyDer: privateKey.export({ type: 'pkcs8', format: 'der' }) };
    },

    async trustBundle({ signal }) {
      closing.throwIfAborted();
      const cas = await issuers.read(signal);
      mountCas.set(cas);
      return bundleOf(conf.pki, cas);
    },

    checkConf: (call) => checkSources(dataSources(conf), deps.load, call),

    inspect: (call) => inspectVault({ conf, mesh: context.mesh, connector, issuers, clock }, call),

    credential() {
      const { isHeld, expiresAt, lastFailure } = connector.status();
      if (!isHeld && lastFailure === undefined) return undefined;
      return { expiresAt: expiresAt instanceof Date ? expiresAt : undefined, lastFailure };
    },

    async close() {
      lifetime.close();
      await connector.close();
    },
  };
}

/** Refusals after which rights or role are not what they were. */
const FORGETFUL: ReadonlySet<FailureKind> = new Set(['denied', 'token', 'mount', 'namespace', 'absent']);

/** Faults that say nothing about rights and role: what was known of them still holds. */
function isPassing(error: unknown): boolean {
  return error instanceof CaError && error.retry;
}

function subjectBody(identity: Identity, ttlSeconds: number): SubjectBody {
  return {
    ...(identity.commonName === '' ? {} : { common_name: identity.commonName }),
    ...(identity.dnsNames.length === 0 ? {} : { alt_names: identity.dnsNames }),
    exclude_cn_from_sans: true,
    uri_sans: identity.uriSans,
    ttl: `${Math.max(1, Math.floor(ttlSeconds))}s`,
    format: 'pem',
  };
}

function isSameSet(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((one) => others.includes(one));
}

function parsePrivateKey(pem: string): KeyObject {
  try {
    return loadPrivateKey(pem);
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    // The parser's own words stay out: they are about a key.
    throw new IssuerResponseError("vault's answer to issue holds no readable private key", {
      fix: 'check that fromCp.address is a Vault server',
    });
  }
}

function notPermitted({ pki, role }: VaultConf, wanted: 'sign' | 'issue', other: 'sign' | 'issue'): NotSupportedError {
  return new NotSupportedError(`the token may use ${pki}/${other}/${role} but not ${pki}/${wanted}/${role}`, {
    fix: `add to a policy of the token: path "${pki}/${wanted}/${role}" { capabilities = ["update"] }`,
  });
}
