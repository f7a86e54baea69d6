import type { CertificateAnswer } from '../issuance/certificate-request.ts';
import { backOffMs } from '../issuance/guards/back-off.ts';
import { CaError, ConflictError, IssuerResponseError, NotFoundError, RateLimitedError } from '../issuer/errors.ts';
import type { CallOptions, Tags } from '../issuer/issuer.ts';
import { uriSansOf } from '../mesh/identity.ts';
import { checkProofs, entitle, tagsKey } from './entitlement.ts';
import { type HeldCertificate, heldCertificate, isVerifiable } from './held-certificate.ts';
import type { IssueRate } from './issue-rate.ts';
import type { MeshTrust } from './mesh-trust.ts';
import { type Any, identitySecret } from './protocol.ts';
import type { ProxyName } from './proxy-name.ts';
import type { Offer, SdsStream } from './sds-stream.ts';
import type { SessionsOptions } from './sessions.ts';
import { Statements } from './statements.ts';
import type { Taken } from './subscriptions.ts';
import { identityVersion, type Kind } from './versions.ts';

/** Longest wait for one certificate; backends have their own, shorter ones. */
const ISSUE_MS = 120_000;
/** Between two questions for a certificate that was not to be had; a backend may say another time. */
const RETRY = { backoffBaseMs: 2_000, backoffMaxMs: 60_000 };
/** A certificate that is due at once after it was found to stand is not asked for in a loop. */
const LEAST_WAIT_MS = 1_000;

export interface SessionEnvironment extends SessionsOptions {
  readonly trust: MeshTrust;
  readonly rate: IssueRate;
  readonly closing: AbortSignal;
  /** True: a bundle is sent just now, and `take` is called once everybody has got it. */
  readonly answerInTurn: (take: () => void) => boolean;
  /** A bundle came with a certificate. */
  readonly onTrust: () => void;
  /** Waits until the bundle is known, or cannot be had. */
  readonly readTrust: (options: CallOptions) => Promise<void>;
  /** Tell the agenda that `dueAtMs` has changed. */
  readonly onDueChanged: (session: Session) => void;
  /** Have `work` called soon. */
  readonly onWork: (session: Session, urgent: boolean) => void;
}

/**
 * One data plane and its streams: Envoy opens one for each secret. They share one certificate and one key, which lives here only and ends with the last
 * stream.
 */
export class Session implements Offer {
  readonly who: ProxyName;
  readonly streams = new Map<SdsStream, () => void>();
  dueAtMs = Number.POSITIVE_INFINITY;
  readonly #env: SessionEnvironment;
  readonly #statements: Statements;
  #held: HeldCertificate | undefined;
  /** The tags that `#held` was made for (`tagsKey`). Undefined: it is not known. */
  #heldFor: string | undefined;
  /** The bundle that `#held` was checked against, and the outcome. */
  #checked: { readonly version: string; readonly ok: boolean } | undefined;
  /** Something may have changed that certificates are made by. */
  #mustAsk = true;
  /** Something may have changed that credentials are proven by. */
  #mustProve = false;
  #working: Promise<void> | undefined;
  #workAgain = false;
  #renewAtMs = Number.POSITIVE_INFINITY;
  #failures = 0;

  constructor(who: ProxyName, env: SessionEnvironment) {
    this.who = who;
    this.#env = env;
    this.#statements = new Statements(who, env);
  }

