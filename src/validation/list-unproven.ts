import type { Backend } from '../backends/backend.ts';
import type { Backends } from '../backends/backends.ts';
import { ConfigError, NotFoundError } from '../issuer/errors.ts';
import { enabledBackendOf } from '../mesh/mtls.ts';
import type { Store } from '../store/store.ts';
import type { Proof } from './proof.ts';

/** An enabled backend that nobody should rely on yet. */
export interface UnprovenBackend {
  readonly mesh: string;
  /** '' for a mesh that cannot be read; so is `type`. */
  readonly backend: string;
  readonly type: string;
  /** `not proven yet`, or the name of the first check that failed. */
  readonly reason: string;
}

export interface UnprovenList {
  /** Sorted by mesh; the first of them only. */
  readonly unproven: readonly UnprovenBackend[];
  /** How many there are. */
  readonly total: number;
}

export interface ListUnprovenOptions {
  readonly store: Pick<Store, 'listResources'>;
  readonly backends: Pick<Backends, 'get'>;
  readonly latest: (backend: Backend) => Proof | undefined;
}

const MAX_TOLD = 100;

/** The enabled backends of all meshes whose last proof is missing or failed. Asks no backend. @throws StoreUnavailableError */
export async function listUnproven(options: ListUnprovenOptions): Promise<UnprovenList> {
  const { items } = await options.store.listResources({ type: 'Mesh' });
  const found: UnprovenBackend[] = [];
  for (const { name } of items) {
    const one = await unprovenOf(name, options);
    if (one !== undefined) found.push(one);
  }
  return { unproven: found.slice(0, MAX_TOLD), total: found.length };
}

async function unprovenOf(
  mesh: string,
  { backends, latest }: ListUnprovenOptions,
): Promise<UnprovenBackend | undefined> {
  try {
    const loaded = await backends.get(mesh);
    const spec = enabledBackendOf(loaded.mesh.mtls);
    if (spec === undefined) return undefined;
    const about = { mesh, backend: spec.name, type: spec.type };
    if (loaded.enabled === undefined) return { ...about, reason: 'its configuration cannot be used' };
    const proof = latest(loaded.enabled);
    if (proof === undefined) return { ...about, reason: 'not proven yet' };
    return proof.ok ? undefined : { ...about, reason: firstFailed(proof) };
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    if (!(error instanceof ConfigError)) throw error;
    return { mesh, backend: '', type: '', reason: 'the stored mesh cannot be read' };
  }
}

function firstFailed({ checks }: Proof): string {
  return checks.find(({ status }) => status === 'failed')?.name ?? 'failed';
}
