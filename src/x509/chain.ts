import { type Certificate, verifyCertificateSignature } from './certificate.ts';
import { constraintFault } from './name-constraints.ts';

/** Intermediates that a path may have. Real ones have one to three. */
const MAX_INTERMEDIATES = 8;
/** Signatures that one call may check, so that a bag of look-alikes costs a bounded time. */
const MAX_SIGNATURE_CHECKS = 128;

export interface Chain {
  /** The leaf's issuer first; without the leaf and without the root. */
  readonly chain: Certificate[];
  /** The roots of the pool that the path ends in; more than one when a root was renewed with the same key and name. */
  readonly roots: Certificate[];
  /** False when no root was found; `chain` then goes as far as it could. */
  readonly complete: boolean;
}

/**
 * Puts a bag of certificates in order: any order, doubles and the leaf itself among them, strangers, cross-signed CAs. An issuer is who
 * has the name, the key identifier (where both tell one) and the key; times and usages are left to {@link verifyChain}. A root is a
 * certificate that is signed by its own key. Prefers paths that end in a root, the shortest first.
 */
export function buildChain(leaf: Certificate, pool: readonly Certificate[]): Chain {
  const candidates = unique(pool).filter((certificate) => !certificate.der.equals(leaf.der));
  const budget = { left: MAX_SIGNATURE_CHECKS };
  const isRoot = memoize(
    (certificate: Certificate) => certificate.isSelfIssued && isSignedBy(certificate, certificate, budget),
  );
  const issuersOf = memoize((certificate: Certificate) =>
    candidates.filter((issuer) => isSignedBy(certificate, issuer, budget)),
  );

  let longest: Certificate[] = [];
  let paths: Certificate[][] = [[]];
  while (paths.length > 0) {
    const next: Certificate[][] = [];
    for (const path of paths) {
      const issuers = issuersOf(path.at(-1) ?? leaf);
      const roots = issuers.filter(isRoot);
      if (roots.length > 0) return { chain: path, roots, complete: true };
      if (path.length > longest.length) longest = path;
      if (path.length === MAX_INTERMEDIATES) continue;
      for (const issuer of issuers) if (!path.includes(issuer)) next.push([...path, issuer]);
    }
    paths = next;
  }
  return { chain: longest, roots: [], complete: false };
}

export type Verdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/**
 * Validates a path after RFC 5280 section 6, as far as a mesh needs it: names and key identifiers chain, every signature is right, every
 * certificate is valid at `at`, every issuer is a CA that may sign certificates, path lengths hold, extended key usages of CAs allow what
 * a proxy needs, name constraints hold, and no critical extension is left unhandled. Names are compared byte for byte, as Go does. Revocation is not asked for.
 *
 * @param path.chain the leaf's issuer first; a root at its end is allowed
 * @param path.roots the trust anchors; one of them must have issued the last of the chain
 * @param path.at `'any time'`: neither times nor what the leaf says of itself are judged, only whether the path could be valid at all
 */
export function verifyChain(path: {
  leaf: Certificate;
  chain: readonly Certificate[];
  roots: readonly Certificate[];
  at: Date | 'any time';
}): Verdict {
  const { leaf, roots, at } = path;
  const intermediates = path.chain.filter((certificate) => !roots.some((root) => root.der.equals(certificate.der)));
  if (intermediates.length > MAX_INTERMEDIATES) {
    return refuse(`the chain has more than ${MAX_INTERMEDIATES} intermediates`);
  }
  if (roots.length === 0) return refuse('there is no root to end in');
  const below = [leaf, ...intermediates];
  for (const [i, issuer] of intermediates.entries()) {
    const fault = linkFault(below[i] ?? leaf, issuer) ?? issuerFault(issuer, leaf, intermediates.slice(0, i), at);
    if (fault !== undefined) return refuse(fault);
  }
  const leafFault = at === 'any time' ? undefined : certificateFault(leaf, at);
  if (leafFault !== undefined) return refuse(leafFault);

  const last = below.at(-1) ?? leaf;
  const faults: string[] = [];
  for (const root of roots) {
    const fault = linkFault(last, root) ?? issuerFault(root, leaf, intermediates, at);
    if (fault === undefined) return { ok: true };
    faults.push(fault);
  }
  const closest = roots.findIndex((root) => root.subjectDer.equals(last.issuerDer));
  return refuse(faults[Math.max(closest, 0)] ?? 'there is no root to end in');
}

