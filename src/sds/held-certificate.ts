import type { CertificateAnswer } from '../issuance/certificate-request.ts';
import type { StoredCertificate } from '../store/store.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { verifyChain } from '../x509/chain.ts';
import type { Trust } from './mesh-trust.ts';
import { identityVersion } from './versions.ts';

/** The certificate of a data plane: made for it, or one that it holds since before we started. */
export interface HeldCertificate {
  readonly serialNumber: string;
  readonly version: string;
  /** Name of the backend that made it. */
  readonly backend: string;
  readonly leaf: Buffer;
  readonly chain: readonly Buffer[];
  /** SHA-256 (hex) of the roots that its chain ends in. */
  readonly rootHashes: readonly string[];
  /** PKCS#8. Undefined: it was made before we started, and is only known by its record. */
  readonly privateKeyDer: Buffer | undefined;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

type Source = Omit<HeldCertificate, 'version' | 'privateKeyDer'>;

/** Keeps no more than it is about: what it is given are pieces of larger buffers, and it stays for as long as the data plane is connected. */
export function heldCertificate(
  {
    serialNumber,
    backend,
    leaf,
    chain,
    rootHashes,
    notBefore,
    notAfter,
  }: Source | CertificateAnswer | StoredCertificate,
  privateKeyDer: Buffer | undefined,
): HeldCertificate {
  const own = Buffer.allocUnsafeSlow(leaf.length + (privateKeyDer?.length ?? 0));
  leaf.copy(own);
  privateKeyDer?.copy(own, leaf.length);
  return {
    ...{ serialNumber, version: identityVersion(serialNumber), backend },
    leaf: own.subarray(0, leaf.length),
    ...{ chain, rootHashes },
    privateKeyDer: privateKeyDer && own.subarray(leaf.length),
    ...{ notBefore, notAfter },
  };
}

/**
 * Whether who holds this bundle accepts the certificate now. One that Certificates have checked under a root, or made with it, needs no other look at
 * its signature while that root is in the bundle.
 */
export function isVerifiable(
  { leaf, chain, rootHashes, notBefore, notAfter }: HeldCertificate,
  { bundle }: Trust,
  at: Date,
): boolean {
  const [root, ...others] = rootHashes;
  if (root !== undefined && others.length === 0 && bundle.fingerprints.has(root))
    return notBefore <= at && at <= notAfter;
  return verifyChain({
    leaf: parseCertificate(leaf),
    chain: chain.map((der) => parseCertificate(der)),
    roots: bundle.roots.map(({ certificate }) => certificate),
    at,
  }).ok;
}
