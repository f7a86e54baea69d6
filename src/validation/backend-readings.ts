import type { Backend } from '../backends/backend.ts';
import type { Backends } from '../backends/backends.ts';
import type { BackendGuards } from '../issuance/guards/backend-guards.ts';
import type { EndpointQueues } from '../issuance/queue/endpoint-queues.ts';
import type { BackendLabels, BackendReadings } from '../runtime/metrics.ts';
import type { Proof } from './proof.ts';

export interface ReadingsOf {
  readonly backends: Pick<Backends, 'peek'>;
  readonly guards: Pick<BackendGuards, 'state'>;
  readonly queues: Pick<EndpointQueues, 'load'>;
  readonly proofs: { latest(backend: Backend): Proof | undefined };
}

/** What metrics tell of a backend besides its calls: its queue, its guard, its last proof, its credential. */
export function createBackendReadings({ backends, guards, queues, proofs }: ReadingsOf) {
  return ({ mesh, backend: name }: BackendLabels): BackendReadings | undefined => {
    const backend = backends.peek(mesh)?.backends.get(name);
    if (backend === undefined) return undefined;
    const { breaker, held } = guards.state(backend);
    const proof = proofs.latest(backend);
    return {
      ...queues.load(backend),
      breaker,
      held,
      credentialExpiresAt: backend.credential?.expiresAt,
      proof: proof && { ...proof, caExpiresAt: proof.caExpiresAt, rootExpiresAt: proof.rootExpiresAt },
    };
  };
}
