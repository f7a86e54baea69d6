import type { Fleet } from './fleet.ts';

/**
 * Whether no connection is left to break: every root but those of the target has expired, and every certificate that has not is under one of them. Then a
 * rotation is the way back to work, and waits for nobody's trust.
 * @param target SHA-256 (hex) of its roots; undefined: not known yet
 */
export function isNothingLeft({ bundle, members, readAt }: Fleet, target: ReadonlySet<string> | undefined): boolean {
  if (target === undefined) return false;
  const others = bundle.roots.filter(({ fingerprintSha256 }) => !target.has(fingerprintSha256));
  if (others.length === 0 || others.some(({ certificate }) => certificate.notAfter >= readAt)) return false;
  const expired = new Set(others.map(({ fingerprintSha256 }) => fingerprintSha256));
  return members.every(({ certificate }) => !certificate || certificate.rootHashes.every((root) => expired.has(root)));
}
