import type { CertificateHolder } from '../store/store.ts';
import type { TrustBundle } from '../trust/trust-bundle.ts';
import type { Change } from './readiness.ts';

/** From one backend to another. Whose certificate it is decides, not under which root it stands: a backend may have had several. */
export function backendChange(bundle: TrustBundle, from: string, to: string): Change {
  return { from, to, toRoots: fingerprintsOf(bundle, to), isOld: ({ backend }) => backend === from };
}

/**
 * From one generation of a CA to the next, under the same backend.
 * @param oldRoots SHA-256 (hex) of the roots of the generation that goes
 * @param newRoots of the one that comes; undefined: not known yet
 */
export function generationChange(
  backend: string,
  oldRoots: ReadonlySet<string>,
  newRoots: ReadonlySet<string> | undefined,
): Change {
  const isOld = (certificate: CertificateHolder) =>
    certificate.backend === backend && certificate.rootHashes.every((root) => oldRoots.has(root));
  return { from: backend, to: backend, toRoots: newRoots, isOld };
}

/** SHA-256 (hex) of the roots of a backend in a bundle; undefined when it has none there. */
export function fingerprintsOf(bundle: TrustBundle, backend: string): ReadonlySet<string> | undefined {
  const own = bundle.roots.filter(({ backends }) => backends.includes(backend));
  return own.length === 0 ? undefined : new Set(own.map(({ fingerprintSha256 }) => fingerprintSha256));
}
