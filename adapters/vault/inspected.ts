import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import type { Connector } from './connector.ts';
import type { MountIssuers } from './mount-issuers.ts';

/** One backend that is looked at. */
export interface Inspected {
  readonly conf: VaultConf;
  readonly mesh: string;
  readonly connector: Connector;
  readonly issuers: MountIssuers;
  readonly clock: IssuerDeps['clock'];
  /** Lifetime that certificates will be asked for. */
  readonly ttlSeconds: number;
}

/** With the way to ask. */
export interface Ways extends Inspected {
  readonly client: VaultClient;
  readonly signal: AbortSignal;
}

/** Of the first call, which opens the connection, and of each further one: what hangs must not take the time of all that comes after it. */
export const FIRST_TIMEOUT_MS = 2_000;
export const CALL_TIMEOUT_MS = 1_500;
