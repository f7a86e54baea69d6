import { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { ObtainedToken, TokenSource } from './auth/token-source.ts';
import { isRefused } from './exchange.ts';
import type { Failure, Outcome } from './failure.ts';
import type { TokenCalls } from './token-calls.ts';
import { type Life, lifeFromLogin, lifeFromLookup, UNKNOWN_LIFE, UNTOLD_LIFE } from './token-life.ts';
import type { TokenPace } from './token-pace.ts';

export interface HeldToken {
  readonly token: string;
  readonly fingerprint: string;
  readonly life: Life;
}

/** How an attempt to get another token ended. `same`: the data source holds no other. `bad`: Vault does not accept what it holds. */
export type Verdict = 'fresh' | 'same' | 'bad' | 'failed';

/** Why there is no token, or no renewal. */
export type Trouble = Failure | ConfigError;

/** Gets tokens and proves them. One attempt at a time: whoever comes while one is under way gets its verdict. */
export interface TokenObtainer {
  once(): Promise<Verdict>;
  /** As `once`, but what was found bad a while ago is not proven again. */
  unlessRejected(): Promise<Verdict>;
  readonly isUnderWay: boolean;
  /** Of the last attempt. */
  readonly trouble: Trouble | undefined;
  /** What was read last is no good token; the one before it stays in use. */
  readonly isLatestRefused: boolean;
  /** What is held stands in the data source again. */
  forgive(): void;
}

export interface TokenObtainerOptions {
  readonly source: Pick<TokenSource, 'method' | 'logsIn' | 'fingerprint'>;
  /** Reads or logs in. @throws ConfigError; the reason of `signal` */
  obtain(signal: AbortSignal): Promise<Outcome<ObtainedToken>>;
  readonly calls: Pick<TokenCalls, 'lookUp' | 'isAccepted'>;
  readonly clock: IssuerDeps['clock'];
  readonly log: IssuerDeps['log'];
  readonly closing: AbortSignal;
  readonly pace: TokenPace;
  held(): HeldToken | undefined;
  /** Told before the verdict `fresh` is given. */
  take(next: HeldToken): void;
  /** Told before the verdict `same` is given. */
  confirm(fingerprint: string): void;
  /** Told before the verdict `failed` is given. */
  note(trouble: Trouble): void;
}

/** Reading, logging in and proving together. */
export const OBTAIN_TIMEOUT_MS = 20_000;

export function createTokenObtainer(options: TokenObtainerOptions): TokenObtainer {
  const { source, calls, clock, closing, pace } = options;
  let underWay: Promise<Verdict> | undefined;
  let trouble: Trouble | undefined;
  let isLatestRefused = false;

  function once(): Promise<Verdict> {
    underWay ??= attempt().finally(() => {
      underWay = undefined;
    });
    return underWay;
  }

  async function attempt(): Promise<Verdict> {
    const deadline = clock.deadline(OBTAIN_TIMEOUT_MS, closing);
    try {
      const got = await orAborted(options.obtain(deadline.signal), deadline.signal);
      return got.ok ? await orAborted(judge(got.value, deadline.signal), deadline.signal) : giveUp(got.failure);
    } catch (error) {
      closing.throwIfAborted();
      if (deadline.signal.aborted) return giveUp(tooSlow(source.method));
      if (error instanceof ConfigError) return giveUp(error);
      pace.failed('malformed', 0);
      throw error;
    } finally {
      deadline.clear();
    }
  }

  function giveUp(problem: Trouble): Verdict {
    trouble = problem;
    pace.failed(problem instanceof ConfigError ? 'conf' : problem.kind, problem.retryAfterMs ?? 0);
    options.note(problem);
    return 'failed';
  }

  async function judge({ token, fingerprint, life: told }: ObtainedToken, signal: AbortSignal): Promise<Verdict> {
    const old = options.held();
    if (token === old?.token) {
      trouble = undefined;
      isLatestRefused = false;
      pace.failed('same', 0);
      options.confirm(fingerprint);
      return 'same';
    }
    let life = told === undefined ? UNTOLD_LIFE : lifeFromLogin(told, clock.monotonicMs());
    // A login proves its token by itself, and the first one has nothing to take the place of.
    if (old !== undefined && !source.logsIn) {
      const proof = await prove(token, signal);
      if (!proof.ok) return giveUp(proof.failure);
      if (proof.value === undefined) return reject(fingerprint);
      life = proof.value;
    }
    trouble = undefined;
    isLatestRefused = false;
    pace.succeeded();
    options.take({ token, fingerprint, life });
    return 'fresh';
  }

  /** The token's life when Vault accepts it; undefined when it does not. */
  async function prove(token: string, signal: AbortSignal): Promise<Outcome<Life | undefined>> {
    const told = await calls.lookUp(token, signal);
    if (told.ok) return { ok: true, value: lifeFromLookup(told.value, clock.monotonicMs()) };
    if (!isRefused(told)) return told;
    const accepted = await calls.isAccepted(token, signal);
    return accepted.ok ? { ok: true, value: accepted.value ? UNKNOWN_LIFE : undefined } : accepted;
  }

  function reject(fingerprint: string): Verdict {
    const isNews = pace.reject(fingerprint);
    isLatestRefused = true;
    if (isNews) {
      const fix = 'give a valid token, as `vault token lookup` shows it';
      options.log.warn({ fix }, 'the new vault token is refused: the one before stays in use');
    }
    return 'bad';
  }

  return {
    once,
    async unlessRejected() {
      if (underWay !== undefined || !pace.hasRejections()) return once();
      const fingerprint = await source.fingerprint(closing).catch(() => '');
      return pace.isRejected(fingerprint) ? 'bad' : once();
    },
    get isUnderWay() {
      return underWay !== undefined;
    },
    get isLatestRefused() {
      return isLatestRefused;
    },
    forgive() {
      isLatestRefused = false;
    },
    get trouble() {
      return trouble;
    },
  };
}

function tooSlow(method: TokenSource['method']): Failure {
  return {
    kind: 'timeout',
    message: `no token by the method ${method} within ${OBTAIN_TIMEOUT_MS} ms`,
    fix: 'look at the network to Vault, and at what the login depends on',
  };
}
