import type { Store } from '../store/store.ts';
import { type RotationRecord, readRotationRecord, rotationKey } from './rotation-record.ts';

export interface StoredRotation {
  /** Undefined: there is none, or it cannot be read. */
  readonly record: RotationRecord | undefined;
  /** 0: there is none. */
  readonly version: number;
}

export async function readStoredRotation(store: Pick<Store, 'getResource'>, mesh: string): Promise<StoredRotation> {
  const stored = await store.getResource(rotationKey(mesh));
  if (stored === undefined) return { record: undefined, version: 0 };
  return { record: readRotationRecord(stored), version: stored.version };
}
