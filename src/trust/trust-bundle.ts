import { z } from 'zod';
import { type Certificate, fingerprintSha256, parseCertificate } from '../x509/certificate.ts';
import { decodePem, encodePem } from '../x509/pem.ts';

/** One root that data planes of the mesh trust, and the backends it belongs to. */
export interface TrustRoot {
  /** Sorted. */
  readonly backends: readonly string[];
  /** SHA-256 of the DER, lower-case hex. */
  readonly fingerprintSha256: string;
  readonly certificate: Certificate;
  readonly pem: string;
}

/** The union of the roots of all backends of a mesh. Immutable; equal content has one version. */
export interface TrustBundle {
  readonly mesh: string;
  /** Only grows. */
  readonly version: number;
  /** Sorted by fingerprint, so that equal sets are equal text. */
  readonly roots: readonly TrustRoot[];
  /** SHA-256 (hex) of each root. */
  readonly fingerprints: ReadonlySet<string>;
  /** All roots, one after the other. */
  readonly pem: string;
}

/** Backend name -> its roots, DER. */
export type RootsByBackend = ReadonlyMap<string, readonly Buffer[]>;

const storedBody = z.array(z.object({ backends: z.array(z.string()), pem: z.string() }));

/** Text for the store: the same for the same content, whatever the order of backends and roots was. */
export function bundleBody(roots: RootsByBackend): string {
  const byFingerprint = new Map<string, { backends: Set<string>; der: Buffer }>();
  for (const [backend, ders] of roots) {
    for (const der of ders) {
      const fingerprint = fingerprintSha256(der);
      const entry = byFingerprint.get(fingerprint) ?? { backends: new Set(), der };
      entry.backends.add(backend);
      byFingerprint.set(fingerprint, entry);
    }
  }
  const sorted = [...byFingerprint].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(
    sorted.map(([, { backends, der }]) => ({ backends: [...backends].sort(), pem: encodePem('CERTIFICATE', der) })),
  );
}

/** Reads what `bundleBody` wrote. */
export function readBundle(mesh: string, version: number, body: string): TrustBundle {
  const roots = storedBody.parse(JSON.parse(body)).map(({ backends, pem }): TrustRoot => {
    const der = decodePem(pem)[0]?.der;
    if (der === undefined) throw new Error(`trust bundle ${version} of mesh "${mesh}" holds an empty root`);
    return { backends, pem, fingerprintSha256: fingerprintSha256(der), certificate: parseCertificate(der) };
  });
  const fingerprints = new Set(roots.map((root) => root.fingerprintSha256));
  return { mesh, version, roots, fingerprints, pem: roots.map((root) => root.pem).join('') };
}

/**
 * Fingerprints of these roots (DER) when all of them are in the bundle, else undefined. Compares bytes: cheaper than hashing on the hot path.
 * @param backend counts only roots that are there for this one: one that is there for another goes with that
 */
export function fingerprintsIn(
  bundle: TrustBundle,
  roots: readonly Buffer[],
  backend?: string,
): readonly string[] | undefined {
  const found: string[] = [];
  for (const der of roots) {
    const root = bundle.roots.find(({ certificate }) => certificate.der.equals(der));
    if (root === undefined || (backend !== undefined && !root.backends.includes(backend))) return undefined;
    found.push(root.fingerprintSha256);
  }
  return found;
}

/** The roots of one backend in a bundle, DER. */
export function rootsOf(bundle: TrustBundle, backend: string): readonly Buffer[] {
  return bundle.roots.filter((root) => root.backends.includes(backend)).map((root) => root.certificate.der);
}

/**
 * The backends whose certificates somebody accepts who holds the bundle `held`: every root that the backend has today is in it. Sorted.
 */
export function supportedBackends(current: TrustBundle, held: TrustBundle): readonly string[] {
  const backends = [...new Set(current.roots.flatMap((root) => root.backends))].sort();
  const accepts = (backend: string) =>
    current.roots.every((root) => !root.backends.includes(backend) || held.fingerprints.has(root.fingerprintSha256));
  return backends.filter(accepts);
}
