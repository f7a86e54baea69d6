import { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { AuthMethod, ObtainedToken, TokenLife, TokenSource } from './auth/token-source.ts';
import type { Tokens } from './client.ts';
import { isRefused } from './exchange.ts';
import { type Failure, failed, type Outcome } from './failure.ts';
import { LOOKUP_PATH, type TokenCalls } from './token-calls.ts';
import {
  backoffMs,
  type Life,
  lifeAfterRenewal,
  lifeFromLogin,
  lifeFromLookup,
  nextStep,
  type Step,
  type Tries,
  UNKNOWN_LIFE,
  UNTOLD_LIFE,
  withoutRenewal,
} from './token-life.ts';
import { createTokenPace, type TokenPace } from './token-pace.ts';

/**
 * Keeps one token alive: renews it, replaces it before it ends, when its data source changed and when Vault refuses it. Does nothing before the
 * first call. One loop with one timer; one obtaining at a time, whoever wants it.
 */
export interface TokenKeeper extends Tokens {
  status(): TokenStatus;
  /** Ends the loop, then revokes what came from a login. Idempotent. */
  close(): Promise<void>;
}

export interface TokenStatus {
  readonly method: AuthMethod;
  readonly type: TokenLife['type'];
  /** `unknown`: no token yet, or one that may not look itself up. */
  readonly expiresAt: Date | 'never' | 'unknown';
  readonly renewable: boolean;
  /** Why the last renewal, login or reading of the token failed. Undefined after the next success. Holds no secret. */
  readonly lastFailure: string | undefined;
}

export interface TokenKeeperOptions {
  readonly source: Pick<TokenSource, 'method' | 'logsIn' | 'fingerprint'>;
  /** Reads or logs in. @throws ConfigError; the reason of `signal` */
  obtain(signal: AbortSignal): Promise<Outcome<ObtainedToken>>;
  readonly calls: TokenCalls;
  readonly clock: IssuerDeps['clock'];
  readonly random: Pick<IssuerDeps['random'], 'uniform'>;
  readonly log: IssuerDeps['log'];
  readonly secrets: Pick<IssuerDeps['secrets'], 'onChange'>;
  /** How often data sources are looked at for changes. 0: never. */
  readonly checkIntervalMs: number;
  /** Fires with the reason that callers get once it is closed. */
  readonly closing: AbortSignal;
  /** Fields of every log line. */
  readonly place: Readonly<Record<string, string>>;
}

interface Held {
  readonly token: string;
  readonly fingerprint: string;
  readonly life: Life;
}

/** How an attempt to get another token ended. `same`: the data source holds no other. `bad`: Vault does not accept what it holds. */
type Verdict = 'fresh' | 'same' | 'bad' | 'failed';

/** Reading, logging in and proving together. */
const OBTAIN_TIMEOUT_MS = 20_000;
const REVOKE_TIMEOUT_MS = 2_000;
/** Calls under way still carry the old token for a moment. */
const REVOKE_GRACE_MS = 5_000;
/** A token that ends by itself so soon is not worth a call. */
const REVOKE_WORTH_MS = 10_000;
/** Vault says: this request can never work. Others may. */
const isFinal = ({ status = 0 }: Failure) => status >= 400 && status < 500 && ![408, 412, 429].includes(status);
const SHORT_LIVED: Failure = {
  kind: 'server',
  message: 'vault gives tokens that end before they can be used',
  fix: 'raise token_ttl, and token_max_ttl, of the role that logs in',
};
const NO_TRIES = { failures: 0, retryAfterMs: 0 };

export function createTokenKeeper(options: TokenKeeperOptions): TokenKeeper {
  const { source, calls, clock, log, place, closing } = options;
  const now = () => clock.monotonicMs();
  const pace: TokenPace = createTokenPace(clock);

  let held: Held | undefined;
  let step: Step | undefined;
  let tries: Tries = { ...NO_TRIES, lastMs: 0 };
  /** Of the last renewal or attempt to get a token; gone with the next success. */
  let trouble: Failure | ConfigError | undefined;
  /** Of the last attempt to get a token. */
  let obtainTrouble: Failure | ConfigError | undefined;
  let hasToldOfEnd = false;
  let obtaining: Promise<Verdict> | undefined;
  let loop: Promise<void> | undefined;
  let wake = () => {};
  let stopFollowing: (() => void) | undefined;
  let mayHaveChanged = false;
  let nextCheckMs = Number.POSITIVE_INFINITY;
  let failedChecks = 0;
  let isClosed = false;
  /** Fires when nobody should wait for the end of a grace any more. */
  const hurry = new AbortController();
  const revoking = new Set<Promise<void>>();

  function plan(): void {
    step = held && nextStep(held.life, tries, source.logsIn, now(), options.random.uniform());
    wake();
  }

  function hold(next: Held, lastMs = now()): void {
    held = next;
    tries = { ...NO_TRIES, lastMs };
    trouble = undefined;
    plan();
  }

  /** Says it once, until something succeeds. */
  function note(problem: Failure | ConfigError, message: string): void {
    const isNews = trouble === undefined;
    trouble = problem;
    log[isNews ? 'warn' : 'debug']({ ...place, reason: problem.message, fix: problem.fix }, message);
  }

  function retryLater(problem: { readonly retryAfterMs?: number | undefined }): void {
    tries = { failures: tries.failures + 1, lastMs: now(), retryAfterMs: problem.retryAfterMs ?? 0 };
    plan();
  }

  // Getting a token.

  /** Whoever comes while one is under way gets its verdict. */
  function obtainOnce(): Promise<Verdict> {
    obtaining ??= obtain().finally(() => {
      obtaining = undefined;
    });
    return obtaining;
  }

  async function obtain(): Promise<Verdict> {
    const deadline = clock.deadline(OBTAIN_TIMEOUT_MS, closing);
    try {
      const got = await orAborted(options.obtain(deadline.signal), deadline.signal);
      if (!got.ok) return giveUp(got.failure);
      return await orAborted(judge(got.value, deadline.signal), deadline.signal);
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

  function giveUp(problem: Failure | ConfigError): Verdict {
    note(problem, 'no vault token to be had');
    obtainTrouble = problem;
    pace.failed(problem instanceof ConfigError ? 'conf' : problem.kind, problem.retryAfterMs ?? 0);
    return 'failed';
  }

  async function judge(got: ObtainedToken, signal: AbortSignal): Promise<Verdict> {
    if (held !== undefined && got.token === held.token) {
      held = { ...held, fingerprint: got.fingerprint };
      obtainTrouble = undefined;
      pace.failed('same', 0);
      return 'same';
    }
    let life = got.life === undefined ? UNTOLD_LIFE : lifeFromLogin(got.life, now());
    if (held !== undefined && !source.logsIn) {
      const proof = await prove(got.token, signal);
      if (!proof.ok) return giveUp(proof.failure);
      if (proof.value === undefined) {
        const isNews = pace.reject(got.fingerprint);
        if (isNews) {
          const fix = 'give a valid token, as `vault token lookup` shows it';
          log.warn({ ...place, fix }, 'the new vault token is refused: the one before stays in use');
        }
        return 'bad';
      }
      life = proof.value;
    }
    const old = held;
    pace.succeeded();
    obtainTrouble = undefined;
    hasToldOfEnd = false;
    hold({ token: got.token, fingerprint: got.fingerprint, life });
    if (old !== undefined) {
      log.info({ ...place, method: source.method }, 'a new vault token is in use');
      revokeLater(old);
    }
    start();
    return 'fresh';
  }

  /** The token's life when Vault accepts it; undefined when it does not. */
  async function prove(token: string, signal: AbortSignal): Promise<Outcome<Life | undefined>> {
    const told = await calls.lookUp(token, signal);
    if (told.ok) return { ok: true, value: lifeFromLookup(told.value, now()) };
    if (!isRefused(told)) return told;
    const accepted = await calls.isAccepted(token, signal);
    return accepted.ok ? { ok: true, value: accepted.value ? UNKNOWN_LIFE : undefined } : accepted;
  }

  // The loop.

  function start(): void {
    if (loop !== undefined || isClosed) return;
    nextCheckMs = checkAfter(options.checkIntervalMs);
    loop = run();
  }
  const checkAfter = (ms: number) => (ms === 0 ? Number.POSITIVE_INFINITY : now() + ms);

  async function run(): Promise<void> {
    while (!isClosed) {
      try {
        if (mayHaveChanged || now() >= nextCheckMs) await check();
        else if (step !== undefined && now() >= step.atMs) await act(step.kind);
        else await sleepUntil(Math.min(step?.atMs ?? Number.POSITIVE_INFINITY, nextCheckMs));
      } catch (error) {
        if (isClosed || closing.aborted) return;
        log.error({ ...place, err: error }, 'looking after the vault token failed');
        retryLater({});
      }
    }
  }

  async function sleepUntil(atMs: number): Promise<void> {
    const alarm = new AbortController();
    wake = () => alarm.abort();
    if (atMs === Number.POSITIVE_INFINITY) {
      await new Promise((resolve) => alarm.signal.addEventListener('abort', resolve, { once: true }));
    } else {
      await clock.sleep(atMs - now(), alarm.signal).catch(() => {});
    }
    wake = () => {};
  }

  /** Looks whether the data sources hold something new. */
  async function check(): Promise<void> {
    mayHaveChanged = false;
    nextCheckMs = checkAfter(options.checkIntervalMs);
    const deadline = clock.deadline(OBTAIN_TIMEOUT_MS, closing);
    try {
      const fingerprint = await orAborted(source.fingerprint(deadline.signal), deadline.signal);
      if (trouble instanceof ConfigError) trouble = undefined;
      if (fingerprint === held?.fingerprint || pace.isRejected(fingerprint)) return;
      if (!pace.mayTryNews()) {
        nextCheckMs = checkAfter(pace.waitMs());
        return;
      }
    } catch (error) {
      closing.throwIfAborted();
      // A file that is being replaced may be gone for a moment; the token in use is good until Vault says otherwise.
      if (error instanceof ConfigError)
        note(error, 'the source of the vault token cannot be read: the token in use stays');
      return;
    } finally {
      deadline.clear();
    }
    if ((await obtainOnce()) !== 'failed') {
      failedChecks = 0;
      return;
    }
    failedChecks += 1;
    const again = { failures: failedChecks, lastMs: now(), retryAfterMs: 0 };
    nextCheckMs = Math.min(nextCheckMs, checkAfter(backoffMs(again, options.random.uniform())));
  }

  async function act(kind: Step['kind']): Promise<void> {
    const subject = held;
    if (subject === undefined) return;
    if (kind === 'replace') await replace();
    else if (kind === 'look-up') await lookUp(subject);
    else await renew(subject);
  }

  async function lookUp(subject: Held): Promise<void> {
    const told = await calls.lookUp(subject.token, closing);
    if (held !== subject) return;
    if (told.ok) hold({ ...subject, life: lifeFromLookup(told.value, now()) }, tries.lastMs);
    else if (isFinal(told.failure)) {
      pace.deny(LOOKUP_PATH);
      hold({ ...subject, life: UNKNOWN_LIFE });
    } else retryLater(told.failure);
  }

  async function renew(subject: Held): Promise<void> {
    const told = await calls.renew(subject.token, closing);
    if (held !== subject) return;
    if (told.ok) {
      const life = lifeAfterRenewal(subject.life, told.value, now());
      hold({ ...subject, life });
      log.debug({ ...place, ttlSeconds: told.value.ttlSeconds }, 'vault token renewed');
      if (life.isAtMaximum && !source.logsIn) await reread();
      return;
    }
    note(told.failure, 'vault token not renewed');
    if (!isFinal(told.failure)) {
      retryLater(told.failure);
      return;
    }
    held = { ...subject, life: withoutRenewal(subject.life) };
    // 403 may be a missing right, but also the end of the token before its time.
    if (isRefused(told) && (source.logsIn ? await obtainOnce() : await reread()) === 'fresh') return;
    tries = { ...NO_TRIES, lastMs: now() };
    plan();
  }

  async function replace(): Promise<void> {
    const verdict = source.logsIn ? await obtainOnce() : await reread();
    if (verdict !== 'fresh') retryLater(trouble ?? {});
  }

  /** For a token of somebody else's that ends soon: there may be another one now. Nothing is proven twice in vain. */
  async function reread(): Promise<Verdict> {
    const verdict = await obtainUnlessRejected();
    if (verdict === 'same' && !hasToldOfEnd) {
      hasToldOfEnd = true;
      const fix =
        'put a new token where fromCp.auth.token points to, or give it a period: vault token create -period=24h';
      log.warn({ ...place, expiresAt: expiryOf(held), fix }, 'the vault token ends and cannot be renewed any longer');
    }
    return verdict;
  }

  async function obtainUnlessRejected(): Promise<Verdict> {
    if (obtaining !== undefined || !pace.hasRejections()) return obtainOnce();
    const fingerprint = await source.fingerprint(closing).catch(() => '');
    return pace.isRejected(fingerprint) ? 'bad' : obtainOnce();
  }

  // The end of tokens.

  function isOurs({ life }: Held): boolean {
    return source.logsIn && life.type === 'service' && life.endsAtMs - now() > REVOKE_WORTH_MS;
  }

  function revokeLater(old: Held): void {
    if (!isOurs(old)) return;
    const done = clock
      .sleep(REVOKE_GRACE_MS, hurry.signal)
      .catch(() => {})
      .then(() => revoke(old))
      .finally(() => revoking.delete(done));
    revoking.add(done);
  }

  /** Best effort: what is not revoked ends by itself. */
  async function revoke({ token }: Held): Promise<void> {
    const deadline = clock.deadline(REVOKE_TIMEOUT_MS);
    try {
      await orAborted(calls.revoke(token, deadline.signal), deadline.signal);
    } catch {
      log.debug(place, 'a vault token that is not needed any more was not revoked');
    } finally {
      deadline.clear();
    }
  }

  function expiryOf(one: Held | undefined): TokenStatus['expiresAt'] {
    const { end, endsAtMs } = one?.life ?? UNTOLD_LIFE;
    if (end === 'at') return new Date(clock.now().getTime() + endsAtMs - now());
    return end === 'never' ? 'never' : 'unknown';
  }

  function follow(): void {
    stopFollowing ??= options.secrets.onChange(() => {
      pace.hasten();
      mayHaveChanged = true;
      wake();
    });
  }

  return {
    async current(signal) {
      signal.throwIfAborted();
      closing.throwIfAborted();
      if (held !== undefined && held.life.endsAtMs > now()) return { ok: true, value: held.token };
      follow();
      if (obtaining !== undefined || pace.mayTry()) await orAborted(obtainOnce(), signal);
      // Vault has the last word about a token that was given to us.
      if (held !== undefined && (held.life.endsAtMs > now() || !source.logsIn)) return { ok: true, value: held.token };
      if (obtainTrouble instanceof ConfigError) throw obtainTrouble;
      const failure = obtainTrouble ?? SHORT_LIVED;
      return failed({ ...failure, retryAfterMs: Math.max(failure.retryAfterMs ?? 0, pace.waitMs()) });
    },

    async refused(token, path, signal) {
      if (held !== undefined && held.token !== token) return { ok: true, value: held.token };
      if (pace.isDenied(path)) return undefined;
      if (obtaining !== undefined || pace.mayTry()) await orAborted(obtainUnlessRejected(), signal);
      if (held !== undefined && held.token !== token) return { ok: true, value: held.token };
      if (obtainTrouble === undefined || obtainTrouble instanceof ConfigError || !source.logsIn) return undefined;
      return failed(obtainTrouble);
    },

    stillRefused: (path) => pace.deny(path),

    status: () => ({
      method: source.method,
      type: held?.life.type ?? 'unknown',
      expiresAt: expiryOf(held),
      renewable: held?.life.canRenew ?? false,
      lastFailure: trouble?.message,
    }),

    async close() {
      const last = isClosed ? undefined : held;
      isClosed = true;
      stopFollowing?.();
      wake();
      hurry.abort();
      if (last !== undefined && isOurs(last)) await revoke(last);
      await Promise.all(revoking);
      await loop;
    },
  };
}

function tooSlow(method: AuthMethod): Failure {
  return {
    kind: 'timeout',
    message: `no token by the method ${method} within ${OBTAIN_TIMEOUT_MS} ms`,
    fix: 'look at the network to Vault, and at what the login depends on',
  };
}