function refuse(reason: string): Verdict {
  return { ok: false, reason };
}

/** What is wrong between a certificate and the one that should have issued it. */
function linkFault(certificate: Certificate, issuer: Certificate): string | undefined {
  if (!certificate.issuerDer.equals(issuer.subjectDer)) {
    return `${label(certificate)} was issued by "${certificate.issuer}", not by ${label(issuer)}`;
  }
  if (!keyIdsFit(certificate, issuer)) {
    return `${label(certificate)} names another issuing key than that of ${label(issuer)}`;
  }
  if (!verifyCertificateSignature(certificate, issuer)) {
    return `the signature of ${label(certificate)} was not made by ${label(issuer)}`;
  }
  return undefined;
}

/** What keeps a certificate from being in a valid path at all. */
function certificateFault(certificate: Certificate, at: Date | 'any time'): string | undefined {
  if (at !== 'any time' && at < certificate.notBefore) {
    return `${label(certificate)} is not valid before ${certificate.notBefore.toISOString()}`;
  }
  if (at !== 'any time' && at > certificate.notAfter)
    return `${label(certificate)} ended at ${certificate.notAfter.toISOString()}`;
  const [unhandled] = certificate.unhandledCriticalExtensions;
  if (unhandled !== undefined)
    return `${label(certificate)} has the critical extension ${unhandled}, which is not handled here`;
  return undefined;
}

/** Extended key usages of which a CA must have both, or "any", when it has the extension at all. */
const PROXY_USAGES = ['serverAuth', 'clientAuth'];

/** What keeps a certificate from issuing those below it: the leaf and the `intermediates` that stand between. */
function issuerFault(
  issuer: Certificate,
  leaf: Certificate,
  intermediates: readonly Certificate[],
  at: Date | 'any time',
): string | undefined {
  const fault = certificateFault(issuer, at);
  if (fault !== undefined) return fault;
  if (issuer.basicConstraints?.ca !== true) return `${label(issuer)} is not a CA`;
  if (issuer.keyUsage !== undefined && !issuer.keyUsage.has('keyCertSign')) {
    return `${label(issuer)} may not sign certificates (key usage keyCertSign is missing)`;
  }
  const { pathLength } = issuer.basicConstraints;
  const counted = intermediates.filter((certificate) => !certificate.isSelfIssued);
  if (pathLength !== undefined && counted.length > pathLength) {
    return `${label(issuer)} allows ${pathLength} intermediates below it, there are ${counted.length}`;
  }
  const usages = issuer.extendedKeyUsage;
  if (usages !== undefined && !usages.includes('anyExtendedKeyUsage')) {
    const missing = PROXY_USAGES.filter((usage) => !usages.includes(usage));
    if (missing.length > 0) return `${label(issuer)} does not allow the extended key usage ${missing.join(' and ')}`;
  }
  if (issuer.nameConstraints !== undefined) {
    for (const certificate of [leaf, ...counted]) {
      const name = constraintFault(issuer.nameConstraints, certificate);
      if (name !== undefined) return `the name constraints of ${label(issuer)} do not allow ${name}`;
    }
  }
  return undefined;
}

function label(certificate: Certificate): string {
  return certificate.subject === ''
    ? `the certificate with serial number ${certificate.serialNumber}`
    : `the certificate "${certificate.subject}"`;
}

function isSignedBy(certificate: Certificate, issuer: Certificate, budget: { left: number }): boolean {
  if (!certificate.issuerDer.equals(issuer.subjectDer) || !keyIdsFit(certificate, issuer) || budget.left === 0)
    return false;
  budget.left--;
  return verifyCertificateSignature(certificate, issuer);
}

function keyIdsFit({ authorityKeyId }: Certificate, { subjectKeyId }: Certificate): boolean {
  return authorityKeyId === undefined || subjectKeyId === undefined || authorityKeyId.equals(subjectKeyId);
}

function unique(certificates: readonly Certificate[]): Certificate[] {
  return [...new Map(certificates.map((certificate) => [certificate.der.toString('latin1'), certificate])).values()];
}

function memoize<T>(compute: (certificate: Certificate) => T): (certificate: Certificate) => T {
  const known = new Map<Certificate, T>();
  return (certificate) => {
    let value = known.get(certificate);
    if (value === undefined) {
      value = compute(certificate);
      known.set(certificate, value);
    }
    return value;
  };
}
