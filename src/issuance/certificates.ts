import { hash } from 'node:crypto';
import type { Backend } from '../backends/backend.ts';
import type { Backends, MeshBackends } from '../backends/backends.ts';
import {
  CaError,
  ConfigError,
  IssuerUnavailableError,
  NotSupportedError,
  RequestInvalidError,
} from '../issuer/errors.ts';
import type { CallOptions, Identity, IssuedCertificate, Tags } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { CertificateRecord, Store, StoredCertificate } from '../store/store.ts';
import { rootsOf, type TrustBundle } from '../trust/trust-bundle.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import { fingerprintSha256 } from '../x509/certificate.ts';
import { createCsr } from '../x509/create-csr.ts';
import type { Csr } from '../x509/csr.ts';
import type { KeyPair } from '../x509/key-pair.ts';
import type { Profile } from '../x509/profile.ts';
import type { KeyType } from '../x509/subject-public-key.ts';
import type { CertificateAnswer, CertificateRequest, IdentityAnswer, Outcome } from './certificate-request.ts';
import { checkIssued } from './check-issued.ts';
import { identityHash, identityOf, storedTags } from './identity-of.ts';
import { spkiOfPrivateKey } from './make-key.ts';
import { checkCsrFits, readCsr } from './read-csr.ts';
import { readCurrent } from './read-current.ts';
import { dueReason, mayServeStale, renewalTime, type Wanted } from './renewal.ts';

export interface CertificatesOptions {
  readonly store: Store;
  readonly backends: Backends;
  readonly bundles: TrustBundles;
  readonly makeKey: (type: KeyType) => Promise<KeyPair>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly profile: Profile;
  /** Type of a key made here; another is taken where the backend does not sign this one. */
  readonly keyType: KeyType;
}

/** Everything known about a request before a backend is asked. */
interface Task {
  readonly request: CertificateRequest;
  readonly from: MeshBackends;
  readonly backend: Backend;
  readonly identity: Identity;
  readonly identityHash: string;
  readonly csr: Csr | undefined;
  readonly wanted: Wanted;
  readonly bundle: TrustBundle;
  readonly record: StoredCertificate | undefined;
}

/** How long a caller should wait before it asks again for a certificate that was served stale. */
const STALE_RETRY_MS = 30_000;

/** The main job: a certificate for a data plane, made anew only when it has to be. */
export class Certificates {
  readonly #options: CertificatesOptions;
  readonly #underWay = new Map<string, Promise<CertificateAnswer>>();
  readonly #closing = new AbortController();

  constructor(options: CertificatesOptions) {
    this.#options = options;
  }

  /**
   * The answer is given only when its record is durable. Equal requests at the same time share one certificate.
   * @throws NotFoundError: no such mesh. RequestInvalidError: CSR, tags or template. Every error of the issuer contract
   */
  async issue(request: CertificateRequest, options: CallOptions): Promise<CertificateAnswer> {
    const task = await this.#prepare(request, options);
    const standing = task.request.force === true ? undefined : await this.#standing(task);
    if (standing !== undefined) return standing;
    // A key made here goes to one caller only, so such requests are never joined.
    if (task.csr === undefined) return this.#issueOrServeStale(task);
    const key = `${request.mesh}/${request.dataplane}/${task.wanted.backendHash}/${task.identityHash}/${task.wanted.keyHash}/${request.force === true}`;
    const known = this.#underWay.get(key);
    if (known !== undefined) return known;
    const issuing = this.#issueOrServeStale(task).finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, issuing);
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
    const { signsCsrAsIs, keyTypes } = await backend.call(
      'abilities',
      (issuer, call) => issuer.abilities(call),
      options,
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
    const bundle = bundles.peek(from) ?? (await bundles.get(mesh, options));
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
    const { request, record, wanted, csr } = task;
    if (request.currentPem !== undefined) {
      const current = await this.#current(task, request.currentPem);
      if (current !== undefined) return this.#answer(task, current, 'kept');
    }
    if (csr !== undefined && record !== undefined && dueReason(record, wanted) === undefined)
      return this.#answer(task, record, 'reused');
    return undefined;
  }

  /** The caller's own certificate as a record, when it stands. One that we do not know yet is adopted, so that insights show it. */
  async #current(task: Task, pem: string): Promise<CertificateRecord | undefined> {
    const { backend, identity, record, wanted, bundle, from } = task;
    const current = readCurrent(pem, {
      identity,
      identityHash: task.identityHash,
      backend,
      profile: this.#options.profile,
      at: wanted.now,
      roots: rootsOf(bundle, backend.name),
      intermediates: this.#options.bundles.intermediates(from, backend.name),
      record,
    });
    if (current === undefined || dueReason(current, wanted) !== undefined) return undefined;
    if (record === undefined) await this.#options.store.recordCertificate(current);
    return current;
  }

