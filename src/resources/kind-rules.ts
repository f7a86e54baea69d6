import type { CallOptions } from '../issuer/issuer.ts';
import type { Resource } from '../mesh/kinds.ts';
import type { ResourceKey, StoredResource } from '../store/store.ts';

/** What a kind's manager checks and does beyond parsing (Kuma: `pkg/core/managers`). Every member may throw ConfigError with violations. */
export interface KindRules {
  /** Checks, makes what has to be there first, and may complete the resource. Nothing is stored when it throws. */
  beforePut?(resource: Resource, state: PutState, options: CallOptions): Promise<Checked>;
  /** May be asked again when what it looked at has changed before the deletion. */
  beforeDelete?(key: { readonly mesh: string; readonly name: string }, options: CallOptions): Promise<Deletable>;
  afterDelete?(key: { readonly mesh: string; readonly name: string }, options: CallOptions): Promise<void>;
}

export interface PutState {
  /** Everything is to be looked at, nothing stored. */
  readonly dryRun: boolean;
  /** Data planes that are offline are no reason to refuse it. */
  readonly force: boolean;
}

export interface Checked {
  readonly resource: Resource;
  readonly warnings: readonly string[];
  /** What has to be there still when the resource is stored. */
  readonly requires?: readonly ResourceKey[];
  /** The version that the checks compared it with: another one means that they have to be made again. */
  readonly expectedVersion?: number;
  /** To be called when the resource is stored. */
  stored?(): void;
}

export interface Deletable {
  /** What the decision was made from: it must not have changed when the resource goes. */
  readonly unchanged?: readonly StoredResource[];
}
