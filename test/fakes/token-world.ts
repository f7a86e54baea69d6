import type { TokenLife } from '../../adapters/vault/auth/token-source.ts';
import type { Outcome } from '../../adapters/vault/failure.ts';
import type { TokenCalls } from '../../adapters/vault/token-calls.ts';
import { createTokenKeeper, type TokenKeeper } from '../../adapters/vault/token-keeper.ts';
import type { LookedUpToken } from '../../adapters/vault/token-life.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import { createFakeClock, type FakeClock, TEST_START } from '../conformance/issuer-deps.ts';
import { passTime } from '../support/pass-time.ts';

export interface SeenTokenCall {
  readonly atMs: number;
  readonly what: 'obtain' | 'look-up' | 'renew' | 'is-accepted' | 'revoke';
  /** '' for `obtain`. */
  readonly token: string;
}

/** What one login answers; `token` undefined: a new one each time. */
export type LoginAnswer = Outcome<TokenLife & { readonly token?: string | undefined }> | 'hang';

/** A keeper between a token source and a Vault that a test plays, on a clock that it turns. */
export interface KeeperWorld {
  readonly keeper: TokenKeeper;
  readonly clock: FakeClock;
  /** A new one each time, that never fires. */
  readonly signal: AbortSignal;
  readonly calls: SeenTokenCall[];
  readonly warnings: string[];
  /** What the data source holds; undefined: it cannot be read. Default `t1`. */
  stored: string | undefined;
  /** What logins say when they are not scripted. */
  life: TokenLife;
  login: (() => LoginAnswer) | undefined;
  lookUp: (token: string) => Outcome<LookedUpToken>;
  renew: (token: string) => Outcome<TokenLife>;
  isAccepted: (token: string) => Outcome<boolean>;
  /** When the calls of one kind were made. */
  times(what: SeenTokenCall['what']): number[];
  /** What is left of `maximumMs` for a token that was made by a login. */
  ageMs(token: string, maximumMs: number): number;
  /** How long there was no token that lives, by what the keeper says of itself whenever time passes. */
  longestGapMs(): number;
  /** How many follow the changes of secrets. */
  followers(): number;
  tellChanged(): void;
  /** Turns the clock, stopping at each timer. @param mostTimers throws when there were more than that: a hot loop */
  pass(ms: number, mostTimers?: number): Promise<void>;
  close(): Promise<void>;
}

export interface KeeperWorldOptions {
  readonly logsIn?: boolean;
  readonly checkIntervalMs?: number;
  /** What chance gives each time. Default 0.5. */
  readonly uniform?: number;
}

export function startKeeper(options: KeeperWorldOptions = {}): KeeperWorld {
  const { logsIn = false, checkIntervalMs = 30_000, uniform = 0.5 } = options;
  const clock = createFakeClock(TEST_START);
  const closing = new AbortController();
  const calls: SeenTokenCall[] = [];
  const warnings: string[] = [];
  const followers = new Set<() => void>();
  const madeAtMs = new Map<string, number>();
  let logins = 0;
  let gapMs = 0;

  const see = (what: SeenTokenCall['what'], token = '') => void calls.push({ atMs: clock.monotonicMs(), what, token });
  const read = () => {
    if (world.stored === undefined)
      throw new ConfigError('fromCp.auth.token: could not load data', { fix: 'store it' });
    return world.stored;
  };
  const playedCalls: TokenCalls = {
    lookUp: async (token) => {
      see('look-up', token);
      return world.lookUp(token);
    },
    renew: async (token) => {
      see('renew', token);
      return world.renew(token);
    },
    isAccepted: async (token) => {
      see('is-accepted', token);
      return world.isAccepted(token);
    },
    revoke: async (token) => {
      see('revoke', token);
      return { ok: true, value: undefined };
    },
  };
  const ignore = () => {};

  const keeper = createTokenKeeper({
    source: {
      method: logsIn ? 'approle' : 'token',
      logsIn,
      fingerprint: async () => (logsIn ? 'same' : `of ${read()}`),
    },
    async obtain() {
      see('obtain');
      if (!logsIn) {
        const token = read();
        return { ok: true, value: { token, life: undefined, fingerprint: `of ${token}` } };
      }
      const said: LoginAnswer = world.login?.() ?? { ok: true, value: world.life };
      if (said === 'hang') return new Promise(() => {});
      if (!said.ok) return said;
      logins += 1;
      const { token = `t${logins}`, ...life } = said.value;
      madeAtMs.set(token, clock.monotonicMs());
      return { ok: true, value: { token, life, fingerprint: 'same' } };
    },
    calls: playedCalls,
    clock,
    random: { uniform: () => uniform },
    log: { debug: ignore, info: ignore, warn: (_fields, message) => void warnings.push(message), error: ignore },
    secrets: {
      onChange(listener) {
        followers.add(listener);
        return () => void followers.delete(listener);
      },
    },
    onReplaced: ignore,
    checkIntervalMs,
    closing: closing.signal,
  });

  const world: KeeperWorld = {
    keeper,
    clock,
    get signal() {
      return new AbortController().signal;
    },
    calls,
    warnings,
    stored: 't1',
    life: { ttlSeconds: 3600, renewable: true, type: 'service' },
    login: undefined,
    lookUp: () => ({
      ok: true,
      value: { ttlSeconds: 0, neverExpires: true, renewable: false, type: 'service', grantedSeconds: undefined },
    }),
    renew: () => ({ ok: true, value: world.life }),
    isAccepted: () => ({ ok: true, value: false }),
    times: (what) => calls.filter((call) => call.what === what).map(({ atMs }) => atMs),
    ageMs: (token, maximumMs) => (madeAtMs.get(token) ?? 0) + maximumMs - clock.monotonicMs(),
    longestGapMs: () => gapMs,
    followers: () => followers.size,
    tellChanged() {
      for (const follower of followers) follower();
    },
    pass(ms, mostTimers) {
      const onStep = () => {
        const { expiresAt } = keeper.status();
        if (expiresAt instanceof Date) gapMs = Math.max(gapMs, clock.now().getTime() - expiresAt.getTime());
      };
      return passTime(clock, ms, { onStep, ...(mostTimers !== undefined && { mostTimers }) });
    },
    async close() {
      closing.abort(new Error('closed for the test'));
      await keeper.close();
    },
  };
  return world;
}
