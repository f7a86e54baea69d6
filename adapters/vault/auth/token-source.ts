import type { Outcome } from '../failure.ts';

/**
 * Where a Vault token comes from: one implementation for each method of `fromCp.auth`. It remembers nothing between two calls: data sources are
 * loaded anew each time. How long a token lives and when to get the next is not its business (`token-life.ts`).
 */
export interface TokenSource {
  readonly method: AuthMethod;
  /** True: each `obtain` is a login and makes a new token, which should be revoked when it is not needed any more. False: it is only read. */
  readonly logsIn: boolean;
  /**
   * A hash of what the data sources hold now: equal as long as nothing was changed. '' for a method that has none (`aws`). Cheap, no remote call.
   * Compare it with the one of `ObtainedToken`. Never log it.
   * @throws as `obtain`
   */
  fingerprint(signal: AbortSignal): Promise<string>;
  /**
   * At most one call of `login`.
   * @throws ConfigError naming the field, when a data source cannot be loaded or used; the reason of `signal`. Everything that Vault, the network
   * or AWS does is in the outcome, said in words of the method (`login-failure.ts`).
   */
  obtain(login: LoginCall, signal: AbortSignal): Promise<Outcome<ObtainedToken>>;
}

export const AUTH_METHODS = ['token', 'tls', 'aws', 'approle', 'kubernetes', 'jwt'] as const;
export type AuthMethod = (typeof AUTH_METHODS)[number];

export interface ObtainedToken {
  readonly token: string;
  /** What the login said. Undefined for a token that was only read: it has to be looked up. */
  readonly life: TokenLife | undefined;
  /** Of what was read for this token, see `TokenSource.fingerprint`. */
  readonly fingerprint: string;
  /**
   * Set by `tls`: the certificate that all connections with this token have to show, not only the login. Vault binds the token to it and
   * refuses to renew the token on a connection without it.
   */
  readonly clientCertificate?: ClientCertificate;
}

export interface TokenLife {
  /** 0: never expires (root tokens). */
  readonly ttlSeconds: number;
  readonly renewable: boolean;
  /** `batch` tokens can neither be renewed nor revoked. */
  readonly type: 'service' | 'batch' | 'unknown';
}

/** Both PEM. Checked: they belong together, and hold nothing else. For `tls.createSecureContext({ cert, key })`. */
export interface ClientCertificate {
  /** The certificate first, then its intermediates in order. */
  readonly certPem: string;
  readonly keyPem: string;
}

/**
 * `POST /v1/<path>` without a token; `path` such as `auth/approle/login`, its parts without anything to escape. The reply is parsed, its `auth`
 * block is what comes back (`client_token`, `lease_duration`, `renewable`, `token_type`). A failure carries `status` and `said`.
 */
export type LoginCall = (
  path: string,
  body: object,
  signal: AbortSignal,
  /** Shown on the connection of this call; it must be a connection of its own or one that was opened with this very certificate. */
  clientCertificate?: ClientCertificate,
) => Promise<Outcome<LoginReply>>;

export interface LoginReply {
  readonly token: string;
  readonly life: TokenLife;
}
