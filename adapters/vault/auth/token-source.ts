import type { Outcome } from '../failure.ts';

/**
 * Where a Vault token comes from: one implementation for each method of `fromCp.auth`. Stateless but for what a method must remember between
 * logins (the nonce of EC2); how long a token lives and when to get the next is not its business (`token-life.ts`).
 */
export interface TokenSource {
  readonly method: AuthMethod;
  /** True: each `obtain` is a login and makes a new token, which should be revoked when it is not needed any more. False: it is only read. */
  readonly logsIn: boolean;
  /**
   * @throws ConfigError naming the field, when a data source cannot be loaded or used; the reason of `signal`. Everything that Vault or the network
   * does is in the outcome.
   */
  obtain(login: LoginCall, signal: AbortSignal): Promise<Outcome<ObtainedToken>>;
}

export type AuthMethod = 'token' | 'tls' | 'aws' | 'approle' | 'kubernetes' | 'jwt';

export interface ObtainedToken {
  readonly token: string;
  /** What the login said. Undefined for a token that was only read: it has to be looked up. */
  readonly life: TokenLife | undefined;
  /** What EC2 logins answer, to be sent with the next. */
  readonly nonce?: string;
}

export interface TokenLife {
  /** 0: never expires (root tokens). */
  readonly ttlSeconds: number;
  readonly renewable: boolean;
  /** `batch` tokens can neither be renewed nor revoked. */
  readonly type: 'service' | 'batch' | 'unknown';
}

/** `POST /v1/<path>` without a token; `path` such as `auth/approle/login`. The reply is parsed, its `auth` block is what comes back. */
export type LoginCall = (path: string, body: object, signal: AbortSignal) => Promise<Outcome<ObtainedToken>>;
