import type { CertificateAnswer } from '../issuance/certificate-request.ts';
import type { StoredCertificate } from '../store/store.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { verifyChain } from '../x509/chain.ts';
import { encodePem } from '../x509/pem.ts';
import type { Trust } from './mesh-trust.ts';
import { identityVersion } from './versions.ts';

/** The certificate of a data plane: made for it, or one that it holds since before we started. */
export interface HeldCertificate {
  readonly serialNumber: string;
  readonly version: string;
  readonly leaf: Buffer;
  readonly chain: readonly Buffer[];
  /** PKCS#8. Undefined: it was made before we started, and is only known by its record. */
  readonly privateKeyDer: Buffer | undefined;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

type Source = Omit<HeldCertificate, 'version' | 'privateKeyDer'>;

export function heldCertificate(
  { serialNumber, leaf, chain, notBefore, notAfter }: Source | CertificateAnswer | StoredCertificate,
  privateKeyDer: Buffer | undefined,
): HeldCertificate {
  return { serialNumber, version: identityVersion(serialNumber), leaf, chain, privateKeyDer, notBefore, notAfter };
}

/** The PEM of leaf and chain. */
export function pemOf({ leaf, chain }: HeldCertificate): string {
  return [leaf, ...chain].map((der) => encodePem('CERTIFICATE', der)).join('');
}

/** Whether who holds this bundle accepts the certificate now: what is sent is checked once more. */
export function isVerifiable({ leaf, chain }: HeldCertificate, { bundle }: Trust, at: Date): boolean {
  return verifyChain({
    leaf: parseCertificate(leaf),
    chain: chain.map((der) => parseCertificate(der)),
    roots: bundle.roots.map((root) => root.certificate),
    at,
  }).ok;
}
