import { type Certificate, verifyCertificateSignature } from '../../src/x509/certificate.ts';

/** How the certificates of the file hang together. Numbers are positions in the file. */
export interface CaPath {
  /** The first of the file, its issuer, that one's issuer, and so on. */
  readonly positions: readonly [number, ...number[]];
  /** The path ends in a self-signed certificate. */
  readonly complete: boolean;
  /** The same certificate stands earlier in the file. */
  readonly doubles: readonly number[];
  /** Signs nothing on the path. */
  readonly strangers: readonly number[];
}

/**
 * Starts at the first certificate, since the private key belongs to it, and follows names and signatures; where several would do, the
 * earlier one in the file is taken.
 */
export function findCaPath(file: readonly [Certificate, ...Certificate[]]): CaPath {
  const doubles = file.flatMap((certificate, i) =>
    file.findIndex(({ der }) => der.equals(certificate.der)) < i ? [i] : [],
  );
  const positions: [number, ...number[]] = [0];
  let last = file[0];
  while (!isIssuedBy(last, last)) {
    const next = file.findIndex((one, i) => !positions.includes(i) && !doubles.includes(i) && isIssuedBy(last, one));
    const found = file[next];
    if (found === undefined) break;
    positions.push(next);
    last = found;
  }
  const strangers = file.flatMap((_, i) => (positions.includes(i) || doubles.includes(i) ? [] : [i]));
  return { positions, complete: isRoot(last), doubles, strangers };
}

/** The certificates of a path, the signing one first. */
export function pathOf(
  file: readonly [Certificate, ...Certificate[]],
  { positions }: CaPath,
): [Certificate, ...Certificate[]] {
  const [signing, ...rest] = positions.flatMap((i) => file[i] ?? []);
  return [signing ?? file[0], ...rest];
}

function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  return certificate.issuerDer.equals(issuer.subjectDer) && verifyCertificateSignature(certificate, issuer);
}

/**
 * Nobody verifies a root's signature by its own key (RFC 5280, 6.1: it is trusted as it is), so that an old root with a SHA-1 signature
 * is one, too. A self-issued certificate of a key change is none: its authority key is another one.
 */
export function isRoot({ isSelfIssued, authorityKeyId, subjectKeyId }: Certificate): boolean {
  if (authorityKeyId === undefined || subjectKeyId === undefined) return isSelfIssued;
  return isSelfIssued && authorityKeyId.equals(subjectKeyId);
}