  async #issueOrServeStale(task: Task): Promise<CertificateAnswer> {
    try {
      return await this.#issueNew(task);
    } catch (error) {
      const { record, wanted } = task;
      if (!(error instanceof CaError && error.retry) || record === undefined || !mayServeStale(record, wanted)) {
        task.backend.count(error instanceof CaError ? error.code : 'ERR_INTERNAL');
        throw error;
      }
      this.#options.log.warn(
        { ...labels(task), err: error, notAfter: record.notAfter },
        'backend fails: older certificate served',
      );
      return { ...this.#answer(task, record, 'stale'), retryAfterMs: error.retryAfterMs ?? STALE_RETRY_MS };
    }
  }

  async #issueNew(task: Task): Promise<CertificateAnswer> {
    const { store, bundles, clock, random, log, profile } = this.#options;
    const { request, backend, identity, from, wanted } = task;
    const call = { signal: this.#closing.signal };
    const { issued, spkiDer, privateKeyDer } = await this.#ask(task, call);
    const issuedAt = clock.now();
    const leaf = backend.judge(() =>
      checkIssued(issued, { identity, spkiDer, profile, at: issuedAt, local: backend.local }),
    );
    const bundle = await bundles.include(from, backend.name, issued.roots, call);
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
      rootHashes: issued.roots.map(fingerprintSha256),
      serialNumber: leaf.serialNumber,
      issuedAt,
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
      renewAt: renewalTime(issuedAt, leaf.notAfter, random.uniform()),
    };
    await store.recordCertificate(record);
    log.debug({ ...labels(task), serialNumber: record.serialNumber, notAfter: record.notAfter }, 'certificate issued');
    return {
      ...this.#answer({ ...task, bundle }, record, 'issued'),
      ...(privateKeyDer === undefined ? {} : { privateKeyDer }),
    };
  }

  /** One call to the backend: with the caller's CSR, with a key made here, or with one that the backend makes. */
  async #ask(
    task: Task,
    call: CallOptions,
  ): Promise<{ issued: IssuedCertificate; spkiDer: Buffer; privateKeyDer?: Buffer }> {
    const { backend, identity, csr } = task;
    const abilities = await backend.call('abilities', (issuer, options) => issuer.abilities(options), call);
    const common = {
      identity,
      ttlSeconds: backend.ttlSeconds,
      requestId: this.#options.random.bytes(16).toString('hex'),
    };
    const sign = (csrDer: Buffer, spkiDer: Buffer) =>
      backend.call('sign', (issuer, options) => issuer.sign({ ...common, csrDer, spkiDer }, options), call);
    if (csr !== undefined) {
      if (!abilities.sign) {
        throw new NotSupportedError(
          `backend "${backend.name}" has no right to sign a CSR, it can only make key and certificate itself`,
          {
            fix: 'ask without csr, or give the backend the right to sign (policies/ holds the document)',
          },
        );
      }
      checkCsrFits(csr, identity, abilities, task.request.dataplane);
      return { issued: await sign(csr.der, csr.publicKey.spkiDer), spkiDer: csr.publicKey.spkiDer };
    }
    if (abilities.sign) {
      const keyType = abilities.keyTypes.includes(this.#options.keyType)
        ? this.#options.keyType
        : abilities.keyTypes[0];
      if (keyType === undefined)
        throw new ConfigError(`backend "${backend.name}" signs no key type that mesh-ca makes`);
      const keyPair = await this.#options.makeKey(keyType);
      return {
        issued: await sign(createCsr(keyPair, identity), keyPair.spkiDer),
        spkiDer: keyPair.spkiDer,
        privateKeyDer: keyPair.pkcs8Der,
      };
    }
    const issued = await backend.issueKeyPair(common, call);
    return { issued, spkiDer: spkiOfPrivateKey(issued.privateKeyDer), privateKeyDer: issued.privateKeyDer };
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

function enabledBackend(from: MeshBackends): Backend {
  if (from.enabled !== undefined) return from.enabled;
  const { name, mtls } = from.mesh;
  const wanted = mtls?.enabledBackend ?? '';
  if (wanted === '') {
    throw new RequestInvalidError(`mTLS is off in mesh "${name}"`, {
      violations: [{ field: 'mesh', message: 'mtls.enabledBackend of the mesh is empty' }],
      fix: `set mtls.enabledBackend of mesh "${name}" to one of its backends`,
    });
  }
  throw new ConfigError(
    `backend "${wanted}" of mesh "${name}" cannot be used: its type is not installed or its conf is not valid`,
    {
      fix: `mesh-ca get mesh ${name} shows it; apply a corrected mesh`,
    },
  );
}

function labels({ backend, request }: Task): Readonly<Record<string, string>> {
  return { mesh: backend.mesh, backend: backend.name, type: backend.type, dataplane: request.dataplane };
}
