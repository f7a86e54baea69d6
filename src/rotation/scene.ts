import type { Backend } from '../backends/backend.ts';
import type { Backends } from '../backends/backends.ts';
import type { CallOptions } from '../issuer/issuer.ts';
import type { Mesh } from '../mesh/mesh.ts';
import type { CertificateHolder, Store } from '../store/store.ts';
import type { TrustBundle } from '../trust/trust-bundle.ts';
import type { Effect, Facts } from './machine.ts';
import type { Change } from './readiness.ts';
import type { RotationRecord } from './rotation-record.ts';

/** What only the record learns from looking, or from carrying something out. */
export type Learnt = Pick<Partial<RotationRecord>, 'fromRoots' | 'toRoots' | 'removed'>;

/** Where a change takes place, as it is now: the Mesh with its backends, or the generations of one CA. In the direction of the rotation. */
export interface Scene extends Pick<Facts, 'issuing' | 'hasTarget' | 'hasOld' | 'meshVersion'> {
  /** `backendsKeyOf` of the Mesh. */
  readonly backendsKey: string;
  /** The backend that has to prove itself before it issues. Undefined: there is none that could, or nothing to prove. */
  readonly unproven: Backend | undefined;
  /** Why the target cannot issue whatever is waited for; undefined: it can. */
  readonly obstacle: string | undefined;
  /** What is to be measured. `toRoots` are those of the target. */
  changeIn(bundle: TrustBundle): Change;
  /** SHA-256 (hex) of the roots that nobody needs once the old side is gone. Empty: it is not gone, or others need them. */
  oldRootsIn(bundle: TrustBundle): ReadonlySet<string>;
  /** Of the old roots, those that the bundle has still to drop. */
  notDropped(bundle: TrustBundle): readonly string[];
  sideOf(holder: CertificateHolder): 'target' | 'old' | undefined;
  /** To be stored before the old side is removed. */
  beforeRemoval(bundle: TrustBundle): Learnt;
  /** Idempotent. @throws ConflictError when what was looked at has changed since */
  carryOut(effect: Effect, options: CallOptions): Promise<Learnt>;
}

/** Equal for as long as a Mesh has the same backends, and the same one enabled. */
export function backendsKeyOf({ mtls }: Mesh): string {
  return JSON.stringify([mtls?.enabledBackend ?? '', ...(mtls?.backends.map(({ name }) => name) ?? [])]);
}

export interface SceneOptions {
  readonly store: Store;
  readonly backends: Pick<Backends, 'get'>;
}
