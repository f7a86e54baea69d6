import { CaError, type ErrorCode } from '../issuer/errors.ts';
import type { CertificateRecord } from '../store/store.ts';

/** Share of the lifetime after which a certificate is renewed (product page: 4/5), and the part of it that chance may take off. */
const RENEW_AFTER = 0.8;
const JITTER = 0.05;

/**
 * When a certificate is due: 4/5 of the time from its issue to its end, less up to 5 % of that time by chance, so that certificates made
 * together are not renewed together.
 * @param chance a number in [0, 1)
 */
export function renewalTime(issuedAt: Date, notAfter: Date, chance: number): Date {
  const lifeMs = notAfter.getTime() - issuedAt.getTime();
  return new Date(issuedAt.getTime() + Math.floor(lifeMs * (RENEW_AFTER - JITTER * chance)));
}

/** What a certificate would have to be right now. */
export interface Wanted {
  readonly backend: string;
  readonly backendHash: string;
  readonly identityHash: string;
  /** Undefined: any key will do. */
  readonly keyHash: string | undefined;
  /** SHA-256 (hex) of the roots in the mesh's trust bundle. */
  readonly trustedRoots: ReadonlySet<string>;
  readonly now: Date;
}

export type Due = 'none' | 'backend-changed' | 'identity-changed' | 'key-changed' | 'root-not-trusted' | 'lifetime';

type Right = Pick<
  CertificateRecord,
  'backend' | 'backendHash' | 'identityHash' | 'keyHash' | 'rootHashes' | 'renewAt' | 'notAfter'
>;

/** Why this certificate has to be made anew; undefined when it stands. The reasons in the order of the product's words. */
export function dueReason(record: Right | undefined, wanted: Wanted): Due | undefined {
  if (record === undefined) return 'none';
  if (record.backend !== wanted.backend || record.backendHash !== wanted.backendHash) return 'backend-changed';
  if (record.identityHash !== wanted.identityHash) return 'identity-changed';
  if (wanted.keyHash !== undefined && record.keyHash !== wanted.keyHash) return 'key-changed';
  if (!record.rootHashes.some((root) => wanted.trustedRoots.has(root))) return 'root-not-trusted';
  if (wanted.now >= record.renewAt) return 'lifetime';
  return undefined;
}

/** Whether a certificate that is due may be given once more while the backend fails: same holder, same key, still valid and trusted. */
export function mayServeStale<R extends Right>(record: R | undefined, wanted: Wanted): record is R {
  if (record === undefined || wanted.keyHash === undefined || wanted.now >= record.notAfter) return false;
  return (
    record.identityHash === wanted.identityHash &&
    record.keyHash === wanted.keyHash &&
    record.rootHashes.some((root) => wanted.trustedRoots.has(root))
  );
}

/** Errors that are the request's, or our own mistake: an older certificate would hide them. */
const NO_OUTAGE: ReadonlySet<ErrorCode> = new Set([
  'ERR_REQUEST_INVALID',
  'ERR_POLICY_DENIED',
  'ERR_NOT_FOUND',
  'ERR_NOT_SUPPORTED',
  'ERR_CONFLICT',
  'ERR_TOO_LARGE',
  'ERR_INTERNAL',
]);

/**
 * Whether an error says that something fails that no caller can help: the backend, or what stands between, is down, out of rights, without its
 * secrets, talks nonsense; or our own store cannot keep a new certificate, which makes the older one no worse.
 */
export function isOutage(error: unknown): error is CaError {
  return error instanceof CaError && !NO_OUTAGE.has(error.code);
}
