import type { CertificateHolder } from '../store/store.ts';
import type { Refusal } from '../trust/holders.ts';
import type { TrustBundle } from '../trust/trust-bundle.ts';

/** What is known of one data plane. */
export interface FleetMember {
  readonly dataplane: string;
  /**
   * It was heard of within `dataplaneOnlineFor`. So is one with an unexpired certificate that was not heard of since this instance started, for as
   * long after the start: it may live, and connect in the next moment.
   */
  readonly online: boolean;
  /** Only the rule for the time after a start makes it online: what it holds may not be what stands here. */
  readonly unheard: boolean;
  /** Undefined: it has never said which bundle it holds. */
  readonly heldVersion: number | undefined;
  /** SHA-256 (hex) of the roots in that version. Members with the same version share one set. */
  readonly heldRoots: ReadonlySet<string>;
  /** What it would not take. */
  readonly refusal: Refusal | undefined;
  /** The one it was answered last. Undefined: none, or it has expired. */
  readonly certificate: HeldCertificate | undefined;
}

export interface HeldCertificate extends CertificateHolder {
  /** False: it may still present the one before (SDS: not acknowledged; HTTP: answered less than `rotationSettle` ago and not sent as `current` since). */
  readonly inUse: boolean;
}

/** Everything that the steps of a rotation are decided by, at one moment. */
export interface Fleet {
  readonly mesh: string;
  readonly readAt: Date;
  readonly bundle: TrustBundle;
  /** Sorted by data plane. Those with a certificate, a statement, or that were seen. */
  readonly members: readonly FleetMember[];
}
