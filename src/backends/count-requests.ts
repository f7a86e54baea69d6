import { AsyncLocalStorage } from 'node:async_hooks';
import type { BackendMetrics } from '../runtime/metrics.ts';

/**
 * Which certificate a request to a backend belongs to, however deep in an adapter or its SDK it is made. A request that several certificates share
 * (a login, a look at a role) counts for the one that caused it; one that nobody waits for (a watch, a deletion) for none.
 */
const certificates = new AsyncLocalStorage<{ requests: number }>();

/** A request goes out to a backend. */
export function countRequest(metrics: BackendMetrics | undefined): void {
  metrics?.request();
  const certificate = certificates.getStore();
  if (certificate !== undefined) certificate.requests += 1;
}

/** Runs `work`, and tells `done` how many requests it has caused, whether it succeeds or fails. */
export async function withRequestCount<T>(work: () => Promise<T>, done: (requests: number) => void): Promise<T> {
  const certificate = { requests: 0 };
  try {
    return await certificates.run(certificate, work);
  } finally {
    done(certificate.requests);
  }
}
