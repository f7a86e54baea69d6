import { CaError, IssuerUnavailableError, NotSupportedError, withIssuerPrefix } from '../issuer/errors.ts';
import {
  type CallOptions,
  type CheckRule,
  type Concurrency,
  type Credential,
  type InspectOptions,
  type Issuer,
  isCredentialHolder,
  isKeyPairIssuer,
  type KeyPairIssuer,
} from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { BackendMetrics } from '../runtime/metrics.ts';
import { withinMs } from './within-ms.ts';

/** How long and how often one backend may be asked. */
export interface BackendLimits {
  /** Deadline of one certificate, all its calls together: `dpCert.requestTimeout`, else the setting. */
  readonly issueTimeoutMs: number;
  /** Deadline of reading the CA certificates: `rootChain.requestTimeout`, else 10 s as Kuma. */
  readonly rootTimeoutMs: number;
}

export interface BackendOptions {
  readonly mesh: string;
  readonly name: string;
  readonly type: string;
  readonly local: boolean;
  /** The real server behind it; backends with the same one share a queue. */
  readonly endpoint: string;
  readonly concurrency: Concurrency;
  /** What `inspect` looks at. */
  readonly checks: readonly CheckRule[];
  /** Every certificate costs money. */
  readonly billed: boolean;
  /** SHA-256 (hex) over what of the conf decides about certificates: a change makes every certificate due. */
  readonly hash: string;
  /** Wished lifetime of a data plane certificate. */
  readonly ttlSeconds: number;
  readonly limits: BackendLimits;
  readonly issuer: Issuer;
  readonly clock: Clock;
  /** Absent for a backend that is only tried: it leaves no series behind. */
  readonly metrics?: BackendMetrics;
  readonly log: Log;
}

export type BackendCall =
  | 'sign'
  | 'issueKeyPair'
  | 'trustBundle'
  | 'abilities'
  | 'ensure'
  | 'checkConf'
  | 'inspect'
  | 'leftovers'
  | 'renew';

/**
 * One backend of one mesh, ready for use: the issuer with deadline, metrics and error prefix around it. It is given up by
 * `retire` when its conf or a secret that it reads changes; calls under way still finish.
 */
export class Backend {
  readonly mesh: string;
  readonly name: string;
  readonly type: string;
  readonly local: boolean;
  readonly hash: string;
  readonly ttlSeconds: number;
  readonly limits: BackendLimits;
  readonly endpoint: string;
  readonly concurrency: Concurrency;
  readonly checks: readonly CheckRule[];
  readonly billed: boolean;
  /** Handles of its series; undefined for a backend that is only tried. */
  readonly metrics: BackendMetrics | undefined;
  readonly #issuer: Issuer;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Calls under way, and certificates of which one call is done and the next is to come: the issuer stays open for them. */
  #holders = 0;
  #retired = false;
  #closed: Promise<void> | undefined;

  constructor(options: BackendOptions) {
    this.mesh = options.mesh;
    this.name = options.name;
    this.type = options.type;
    this.local = options.local;
    this.hash = options.hash;
    this.ttlSeconds = options.ttlSeconds;
    this.limits = options.limits;
    this.#issuer = options.issuer;
    this.#clock = options.clock;
    this.endpoint = options.endpoint;
    this.concurrency = options.concurrency;
    this.checks = options.checks;
    this.billed = options.billed;
    this.metrics = options.metrics;
    this.#log = options.log;
  }

  /** Pure part of the issuer: needs no deadline. */
  subject(who: Parameters<Issuer['subject']>[0]): ReturnType<Issuer['subject']> {
    return this.#issuer.subject(who);
  }

  /** Counts one answered request for a certificate: an outcome, or an error code. */
  count(outcome: string): void {
    this.metrics?.certificate(outcome);
  }

