import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { AuthMethod, TokenLife } from './auth/token-source.ts';
import type { Life } from './token-life.ts';

/** What is known of a token, for inspection. */
export interface TokenStatus {
  /** False: none was wanted yet, or none could be had. */
  readonly isHeld: boolean;
  readonly method: AuthMethod;
  readonly type: TokenLife['type'];
  /** `unknown`: no token yet, or one that may not look itself up. */
  readonly expiresAt: Date | 'never' | 'unknown';
  readonly renewable: boolean;
  /** The last renewal met a maximum: another one gains nothing. */
  readonly isAtMaximum: boolean;
  /** Vault refused what the data source gives now: the token before it is held. */
  readonly isLatestRefused: boolean;
  /** Why the last renewal, login or reading of the token failed. Undefined after the next success. Holds no secret. */
  readonly lastFailure: string | undefined;
}

export function expiryOf(
  { end, endsAtMs }: Life,
  clock: Pick<IssuerDeps['clock'], 'now' | 'monotonicMs'>,
): TokenStatus['expiresAt'] {
  if (end === 'at') return new Date(clock.now().getTime() + endsAtMs - clock.monotonicMs());
  return end === 'never' ? 'never' : 'unknown';
}
