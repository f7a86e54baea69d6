import type { IssuerDeps, Lease } from '../../src/issuer/issuer.ts';
import type { CaArn } from './ca-arn.ts';
import { Limiter } from './limiter.ts';

/** The calls of AWS's API that this adapter makes. */
const OPERATIONS = [
  'IssueCertificate',
  'GetCertificate',
  'DescribeCertificateAuthority',
  'GetCertificateAuthorityCertificate',
] as const;
export type Operation = (typeof OPERATIONS)[number];

/** One limiter for each kind of call, since AWS counts each apart. */
export interface CallLimits {
  of(operation: Operation): Limiter;
  close(): void;
}

/** AWS's own quota for both reading calls; not adjustable by a setting because they are made once in ten minutes. */
const READS_PER_SECOND = 20;

/**
 * The limits of an AWS account and region, which all backends of all meshes there have in common. AWS's quotas are token buckets per account,
 * region and operation; ours saves up a tenth of a second, so that it never asks for more at once than AWS's has saved.
 */
export function leaseCallLimits(ca: CaArn, endpoint: string | undefined, deps: IssuerDeps): Lease<CallLimits> {
  const { acmpcaIssuesPerSecond, acmpcaGetsPerSecond } = deps.settings;
  const rates: Readonly<Record<Operation, number>> = {
    IssueCertificate: acmpcaIssuesPerSecond,
    GetCertificate: acmpcaGetsPerSecond,
    DescribeCertificateAuthority: READS_PER_SECOND,
    GetCertificateAuthorityCertificate: READS_PER_SECOND,
  };
  const key = `acmpca:limiter:${ca.account}:${ca.region}${endpoint === undefined ? '' : `:${endpoint}`}`;
  return deps.shared.acquire(key, () => {
    const limiters = new Map(
      OPERATIONS.map((operation) => {
        const ratePerSecond = rates[operation];
        const burst = Math.max(2, ratePerSecond / 10);
        return [operation, new Limiter({ clock: deps.clock, operation, ratePerSecond, burst })] as const;
      }),
    );
    const all = [...limiters.values()];
    return {
      of(operation: Operation): Limiter {
        const limiter = limiters.get(operation);
        if (limiter === undefined) throw new TypeError(`no limiter for ${operation}`);
        return limiter;
      },
      close() {
        for (const limiter of all) limiter.close();
      },
    };
  });
}
