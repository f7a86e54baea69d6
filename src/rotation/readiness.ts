import type { Blocker } from '../issuer/errors.ts';
import type { CertificateHolder } from '../store/store.ts';

/** What is changed: from one backend to another, or from one generation of a builtin CA to the next. To the rest it is the same. */
export interface Change {
  readonly from: string;
  readonly to: string;
  /** SHA-256 (hex) of the roots that everybody has to trust before a certificate under them is used. Undefined: not known yet. */
  readonly toRoots: ReadonlySet<string> | undefined;
  /** A certificate that has to go before the old roots go. */
  isOld(certificate: CertificateHolder): boolean;
}

/** How far a change has come, in numbers and names. Blockers are sorted by data plane. */
export interface Readiness {
  /** Members that are online, or hold an unexpired certificate. */
  readonly total: number;
  readonly online: number;
  /** Of those online. */
  readonly trustingNew: number;
  readonly usingNew: number;
  readonly usingOld: number;
  /** Online, and without the new roots: nobody may use a certificate under them yet. Empty: `canSwitch`. */
  readonly notTrusting: readonly Blocker[];
  /** Online, and using an old certificate, or perhaps using one. */
  readonly notSwitched: readonly Blocker[];
  /** Not online, and holding an unexpired old certificate: they wait for its end. */
  readonly offlineOld: readonly Blocker[];
}
