import { hash } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { Backends } from '../backends/backends.ts';
import { enabledBackend } from '../backends/enabled-backend.ts';
import { CaError, ConflictError, IssuerUnavailableError } from '../issuer/errors.ts';
import type { CallOptions, Tags } from '../issuer/issuer.ts';
import type { Log } from '../runtime/log.ts';
import type { CertificateRecord, Store } from '../store/store.ts';
import { fingerprintsIn } from '../trust/trust-bundle.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import { type AskInTurnOptions, askInTurn, type GoodAnswer } from './ask-in-turn.ts';
import type { CertificateAnswer, CertificateRequest, IdentityAnswer, Outcome } from './certificate-request.ts';
import { createDataplaneCrowd } from './dataplane-crowd.ts';
import { findStanding } from './find-standing.ts';
import { identityHash, identityOf, storedTags } from './identity-of.ts';
import { readCsr } from './read-csr.ts';
import type { ReissuePlans } from './reissue-plan.ts';
import { isOutage, mayServeStale, renewalTime, type Wanted } from './renewal.ts';
import { createStoreTrouble, type StoreTrouble } from './store-trouble.ts';
import { labels, requiredFor, type Task } from './task.ts';
import { whileBoth } from './while-both.ts';

export interface CertificatesOptions extends AskInTurnOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly bundles: TrustBundles;
  readonly log: Log;
  /** Rotations that are under way. Absent: there are none. */
  readonly plans?: ReissuePlans;
}

/** When to ask again for a certificate that was served stale, where nothing else is known. */
const STALE_RETRY_MS = 30_000;
/** A failure that came so soon: nothing has changed meanwhile. */
const AT_ONCE_MS = 50;

/** Never leaves this file: the request is tried once more. */
class OutdatedTask extends Error {}

/** The main job: a certificate for a data plane, made anew only when it has to be. */
export class Certificates {
  readonly #options: CertificatesOptions;
  /** By what makes requests equal; a symbol for those that equal no other. */
  readonly #underWay = new Map<string | symbol, Promise<CertificateAnswer>>();
  readonly #storeTrouble: StoreTrouble;
  readonly #crowd = createDataplaneCrowd();
  readonly #closing = new AbortController();