  join(stream: SdsStream): void {
    this.streams.set(stream, this.#env.lastSeen.hold(this.who.mesh, this.who.dataplane));
  }

  leave(stream: SdsStream): void {
    this.streams.get(stream)?.();
    if (!this.streams.delete(stream)) return;
    this.#statements.trusts(this.streams.keys());
    this.#statements.uses(this.#wanting(), this.#held);
  }

  /** Everybody gets a new bundle before answers to it, which cost more, are looked at. False: `take` is not called, it is its turn now. */
  answerInTurn(take: () => void): boolean {
    return this.#env.answerInTurn(take);
  }

  /** What a request of one of its streams meant. */
  taken(stream: SdsStream, { accepted, refused, stale }: Taken): void {
    if (stale) return;
    if (refused !== undefined) this.#statements.refuses(refused);
    if (stream.subscriptions.wants('trust')) this.#statements.trusts(this.streams.keys());
    if (stream.subscriptions.wants('identity')) {
      if (accepted === 'identity') this.#statements.uses(this.#wanting(), this.#held);
      const standing = this.#held?.privateKeyDer === undefined ? undefined : this.#held.version;
      if (stream.allowedFor === undefined || stream.subscriptions.isOwed('identity', standing))
        this.#env.onWork(this, true);
    } else {
      // Its proof is not looked at meanwhile.
      stream.allowedFor = undefined;
    }
    stream.flush(this);
    this.#schedule();
  }

  /** Backends, bundle, tags or plan may have changed: the certificate is looked at again. */
  look(urgent = false): void {
    this.#mustAsk = true;
    this.#mustProve = true;
    this.#env.onWork(this, urgent);
  }

  /** Nothing has changed that its certificate was made by, if it is of this backend. */
  lookUnlessSettled(backend: string): void {
    const isBusy = this.#working !== undefined || this.#failures > 0;
    if (isBusy || this.#held?.backend !== backend || !this.#stands()) this.look();
  }

  /** The Dataplane was changed, or is gone: what it said is told again, in case that it was forgotten. */
  dataplaneChanged(): void {
    this.#statements.repeat();
    this.#statements.trusts(this.streams.keys());
    this.#statements.uses(this.#wanting(), this.#held);
    this.look(true);
  }

  /** Its time has come: the certificate is due, or what was refused is tried once more. */
  due(): void {
    this.dueAtMs = Number.POSITIVE_INFINITY;
    if (this.nowMs() >= this.#renewAtMs) {
      // The work that follows sets it again.
      this.#renewAtMs = Number.POSITIVE_INFINITY;
      this.look();
    }
    this.flush();
    this.#schedule();
  }

  /** Trust goes first. */
  flush(): void {
    for (const stream of this.streams.keys()) if (stream.subscriptions.wants('trust')) stream.flush(this);
    for (const stream of this.streams.keys()) if (stream.subscriptions.wants('identity')) stream.flush(this);
  }

  flushTrust(): void {
    for (const stream of this.streams.keys()) if (stream.subscriptions.wants('trust')) stream.flush(this);
  }

  end(error: unknown): void {
    for (const stream of [...this.streams.keys()]) stream.end(error);
  }

  /** Makes sure that the data plane has a certificate that stands. Never runs twice at a time. */
  work(): Promise<void> {
    if (this.#working !== undefined) {
      this.#workAgain = true;
      return this.#working;
    }
    this.#working = this.#workOnce().finally(() => {
      this.#working = undefined;
      if (!this.#workAgain) return;
      this.#workAgain = false;
      if (this.streams.size > 0) this.#env.onWork(this, true);
    });
    return this.#working;
  }

  newest(kind: Kind): string | undefined {
    if (kind === 'trust') return this.#env.trust.current?.version;
    return this.#stands() ? this.#held?.version : undefined;
  }

  canSend(kind: Kind, { allowedFor }: SdsStream): boolean {
    if (kind === 'trust') return true;
    return this.#held?.privateKeyDer !== undefined && allowedFor !== undefined && allowedFor === this.#heldFor;
  }

  content(kind: Kind): Any {
    const { trust, settings } = this.#env;
    if (kind === 'trust' && trust.current !== undefined) return trust.current.secret;
    const held = this.#held;
    if (held?.privateKeyDer === undefined) throw new Error(`there is no ${kind} secret to send`);
    return identitySecret(settings.sdsIdentityName, { ...held, privateKeyDer: held.privateKeyDer });
  }

  nowMs(): number {
    return this.#env.clock.now().getTime();
  }

  async #workOnce(): Promise<void> {
    const { clock, closing, log } = this.#env;
    const deadline = clock.deadline(ISSUE_MS, closing);
    try {
      await this.#ensure(deadline);
      this.#failures = 0;
    } catch (error) {
      if (closing.aborted || this.streams.size === 0) return;
      if (error instanceof NotFoundError) return this.#endWanting(error);
      this.#failures += 1;
      const waitMs = this.#retryMs(error);
      this.#renewAtMs = this.nowMs() + waitMs;
      const code = error instanceof CaError ? error.code : 'ERR_INTERNAL';
      log.warn({ ...this.who, code, err: error, retryAfterMs: waitMs }, 'SDS: no certificate for a data plane');
    } finally {
      deadline.clear();
      this.#schedule();
    }
  }

