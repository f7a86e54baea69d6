import type { CertificateHolder } from '../store/store.ts';
import type { Refusal } from '../trust/holders.ts';
import type { TrustBundle } from '../trust/trust-bundle.ts';

/** What is known of one data plane. */
export interface FleetMember {
  readonly dataplane: string;
  /** It was heard of within `dataplaneOnlineFor`, or is `unheard`. */
  readonly online: boolean;
  /**
   * It holds an unexpired certificate and was not heard of since this instance started, less than `dataplaneOnlineFor` ago: it may live, and connect
   * in the next moment, and what it uses may not be what stands here.
   */
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
  /** The one that it presents if it does not use this one. Undefined: nobody knows. */
  readonly before?: CertificateHolder | undefined;
}

/** One version of the trust bundle. Never changes. */
export interface BundleVersion {
  readonly version: number;
  readonly madeAt: Date;
  /** SHA-256 (hex) of each root. */
  readonly roots: ReadonlySet<string>;
}

/** Everything that the steps of a rotation are decided by, at one moment. */
export interface Fleet {
  readonly mesh: string;
  readonly readAt: Date;
  readonly bundle: TrustBundle;
  /** The bundle's version and some of those before it, newest first. Empty when none is stored. */
  readonly versions: readonly BundleVersion[];
  /** Sorted by data plane. Those with a certificate, a statement, or that were seen. */
  readonly members: readonly FleetMember[];
}
