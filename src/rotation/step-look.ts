import { canonicalJson } from '../backends/canonical-json.ts';
import type { Store } from '../store/store.ts';
import type { TrustRoot } from '../trust/trust-bundle.ts';
import type { Fleet } from './fleet.ts';
import type { Step } from './step.ts';

/** A step, and the data planes that it may hurt. */
export interface Look {
  readonly step: Step;
  readonly fleet: Fleet;
  readonly store: Pick<Store, 'getCertificate'>;
  /** SHA-256 (hex) of roots of the bundle that are no longer valid. */
  readonly expiredRoots: ReadonlySet<string>;
  /** SHA-256 (hex) of roots of the bundle that a backend has which stays in the Mesh as it is. */
  readonly stayingRoots: ReadonlySet<string>;
}

export function lookAt(step: Step, fleet: Fleet, store: Look['store']): Look {
  const specs = new Map(step.before.mtls?.backends.map((spec) => [spec.name, canonicalJson(spec)]));
  const kept = step.after.mtls?.backends.filter((spec) => specs.get(spec.name) === canonicalJson(spec)) ?? [];
  const names = new Set(kept.map(({ name }) => name));
  const rootsWhere = (which: (root: TrustRoot) => boolean) =>
    new Set(fleet.bundle.roots.filter(which).map(({ fingerprintSha256 }) => fingerprintSha256));
  return {
    step,
    fleet,
    store,
    expiredRoots: rootsWhere(({ certificate }) => certificate.notAfter < fleet.readAt),
    stayingRoots: rootsWhere(({ backends }) => backends.some((name) => names.has(name))),
  };
}