  async #ensure(options: CallOptions): Promise<void> {
    const again = this.#mustProve;
    this.#mustProve = false;
    const refuse = (stream: SdsStream, error: CaError) => this.#refuse(stream, error);
    await checkProofs([...this.streams.keys()], this.nowMs(), again, options, refuse);
    const { tags, isStored } = await this.#entitle();
    const wanting = this.#wanting();
    if (wanting.length === 0 || tags === undefined) return;
    const wanted = tagsKey(tags);
    await this.#env.readTrust(options);
    if (this.#held === undefined) await this.#adopt(wanting);
    // One that is not known to be bad is judged by whoever issues.
    const held = this.#stands() || this.#checked?.ok !== false ? this.#held : undefined;
    const isKeyMissing =
      held?.privateKeyDer === undefined &&
      wanting.some(({ subscriptions }) => subscriptions.isOwed('identity', held?.version));
    const isDue = this.#mustAsk || this.#heldFor !== wanted || this.nowMs() >= this.#renewAtMs;
    if (isKeyMissing || held === undefined || isDue) {
      const current = isKeyMissing || held === undefined ? {} : { currentDer: [held.leaf, ...held.chain] };
      if (!('currentDer' in current)) this.#checkRate();
      this.#mustAsk = false;
      try {
        const request = { ...this.who, ...current, ...(isStored ? {} : { tags }) };
        const answer = await this.#env.certificates.issue(request, options);
        this.#checkIdentity(answer, tags);
        this.#take(answer);
        this.#heldFor = wanted;
      } catch (error) {
        this.#mustAsk = true;
        throw error;
      }
    }
    this.flush();
    this.#statements.uses(this.#wanting(), this.#held);
  }

  /** Ends the streams that may be none of this data plane; the others may be sent its key. */
  async #entitle(): Promise<{ readonly tags: Tags | undefined; readonly isStored: boolean }> {
    const streams = [...this.streams.keys()];
    const { tags, isStored, refused } = await entitle(this.who, streams, this.#env.store);
    for (const stream of streams) {
      const error = refused.get(stream);
      if (error !== undefined) this.#refuse(stream, error);
      else if (tags !== undefined && stream.subscriptions.wants('identity')) stream.allowedFor = tagsKey(tags);
    }
    return { tags, isStored };
  }

  /**
   * Nobody was asked whether he may have any other.
   * @throws ConflictError when the Dataplane was changed since its tags were read
   */
  #checkIdentity({ uriSans }: CertificateAnswer, tags: Tags): void {
    const { mesh, dataplane } = this.who;
    const expected = uriSansOf(mesh, tags, this.#env.settings.certificateProfile, dataplane);
    if (expected.length === uriSans.length && expected.every((san, i) => san === uriSans[i])) return;
    throw new ConflictError(`data plane "${dataplane}" of mesh "${mesh}" was changed meanwhile`, {
      retryAfterMs: 1000,
    });
  }