  /** True when the issuer has this capability. */
  has<T>(guard: (issuer: Issuer) => issuer is Issuer & T): boolean {
    return guard(this.#issuer);
  }

  /** True once its conf, or a secret that it reads, has changed: whoever still holds it should ask the registry again. */
  get isRetired(): boolean {
    return this.#retired;
  }

  /**
   * One call of the issuer. How many may be under way is for the queue of the endpoint to say (issuance/queue).
   * @throws every error class of issuer/errors.ts, prefixed with type and name
   */
  async call<T>(
    name: BackendCall,
    work: (issuer: Issuer, options: CallOptions) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    this.#holders += 1;
    const startedMs = this.#clock.monotonicMs();
    const observe = (result: string) => this.metrics?.observe(name, result, this.#clock.monotonicMs() - startedMs);
    try {
      const result = await work(this.#issuer, options);
      observe('ok');
      return result;
    } catch (error) {
      const told = withIssuerPrefix(error, this.type, this.name);
      observe(told instanceof CaError ? told.code : 'ERR_INTERNAL');
      throw told;
    } finally {
      this.#leave();
    }
  }

  /** Keeps the issuer open for several calls that belong together, even when it is replaced meanwhile. Returns what ends that; idempotent. */
  hold(): () => void {
    this.#holders += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.#leave();
      isHeld = false;
    };
  }

  #leave(): void {
    this.#holders -= 1;
    if (this.#retired && this.#holders === 0) void this.#close();
  }

  /**
   * Runs `work`, all its calls and waits together, within one deadline: that of one certificate, or that of reading the CA certificates. Work that
   * does not honour its signal is left to itself when the deadline passes.
   * @param options `mostMs`: who asks has no more time than this
   * @throws IssuerUnavailableError when the deadline passes, or what the issuer says then; the signal's reason when `options.signal` fires
   */
  async within<T>(
    limit: 'certificate' | 'roots',
    { signal, mostMs = Number.POSITIVE_INFINITY }: CallOptions & { readonly mostMs?: number },
    work: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const [limitMs, key] =
      limit === 'roots' ? [this.limits.rootTimeoutMs, 'rootChain'] : [this.limits.issueTimeoutMs, 'dpCert'];
    const timeoutMs = Math.max(0, Math.min(limitMs, mostMs));
    const late = (cause: unknown) => {
      const more = mostMs < limitMs ? '' : `, or raise ${key}.requestTimeout`;
      const error = new IssuerUnavailableError(`no answer within ${Math.round(timeoutMs)} ms`, {
        cause,
        fix: `look at the load and the network between mesh-ca and the backend${more}`,
      });
      return withIssuerPrefix(error, this.type, this.name);
    };
    this.#holders += 1;
    try {
      return await withinMs(timeoutMs, { signal, clock: this.#clock, late }, work);
    } finally {
      this.#leave();
    }
  }

  /** Runs a check of what the issuer gave: what it throws is said of this backend, too. */
  judge<T>(check: () => T): T {
    try {
      return check();
    } catch (error) {
      throw withIssuerPrefix(error, this.type, this.name);
    }
  }

  /** `call` for the capability of making key and certificate in the backend. */
  issueKeyPair(
    request: Parameters<KeyPairIssuer['issueKeyPair']>[0],
    options: CallOptions,
  ): ReturnType<KeyPairIssuer['issueKeyPair']> {
    return this.call(
      'issueKeyPair',
      (issuer, inner) => {
        if (!isKeyPairIssuer(issuer)) throw new NotSupportedError('makes no key pairs', { fix: 'send a csr' });
        return issuer.issueKeyPair(request, inner);
      },
      options,
    );
  }

  /** What its issuer finds, told while it looks. */
  inspect({ report, ...options }: Omit<InspectOptions, 'ttlSeconds'>): Promise<void> {
    const { ttlSeconds } = this;
    return this.call('inspect', (issuer, inner) => issuer.inspect({ ...inner, report, ttlSeconds }), options);
  }

  /** The credential that its issuer holds; undefined when it holds none, or none yet. */
  get credential(): Credential | undefined {
    return isCredentialHolder(this.#issuer) ? this.#issuer.credential() : undefined;
  }

  /** No new call should come; those under way finish, then the issuer is closed. */
  retire(): void {
    this.#retired = true;
    if (this.#holders === 0) void this.#close();
  }

  /** Closes now. Idempotent. */
  close(): Promise<void> {
    this.#retired = true;
    return this.#close();
  }

  #close(): Promise<void> {
    this.#closed ??= this.#issuer.close().catch((error: unknown) => {
      this.#log.error({ mesh: this.mesh, backend: this.name, type: this.type, err: error }, 'issuer not closed');
    });
    return this.#closed;
  }
}
