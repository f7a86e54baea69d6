import { AsyncResource } from 'node:async_hooks';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import type { KubernetesClient } from './client.ts';
import type { DeleteQueue } from './delete-queue.ts';

type OnRequest = IssuerDeps['onRequest'];

/** Who counts the requests that are made for all backends together: watches, lists, sweeps. */
export interface SharedRequests {
  readonly onRequest: OnRequest;
  /** Takes part in it. Returns what ends that. */
  join(onRequest: OnRequest): () => void;
}

/** The one that joined first, and is still there, counts them all. */
export function createSharedRequests(): SharedRequests {
  const joined = new Set<OnRequest>();
  return {
    onRequest() {
      const [first] = joined;
      first?.();
    },
    join(onRequest) {
      const own = forNoCertificate(onRequest);
      joined.add(own);
      return () => void joined.delete(own);
    },
  };
}

interface Asked {
  readonly client: KubernetesClient;
  readonly deletions: DeleteQueue;
}

/** The same, but what is asked by it counts for one backend. */
export function countFor({ client, deletions }: Asked, onRequest: OnRequest): Asked {
  const onDelete = forNoCertificate(onRequest);
  return {
    client: {
      create: (manifest, options) => client.create(manifest, { ...options, onRequest }),
      get: (name, options) => client.get(name, { ...options, onRequest }),
      list: (query, options) => client.list(query, { ...options, onRequest }),
      delete: (name, options) => client.delete(name, { ...options, onRequest }),
      watch: (query, options) => client.watch(query, { ...options, onRequest }),
      may: (verb, options) => client.may(verb, { ...options, onRequest }),
      namespacePhase: (options) => client.namespacePhase({ ...options, onRequest }),
      get server() {
        return client.server;
      },
      serverNow: client.serverNow,
      close: client.close,
    },
    deletions: {
      ...deletions,
      add: (name) => deletions.add(name, onDelete),
      get size() {
        return deletions.size;
      },
    },
  };
}

/** Work behind the callers' backs goes on in the asynchronous context of whoever happened to start it: it counts for no certificate. */
function forNoCertificate(onRequest: OnRequest): OnRequest {
  return AsyncResource.bind(() => onRequest());
}