  /** @throws RateLimitedError when it has had too many that follow on none */
  #checkRate(): void {
    const waitMs = this.#env.rate.waitMs(this.who);
    if (waitMs === 0) return;
    const { mesh, dataplane } = this.who;
    throw new RateLimitedError(`data plane "${dataplane}" of mesh "${mesh}" has got too many new certificates lately`, {
      fix: 'look whether its proxy starts again and again, or whether others use its name',
      retryAfterMs: waitMs,
    });
  }

  #take(answer: CertificateAnswer): void {
    const { trust, log } = this.#env;
    const renewAtMs = answer.renewAt.getTime();
    if (answer.outcome !== 'issued') {
      this.#renewAtMs = Math.max(renewAtMs, this.nowMs() + LEAST_WAIT_MS);
      return;
    }
    if (answer.privateKeyDer === undefined) throw new IssuerResponseError('a certificate came without its key');
    const issued = heldCertificate(answer, answer.privateKeyDer);
    if (trust.note(answer.bundle)) this.#env.onTrust();
    const known = trust.current;
    if (known === undefined || !isVerifiable(issued, known, this.#env.clock.now())) {
      throw new IssuerResponseError(`the new certificate ${issued.serialNumber} is not valid under the trust bundle`);
    }
    this.#held = issued;
    this.#env.rate.note(this.who);
    this.#checked = { version: known.version, ok: true };
    this.#renewAtMs = Math.max(renewAtMs, this.nowMs() + LEAST_WAIT_MS);
    this.#statements.sent(issued);
    log.debug({ ...this.who, serialNumber: issued.serialNumber }, 'SDS: new certificate for a data plane');
  }

  /** After a restart: the certificate that the proxy says it holds, if it is the one that we answered last. */
  async #adopt(wanting: readonly SdsStream[]): Promise<void> {
    const claims = new Set(wanting.flatMap(({ subscriptions }) => subscriptions.held('identity')?.version ?? []));
    if (claims.size === 0) return;
    const record = await this.#env.store.getCertificate(this.who.mesh, this.who.dataplane);
    if (record === undefined || !claims.has(identityVersion(record.serialNumber))) return;
    this.#held = heldCertificate(record, undefined);
    this.#checked = undefined;
    this.#mustAsk = true;
  }

  /** It may be sent, or used on: not expired, and verifiable under the newest bundle. */
  #stands(): boolean {
    const held = this.#held;
    if (held === undefined || this.#env.clock.now() >= held.notAfter) return false;
    const trust = this.#env.trust.current;
    if (trust === undefined) return false;
    if (this.#checked?.version !== trust.version) {
      this.#checked = { version: trust.version, ok: isVerifiable(held, trust, this.#env.clock.now()) };
    }
    return this.#checked.ok;
  }

  #wanting(): SdsStream[] {
    return [...this.streams.keys()].filter(({ subscriptions }) => subscriptions.wants('identity'));
  }

  #endWanting(error: CaError): void {
    for (const stream of this.#wanting()) this.#refuse(stream, error);
  }

  #refuse(stream: SdsStream, error: CaError): void {
    stream.allowedFor = undefined;
    this.#env.log.warn({ ...this.who, code: error.code, err: error }, 'SDS: stream of a data plane ended');
    stream.end(error);
    this.leave(stream);
  }

  #schedule(): void {
    const retries = [...this.streams.keys()].flatMap(({ subscriptions }) => subscriptions.retryAtMs() ?? []);
    const renewAtMs = this.#wanting().length === 0 ? Number.POSITIVE_INFINITY : this.#renewAtMs;
    const dueAtMs = Math.min(renewAtMs, ...retries.map((atMs) => Math.max(atMs, this.nowMs() + LEAST_WAIT_MS)));
    if (dueAtMs === this.dueAtMs) return;
    this.dueAtMs = dueAtMs;
    this.#env.onDueChanged(this);
  }

  #retryMs(error: unknown): number {
    const chance = this.#env.random.uniform();
    const told = error instanceof CaError ? error.retryAfterMs : undefined;
    return told === undefined
      ? backOffMs(this.#failures, RETRY, chance)
      : Math.max(told, LEAST_WAIT_MS) * (1 + chance / 4);
  }
}
