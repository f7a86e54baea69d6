import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { Capabilities, VaultClient } from './client.ts';
import type { VaultConf } from './config.ts';
import type { Connector } from './connector.ts';
import type { Outcome } from './failure.ts';
import type { MountIssuers } from './mount-issuers.ts';
import type { IssuerStateReply, MountReply, RoleReply } from './replies.ts';
import type { LookupReply } from './token-replies.ts';

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

/** What Vault tells of a token that it has given, or that was given to us. */
export interface TokenFacts {
  readonly lookup: Outcome<LookupReply>;
  readonly rights: Outcome<TokenRights>;
  /** Undefined where the rights are not known. */
  readonly state: RoleState | undefined;
}

/** A token that may sign, or issue, or both. */
export interface TokenRights {
  readonly maySign: boolean;
  readonly mayIssue: boolean;
  /** Undefined for a token that may not ask what it may: it was tried out. */
  readonly may: Capabilities | undefined;
}

/** What takes a right to read. */
export interface RoleState {
  /** Undefined: the token may not read it. */
  readonly role: Outcome<RoleReply> | undefined;
  /** The limits of the mount, where they could be read. */
  readonly mount: MountReply | undefined;
  /** The issuer that the role is bound to, where it could be read. */
  readonly issuer: IssuerStateReply | undefined;
}

/** Of the first call, which opens the connection, and of each further one: what hangs must not take the time of all that comes after it. */
export const FIRST_TIMEOUT_MS = 2_000;
export const CALL_TIMEOUT_MS = 1_500;
