import type { Log } from '../runtime/log.ts';
import type { TrustBundles } from '../trust/trust-bundles.ts';
import type { Proof } from '../validation/proof.ts';

export interface RootLearnerOptions {
  readonly bundles: Pick<TrustBundles, 'learn'>;
  readonly log: Log;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

/**
 * Has the roots of a good proof join the bundle, without anybody waiting: some backends tell their roots with a certificate only, and a rotation waits until
 * they are trusted.
 */
export function createRootLearner({ bundles, log, signal }: RootLearnerOptions): (proof: Proof) => void {
  return ({ ok, mesh, backend, roots }) => {
    if (!ok || roots === undefined) return;
    bundles.learn(mesh, backend, roots, { signal }).catch((error: unknown) => {
      if (!signal.aborted) log.warn({ mesh, backend, err: error }, 'roots of a proof did not join the bundle');
    });
  };
}
