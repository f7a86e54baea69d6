import pLimit, { type LimitFunction } from 'p-limit';
import {
  CaError,
  IssuerUnavailableError,
  NotSupportedError,
  RateLimitedError,
  withIssuerPrefix,
} from '../issuer/errors.ts';
import { type CallOptions, type Issuer, isKeyPairIssuer, type KeyPairIssuer } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import type { BackendLoad, BackendMetrics } from '../runtime/metrics.ts';

/** How long and how often one backend may be asked. */
export interface BackendLimits {
  /** Deadline of one certificate: `dpCert.requestTimeout`, else the setting. */
  readonly issueTimeoutMs: number;
  /** Deadline of reading the CA certificates: `rootChain.requestTimeout`, else 10 s as Kuma. */
  readonly rootTimeoutMs: number;
}

export interface BackendOptions {
  readonly mesh: string;
  readonly name: string;
  readonly type: string;
  readonly local: boolean;
  /** SHA-256 (hex) over what of the conf decides about certificates: a change makes every certificate due. */
  readonly hash: string;
  /** Wished lifetime of a data plane certificate. */
  readonly ttlSeconds: number;
  readonly limits: BackendLimits;
  readonly issuer: Issuer;
  readonly clock: Clock;
  readonly metrics: BackendMetrics;
}

/** Calls to one external backend that may be under way, and that may wait. */
const CONCURRENT_CALLS = 32;
const WAITING_CALLS = 10_000;

export type BackendCall = 'sign' | 'issueKeyPair' | 'trustBundle' | 'abilities' | 'ensure' | 'checkConf' | 'inspect';

/**
 * One backend of one mesh, ready for use: the issuer with deadline, limit, metrics and error prefix around it. It is given up by
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
  readonly #issuer: Issuer;
  readonly #clock: Clock;
  readonly #metrics: BackendMetrics;
  readonly #limit: LimitFunction;
  #underWay = 0;
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
    this.#metrics = options.metrics;
    this.#limit = pLimit(CONCURRENT_CALLS);
  }

  /** Pure part of the issuer: needs no deadline and no limit. */
  subject(who: Parameters<Issuer['subject']>[0]): ReturnType<Issuer['subject']> {
    return this.#issuer.subject(who);
  }

  /** Calls under way and calls that wait for a place, now. */
  get load(): BackendLoad {
    return { inFlight: this.#underWay - this.#limit.pendingCount, queued: this.#limit.pendingCount };
  }

  /** Counts one answered request for a certificate: an outcome, or an error code. */
  count(outcome: string): void {
    this.#metrics.certificate(outcome);
  }

  /** True when the issuer has this capability. */
  has<T>(guard: (issuer: Issuer) => issuer is Issuer & T): boolean {
    return guard(this.#issuer);
  }

  /**
   * Runs `work` against the issuer.
   * @throws every error class of issuer/errors.ts, prefixed with type and name; a passed deadline is an IssuerUnavailableError
   */
  async call<T>(
    name: BackendCall,
    work: (issuer: Issuer, options: CallOptions) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    this.#underWay += 1;
    const startedMs = this.#clock.monotonicMs();
    try {
      const result = this.local ? await work(this.#issuer, options) : await this.#guarded(name, work, options);
      this.#metrics.observe(name, 'ok', this.#clock.monotonicMs() - startedMs);
      return result;
    } catch (error) {
      const told = withIssuerPrefix(error, this.type, this.name);
      this.#metrics.observe(
        name,
        told instanceof CaError ? told.code : 'ERR_INTERNAL',
        this.#clock.monotonicMs() - startedMs,
      );
      throw told;
    } finally {
      this.#underWay -= 1;
      if (this.#retired && this.#underWay === 0) void this.#close();
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

  async #guarded<T>(
    name: BackendCall,
    work: (issuer: Issuer, options: CallOptions) => Promise<T>,
    options: CallOptions,
  ): Promise<T> {
    if (this.#limit.pendingCount >= WAITING_CALLS) {
      throw new RateLimitedError(`${WAITING_CALLS} requests already wait for this backend`, { retryAfterMs: 1000 });
    }
    const timeoutMs = name === 'trustBundle' ? this.limits.rootTimeoutMs : this.limits.issueTimeoutMs;
    const deadline = this.#clock.deadline(timeoutMs, options.signal);
    try {
      return await this.#limit(() => {
        deadline.signal.throwIfAborted();
        return work(this.#issuer, { signal: deadline.signal });
      });
    } catch (error) {
      if (deadline.signal.aborted && !options.signal.aborted) {
        throw new IssuerUnavailableError(`no answer within ${timeoutMs} ms`, {
          cause: error,
          fix: 'look at the load and the network between mesh-ca and the backend, or raise dpCert.requestTimeout (rootChain.requestTimeout for its CA certificates)',
        });
      }
      throw error;
    } finally {
      deadline.clear();
    }
  }

  /** No new call should come; those under way finish, then the issuer is closed. */
  retire(): void {
    this.#retired = true;
    if (this.#underWay === 0) void this.#close();
  }

  /** Closes now. Idempotent. */
  close(): Promise<void> {
    this.#retired = true;
    return this.#close();
  }

  #close(): Promise<void> {
    this.#closed ??= this.#issuer.close();
    return this.#closed;
  }
}
