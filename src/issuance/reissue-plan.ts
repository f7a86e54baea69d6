import type { CertificateHolder } from '../store/store.ts';

/**
 * What a rotation that is under way says about a certificate that stands by all other rules, or is due only because another backend of the mesh
 * issues now. Costs nothing: it is asked on the hot path.
 *
 * `due`: it is this certificate's turn to be made anew. A Date: it stands until then. Undefined: the rotation does not care; the usual rules hold.
 */
export type ReissuePlan = (holder: CertificateHolder, now: Date) => 'due' | Date | undefined;

export interface ReissuePlans {
  /** Undefined: no rotation in this mesh. */
  of(mesh: string): ReissuePlan | undefined;
}