  constructor(options: CertificatesOptions) {
    this.#options = options;
    this.#storeTrouble = createStoreTrouble(options.clock);
    setMaxListeners(0, this.#closing.signal);
  }

  /**
   * The answer is given only when its record is durable. Equal requests at the same time share one certificate.
   * @throws NotFoundError: no such mesh. RequestInvalidError: CSR, tags or template. Every error of the issuer contract
   */
  async issue(request: CertificateRequest, options: CallOptions): Promise<CertificateAnswer> {
    try {
      return await this.#issueOnce(request, options, isOutdated);
    } catch (error) {
      if (!(error instanceof OutdatedTask)) throw error;
      this.#options.backends.refresh(request.mesh);
      return this.#issueOnce(request, options, () => false);
    }
  }

  /** @param mayTryAgain whether a failure only means that the mesh was changed meanwhile, so that another try may do better */
  async #issueOnce(
    request: CertificateRequest,
    options: CallOptions,
    mayTryAgain: (task: Task, error: unknown) => boolean,
  ): Promise<CertificateAnswer> {
    let task: Task | undefined;
    try {
      task = await this.#prepare(request, options);
      return (await this.#standing(task)) ?? (await this.#issueJoined(task, options));
    } catch (error) {
      if (task !== undefined && mayTryAgain(task, error))
        throw new OutdatedTask('the mesh was changed', { cause: error });
      const backend = task?.backend ?? this.#options.backends.peek(request.mesh)?.enabled;
      // Who is gone was told nothing.
      if (!options.signal.aborted) backend?.count(error instanceof CaError ? error.code : 'ERR_INTERNAL');
      throw error;
    }
  }

  #issueJoined(task: Task, caller: CallOptions): Promise<CertificateAnswer> {
    const { request, wanted } = task;
    const key = `${request.mesh}/${request.dataplane}/${wanted.backendHash}/${task.identityHash}/${wanted.keyHash}/${request.force === true}`;
    // A key made here goes to one caller only, so such requests are never joined.
    const known = task.csr === undefined ? undefined : this.#underWay.get(key);
    if (known !== undefined) return known;
    const leave = task.backend.local ? undefined : this.#crowd.enter(request.mesh, request.dataplane);
    const issuing = this.#issueOrServeStale(task, caller).finally(() => {
      this.#underWay.delete(mark);
      leave?.();
    });
    const mark = task.csr === undefined ? Symbol(key) : key;
    this.#underWay.set(mark, issuing);
    return issuing;
  }

  /** What a CSR for this data plane should carry. Issues nothing. */
  async identity(
    mesh: string,
    dataplane: string,
    tags: Tags | undefined,
    options: CallOptions,
  ): Promise<IdentityAnswer> {
    const backend = enabledBackend(await this.#options.backends.get(mesh));
    const identity = identityOf(
      backend,
      dataplane,
      tags ?? (await storedTags(this.#options.store, mesh, dataplane)),
      this.#options.profile,
    );
    const { signsCsrAsIs, keyTypes } = await backend.within('certificate', options, (within) =>
      backend.call('abilities', (issuer, call) => issuer.abilities(call), within),
    );
    return {
      uriSans: identity.uriSans,
      dnsNames: identity.dnsNames,
      commonName: identity.commonName,
      signsCsrAsIs,
      keyTypes,
    };
  }

  /** Ends what is under way with the backends. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new IssuerUnavailableError('mesh-ca is stopping', { retryAfterMs: 1000 }));
    await Promise.allSettled(this.#underWay.values());
  }

  async #prepare(request: CertificateRequest, options: CallOptions): Promise<Task> {
    const { store, backends, bundles, clock, profile } = this.#options;
    const { mesh, dataplane } = request;
    const from = backends.peek(mesh) ?? (await backends.get(mesh));
    const backend = enabledBackend(from);
    const identity = identityOf(
      backend,
      dataplane,
      request.tags ?? (await storedTags(store, mesh, dataplane)),
      profile,
    );
    const csr = request.csrPem === undefined ? undefined : await readCsr(request.csrPem);
    const bundle = bundles.peek(from) ?? (await bundles.forIssuing(from, options));
    const named = identityHash(identity);
    const wanted: Wanted = {
      backend: backend.name,
      backendHash: backend.hash,
      identityHash: named,
      keyHash: csr === undefined ? undefined : hash('sha256', csr.publicKey.spkiDer),
      trustedRoots: bundle.fingerprints,
      now: clock.now(),
    };
    return {
      request,
      from,
      backend,
      identity,
      identityHash: named,
      csr,
      wanted,
      bundle,
      record: await store.getCertificate(mesh, dataplane),
    };
  }

  /** The certificate that makes a new one unnecessary, if there is one. */
  async #standing(task: Task): Promise<CertificateAnswer | undefined> {
    const standing = await findStanding(task, this.#options);
    return standing && { ...this.#answer(task, standing.record, standing.outcome), renewAt: standing.renewAt };
  }

  async #issueOrServeStale(task: Task, caller: CallOptions): Promise<CertificateAnswer> {
    const { backend } = task;
    const breaker = () => this.#options.guards.state(backend).breaker;
    const issue = () => this.#issueNew(task, caller);
    try {
      // A CA in this process costs nothing.
      return await (backend.local ? issue() : this.#storeTrouble.guard(breaker, issue));
    } catch (error) {
      if (!isOutage(error)) throw error;
      const present = await this.#asOfNow(task, error);
      const { record, wanted } = present;
      if (!mayServeStale(record, wanted)) throw error;
      this.#options.log.warn(
        { ...labels(task), err: error, notAfter: record.notAfter },
        'no new certificate could be made: the older one is served',
      );
      const { hold, code, message, retryAfterMs = STALE_RETRY_MS } = error;
      const why = hold ?? { breaker: breaker(), cause: { code, message } };
      const validForMs = record.notAfter.getTime() - wanted.now.getTime();
      return { ...this.#answer(present, record, 'stale'), stale: { retryAfterMs, validForMs, ...why } };
    }
  }

  /**
   * The task by what is stored now: while it waited for its backend, its data plane may have got other tags, or be gone, and a root may be trusted no longer.
   * @throws the failure itself when the mesh or its backend is another one by now; what is wrong with the request now
   */
  async #asOfNow(task: Task, failure: CaError): Promise<Task> {
    const { clock, backends } = this.#options;
    const now = clock.now();
    const isSame = backends.peek(task.request.mesh) === task.from;
    const waitedMs = now.getTime() - task.wanted.now.getTime();
    if (isSame && waitedMs >= 0 && waitedMs < AT_ONCE_MS) return { ...task, wanted: { ...task.wanted, now } };
    const present = await this.#prepare(task.request, { signal: this.#closing.signal }).catch((error: unknown) => {
      throw isOutage(error) ? failure : error;
    });
    if (present.backend !== task.backend) throw failure;
    return present;
  }

  async #issueNew(task: Task, caller: CallOptions): Promise<CertificateAnswer> {
    const { store, bundles, random, log } = this.#options;
    const { request, backend, from, wanted } = task;
    const call = { signal: this.#closing.signal };
    const { issued, leaf, issuedAt, spkiDer, privateKeyDer } = await this.#ask(task, caller);
    const bundle = await bundles.include(from, backend, issued.roots, call);
    await this.#requireStillEnabled(task);
    const record: CertificateRecord = {
      mesh: request.mesh,
      dataplane: request.dataplane,
      backend: backend.name,
      backendType: backend.type,
      backendHash: wanted.backendHash,
      identityHash: task.identityHash,
      keyHash: wanted.keyHash ?? hash('sha256', spkiDer),
      leaf: issued.leaf,
      chain: issued.chain,
      rootHashes: fingerprintsIn(bundle, issued.roots) ?? [],
      serialNumber: leaf.serialNumber,
      issuedAt,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      renewAt: renewalTime(issuedAt, leaf.notAfter, random.uniform()),
    };
    await store.recordCertificate(record, requiredFor(task));
    log.debug({ ...labels(task), serialNumber: record.serialNumber, notAfter: record.notAfter }, 'certificate issued');
    return {
      ...this.#answer({ ...task, bundle }, record, 'issued'),
      ...(privateKeyDer === undefined ? {} : { privateKeyDer }),
    };
  }

  /**
   * A backend may take half a minute. When another one was enabled meanwhile, its roots may go before this certificate is used.
   * @throws ConflictError: ask anew
   */
  async #requireStillEnabled({ request: { mesh }, backend, from }: Task): Promise<void> {
    const { backends } = this.#options;
    const now = backends.peek(mesh) ?? (await backends.get(mesh));
    if (now === from || now.enabled?.name === backend.name) return;
    throw new ConflictError(`backend "${backend.name}" of mesh "${mesh}" was replaced while it issued a certificate`, {
      retryAfterMs: 1000,
      fix: 'ask again',
    });
  }

  /**
   * A key that is made here goes to one caller alone: when that is gone, nobody needs the certificate. What is for a CSR goes on, as whoever asked comes
   * back with the same.
   */
  #ask(task: Task, caller: CallOptions): Promise<GoodAnswer> {
    const { signal } = this.#closing;
    if (task.csr !== undefined || task.backend.local) return askInTurn(task, this.#options, { signal });
    return whileBoth(caller.signal, signal, (call) => askInTurn(task, this.#options, call));
  }

  #answer(task: Task, record: CertificateRecord, outcome: Outcome): CertificateAnswer {
    const { backend, identity, bundle, request } = task;
    backend.count(outcome);
    return {
      mesh: request.mesh,
      dataplane: request.dataplane,
      backend: record.backend,
      type: record.backendType,
      outcome,
      leaf: record.leaf,
      chain: record.chain,
      rootHashes: record.rootHashes,
      serialNumber: record.serialNumber,
      uriSans: identity.uriSans,
      commonName: identity.commonName,
      notBefore: record.notBefore,
      notAfter: record.notAfter,
      renewAt: record.renewAt,
      bundle,
    };
  }
}

/** The backend was replaced, or the whole mesh was made again, while the request was worked on. */
function isOutdated({ backend }: Task, error: unknown): boolean {
  return backend.isRetired || error instanceof ConflictError;
}
