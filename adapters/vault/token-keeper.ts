import { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { orAborted } from '../../src/runtime/or-aborted.ts';
import type { Tokens } from './client.ts';
import { isRefused } from './exchange.ts';
import { type Failure, failed } from './failure.ts';
import { createSourceWatch } from './source-watch.ts';
import { LOOKUP_PATH, type TokenCalls } from './token-calls.ts';
import {
  lifeAfterRenewal,
  lifeFromLookup,
  nextStep,
  type Step,
  type Tries,
  UNKNOWN_LIFE,
  UNTOLD_LIFE,
  withoutRenewal,
} from './token-life.ts';
import {
  createTokenObtainer,
  type HeldToken,
  OBTAIN_TIMEOUT_MS,
  type TokenObtainerOptions,
  type Trouble,
  type Verdict,
} from './token-obtainer.ts';
import { createTokenPace } from './token-pace.ts';
import { createTokenRevoker } from './token-revoker.ts';
import { expiryOf, type TokenStatus } from './token-status.ts';

/**
 * Keeps one token alive: renews it, replaces it before it ends, when its data source changed and when Vault refuses it. Does nothing before the
 * first call. One loop with one timer; one obtaining at a time, whoever wants it.
 */
export interface TokenKeeper extends Tokens {
  /**
   * For somebody who asks on purpose, perhaps because something was changed: when the last try to get a token was in vain, the next one comes a second after
   * it, and is waited for here. Not where Vault has said how long to wait.
   */
  tryAgain(signal: AbortSignal): Promise<void>;
  status(): TokenStatus;
  /** Ends the loop, then revokes what came from a login. Idempotent. */
  close(): Promise<void>;
}

export interface TokenKeeperOptions extends Pick<TokenObtainerOptions, 'source' | 'obtain' | 'clock' | 'log'> {
  readonly calls: TokenCalls;
  readonly random: Pick<IssuerDeps['random'], 'uniform'>;
  readonly secrets: Pick<IssuerDeps['secrets'], 'onChange'>;
  /** How often data sources are looked at for changes. 0: never. */
  readonly checkIntervalMs: number;
  /** Another token is in use: it may have other rights. */
  onReplaced(): void;
  /** Fires with the reason that callers get once it is closed. */
  readonly closing: AbortSignal;
}

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

/** Callers add to what they catch; this one is thrown to many. */
function copyOf({ message, fix, violations, cause }: ConfigError): ConfigError {
  return new ConfigError(message, { ...(fix !== undefined && { fix }), violations, cause });
}

export function createTokenKeeper(options: TokenKeeperOptions): TokenKeeper {
  const { source, calls, clock, log, closing } = options;
  const now = () => clock.monotonicMs();
  const pace = createTokenPace(clock);
  const revoker = createTokenRevoker(calls.revoke, options);
  const obtainer = createTokenObtainer({
    ...{ ...options, pace, held: () => held, take },
    confirm(fingerprint) {
      held = held && { ...held, fingerprint };
    },
    note: (problem) => note(problem, 'no vault token to be had'),
  });

  const watch = createSourceWatch({
    ...{ clock, random: options.random, secrets: options.secrets, intervalMs: options.checkIntervalMs },
    onChange() {
      pace.hasten();
      wake();
    },
  });

  let held: HeldToken | undefined;
  let step: Step | undefined;
  let tries: Tries = { ...NO_TRIES, lastMs: 0 };
  /** Of the last renewal or attempt to get a token; gone with the next success. */
  let trouble: Trouble | undefined;
  let hasToldOfEnd = false;
  let loop: Promise<void> | undefined;
  let wake = () => {};
  let isClosed = false;

  function plan(): void {
    step = held && nextStep(held.life, tries, source.logsIn, now(), options.random.uniform());
    wake();
  }

  function hold(next: HeldToken, lastMs = now()): void {
    held = next;
    tries = { ...NO_TRIES, lastMs };
    trouble = undefined;
    plan();
  }

  /** Says it once, until something succeeds. */
  function note(problem: Trouble, message: string): void {
    const isNews = trouble === undefined;
    trouble = problem;
    log[isNews ? 'warn' : 'debug']({ reason: problem.message, fix: problem.fix }, message);
  }

  function retryLater(problem: { readonly retryAfterMs?: number | undefined }): void {
    tries = { failures: tries.failures + 1, lastMs: now(), retryAfterMs: problem.retryAfterMs ?? 0 };
    plan();
  }

  function take(next: HeldToken): void {
    const old = held;
    hasToldOfEnd = false;
    hold(next);
    start();
    if (old === undefined) return;
    log.info({ method: source.method }, 'a new vault token is in use');
    options.onReplaced();
    if (isOurs(old)) revoker.later(old.token);
  }

  // The loop.

  function start(): void {
    if (loop !== undefined || isClosed) return;
    watch.start();
    loop = run();
  }

  async function run(): Promise<void> {
    while (!isClosed) {
      try {
        if (watch.isDue()) await check();
        else if (step !== undefined && now() >= step.atMs) await act(step.kind);
        else await sleepUntil(Math.min(step?.atMs ?? Number.POSITIVE_INFINITY, watch.nextMs()));
      } catch (error) {
        if (isClosed || closing.aborted) return;
        log.error({ err: error }, 'looking after the vault token failed');
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
    watch.look();
    const deadline = clock.deadline(OBTAIN_TIMEOUT_MS, closing);
    try {
      const fingerprint = await orAborted(source.fingerprint(deadline.signal), deadline.signal);
      if (trouble instanceof ConfigError) trouble = undefined;
      if (fingerprint === held?.fingerprint) obtainer.forgive();
      if (fingerprint === held?.fingerprint || pace.isRejected(fingerprint)) return;
      if (!pace.mayTryNews()) {
        watch.lookAgainIn(pace.waitMs());
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
    watch.tried((await obtainer.once()) === 'failed');
  }

  async function act(kind: Step['kind']): Promise<void> {
    const subject = held;
    if (subject === undefined) return;
    if (kind === 'replace') await replace();
    else if (kind === 'look-up') await lookUp(subject);
    else await renew(subject);
  }

  async function lookUp(subject: HeldToken): Promise<void> {
    const told = await calls.lookUp(subject.token, closing);
    if (held?.token !== subject.token) return;
    if (told.ok) hold({ ...held, life: lifeFromLookup(told.value, now()) }, tries.lastMs);
    else if (isFinal(told.failure)) {
      pace.deny(LOOKUP_PATH);
      hold({ ...held, life: UNKNOWN_LIFE });
    } else retryLater(told.failure);
  }

  async function renew(subject: HeldToken): Promise<void> {
    const told = await calls.renew(subject.token, closing);
    if (held?.token !== subject.token) return;
    if (told.ok) {
      const life = lifeAfterRenewal(subject.life, told.value, now());
      hold({ ...held, life });
      log.debug({ ttlSeconds: told.value.ttlSeconds }, 'vault token renewed');
      if (life.isAtMaximum && !source.logsIn) await reread();
      return;
    }
    note(told.failure, 'vault token not renewed');
    if (!isFinal(told.failure)) {
      retryLater(told.failure);
      return;
    }
    held = { ...held, life: withoutRenewal(subject.life) };
    // 403 may be a missing right, but also the end of the token before its time.
    if (isRefused(told) && (source.logsIn ? await obtainer.once() : await reread()) === 'fresh') return;
    tries = { ...NO_TRIES, lastMs: now() };
    plan();
  }

  async function replace(): Promise<void> {
    const verdict = source.logsIn ? await obtainer.once() : await reread();
    if (verdict !== 'fresh') retryLater(trouble ?? {});
  }

  /** For a token of somebody else's that ends soon: there may be another one now. Nothing is proven twice in vain. */
  async function reread(): Promise<Verdict> {
    const verdict = await obtainer.unlessRejected();
    if (verdict === 'same' && !hasToldOfEnd) {
      hasToldOfEnd = true;
      const fix =
        'put a new token where fromCp.auth.token points to, or make one with a period: vault token create -orphan -period=24h -policy=<its policies>';
      log.warn({ expiresAt: expiresAt(), fix }, 'the vault token ends and cannot be renewed any longer');
    }
    return verdict;
  }

  function isOurs({ life }: HeldToken): boolean {
    return source.logsIn && life.type === 'service' && life.endsAtMs - now() > REVOKE_WORTH_MS;
  }

  const expiresAt = () => expiryOf(held?.life ?? UNTOLD_LIFE, clock);

  return {
    async current(signal) {
      signal.throwIfAborted();
      closing.throwIfAborted();
      if (held !== undefined && held.life.endsAtMs > now()) return { ok: true, value: held.token };
      watch.follow();
      if (obtainer.isUnderWay || pace.mayTry()) await orAborted(obtainer.once(), signal);
      // Vault has the last word about a token that was given to us.
      if (held !== undefined && (held.life.endsAtMs > now() || !source.logsIn)) return { ok: true, value: held.token };
      if (obtainer.trouble instanceof ConfigError) throw copyOf(obtainer.trouble);
      const failure = obtainer.trouble ?? SHORT_LIVED;
      return failed({ ...failure, retryAfterMs: Math.max(failure.retryAfterMs ?? 0, pace.waitMs()) });
    },

    async tryAgain(signal) {
      const hasToken = () => held !== undefined && held.life.endsAtMs > now();
      const { trouble: why } = obtainer;
      const isToldToWait = !(why instanceof ConfigError) && (why?.retryAfterMs ?? 0) > 0;
      if (hasToken() || isToldToWait) return;
      pace.hasten();
      if (pace.mayTry()) return;
      await orAborted(clock.sleep(pace.waitMs(), closing), signal);
      // Timers may fire a little early: who has waited need not ask.
      if (!hasToken()) await orAborted(obtainer.once(), signal);
    },

    async refused(token, path, signal) {
      if (held !== undefined && held.token !== token) return { ok: true, value: held.token };
      if (pace.isDenied(path)) return undefined;
      // Revoked a moment after its login: nobody is sent away for the sake of the pace.
      const mustWait = source.logsIn && obtainer.trouble === undefined && !obtainer.isUnderWay && !pace.mayTry();
      if (mustWait) {
        await orAborted(clock.sleep(pace.waitMs(), closing), signal);
        if (held !== undefined && held.token !== token) return { ok: true, value: held.token };
      }
      // Timers may fire a little early: who has waited need not ask.
      if (mustWait || obtainer.isUnderWay || pace.mayTry()) await orAborted(obtainer.unlessRejected(), signal);
      if (held !== undefined && held.token !== token) return { ok: true, value: held.token };
      const { trouble: why } = obtainer;
      return why === undefined || why instanceof ConfigError || !source.logsIn ? undefined : failed(why);
    },

    stillRefused: (path) => pace.deny(path),

    status: () => ({
      method: source.method,
      isHeld: held !== undefined,
      type: held?.life.type ?? 'unknown',
      expiresAt: expiresAt(),
      renewable: held?.life.canRenew ?? false,
      isAtMaximum: held?.life.isAtMaximum ?? false,
      isLatestRefused: obtainer.isLatestRefused,
      lastFailure: trouble?.message,
    }),

    async close() {
      const last = isClosed ? undefined : held;
      isClosed = true;
      watch.close();
      wake();
      await revoker.close(last !== undefined && isOurs(last) ? last.token : undefined);
      await loop;
    },
  };
}
