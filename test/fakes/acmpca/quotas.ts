import { OPERATIONS, type Operation } from './calls.ts';

/** Calls a second for one account and region: the published defaults of Service Quotas. */
export const DEFAULT_QUOTAS: Readonly<Record<Operation, number>> = {
  IssueCertificate: 25,
  GetCertificate: 75,
  DescribeCertificateAuthority: 20,
  GetCertificateAuthorityCertificate: 20,
};

export interface Quotas {
  /** Takes one call of this operation; false: over the quota. */
  take(operation: Operation): boolean;
}

/**
 * A token bucket for each operation, as AWS throttles: full at first, holds one second's worth, fills evenly. A call that is refused costs nothing.
 */
export function createQuotas(perSecond: Readonly<Record<Operation, number>>, monotonicMs: () => number): Quotas {
  const buckets = new Map(OPERATIONS.map((name) => [name, { tokens: perSecond[name], atMs: monotonicMs() }]));
  return {
    take(operation) {
      const bucket = buckets.get(operation);
      if (bucket === undefined) return true;
      const rate = perSecond[operation];
      const nowMs = monotonicMs();
      bucket.tokens = Math.min(rate, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * rate);
      bucket.atMs = nowMs;
      if (bucket.tokens < 1) return false;
      bucket.tokens -= 1;
      return true;
    },
  };
}
