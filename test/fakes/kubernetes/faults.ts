import type { UserName, Verb } from './test-cluster.ts';

/** What happens to a request in place of, or before, its ordinary answer. */
export type Fault =
  /** 429 with Retry-After, as priority and fairness answers. */
  | { readonly kind: 'too-many-requests'; readonly retryAfterSeconds?: number }
  | { readonly kind: 'internal-error' }
  | { readonly kind: 'unavailable' }
  /** 500: `failed calling webhook "webhook.cert-manager.io"`. */
  | { readonly kind: 'webhook-failure' }
  /** 403: an admission webhook says no. */
  | { readonly kind: 'webhook-denial'; readonly message?: string }
  /** 410 Expired, for lists and watches. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'conflict' }
  /** The connection is reset; nothing was done. */
  | { readonly kind: 'reset' }
  /** It is done, then the connection is reset instead of an answer. */
  | { readonly kind: 'lost-answer' }
  /** Nothing is done and nothing is answered. */
  | { readonly kind: 'hang' }
  /** Done as ever, `ms` later. */
  | { readonly kind: 'slow'; readonly ms: number }
  /** 200 and no JSON. */
  | { readonly kind: 'garbage' }
  /** It is done, and half of the answer's body arrives. */
  | { readonly kind: 'truncated' };

export interface FaultRule {
  readonly fault: Fault;
  /** Default: requests of every verb, also those about other resources. */
  readonly verbs?: readonly Verb[];
  /** Default: those under test, which are all but `admin` and `cert-manager`. */
  readonly users?: readonly UserName[];
  /** Only the next so many. Default: until it is taken away. */
  readonly times?: number;
  /** Only every k-th that fits. Default 1. */
  readonly every?: number;
}

/** The fake's switches. Users that are not named: those under test, which are all but `admin` and `cert-manager`. */
export interface ClusterFaults {
  /** Adds a rule; the first that fits counts. Returns what takes it away. */
  add(rule: FaultRule): () => void;
  /** How often rules have struck. */
  readonly struck: number;
  /** Ends open watches: `end` as a time-out does, `reset` by a TCP reset, `expired` by an ERROR event with 410. Returns how many. */
  dropWatches(how?: 'end' | 'reset' | 'expired', users?: readonly UserName[]): number;
  /** Resets every connection. Returns how many. */
  resetConnections(users?: readonly UserName[]): number;
  /** Forgets the history of changes, so that every watch from before now answers 410. Open watches go on. */
  compact(): void;
  /** Its tokens answer 401 from now on. */
  revokeToken(user: UserName): void;
  restoreToken(user: UserName): void;
  /** Added to the Date header and to every time that is written. */
  clockOffsetMs: number;
  /** Takes away all rules, revocations and the clock's offset. */
  clear(): void;
  /** Connections since the start, and open now. */
  connections(): { readonly opened: number; readonly open: number };
  /** Watches of the users under test, since the start. */
  readonly watchesOpened: number;
}
