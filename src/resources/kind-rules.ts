import type { CallOptions } from '../issuer/issuer.ts';
import type { Resource } from '../mesh/kinds.ts';

/** What a kind's manager checks and does beyond parsing (Kuma: `pkg/core/managers`). Every member may throw ConfigError with violations. */
export interface KindRules {
  /** Checks, makes what has to be there first, and may complete the resource. Nothing is stored when it throws. */
  beforePut?(resource: Resource, state: { readonly created: boolean }, options: CallOptions): Promise<Checked>;
  beforeDelete?(key: { readonly mesh: string; readonly name: string }, options: CallOptions): Promise<void>;
  afterDelete?(key: { readonly mesh: string; readonly name: string }, options: CallOptions): Promise<void>;
}

export interface Checked {
  readonly resource: Resource;
  readonly warnings: readonly string[];
}
