import { IssuerResponseError } from '../../src/issuer/errors.ts';
import type { CaBundle } from '../../src/issuer/issuer.ts';
import { type Certificate, parseCertificate, verifyCertificateSignature } from '../../src/x509/certificate.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { X509Error } from '../../src/x509/x509-error.ts';

/**
 * Every certificate of a PEM text; blocks of another kind are left out.
 * @throws X509Error
 */
export function readCertificates(pem: string): readonly Certificate[] {
  return decodePem(pem)
    .filter(({ label }) => label === 'CERTIFICATE')
    .map(({ der }) => parseCertificate(der));
}

/**
 * As `readCertificates`, of a text in which there has to be one at least.
 * @throws X509Error
 */
export function readSomeCertificates(pem: string): readonly [Certificate, ...Certificate[]] {
  const [first, ...others] = readCertificates(pem);
  if (first === undefined) throw new X509Error('no-certificate', 'there is no PEM block CERTIFICATE in it');
  return [first, ...others];
}

/**
 * Reads what a server gave.
 * @param what it gave, for the message: `mount pki gave a CA certificate`
 * @throws IssuerResponseError when `read` throws a X509Error
 */
export function readTold<T>(what: string, fix: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw new IssuerResponseError(`${what} that cannot be read: ${cause.message}`, { cause, fix });
  }
}

/** Whether it is signed by its own key. */
export function isRoot(certificate: Certificate): boolean {
  return isIssuedBy(certificate, certificate);
}

/** By name and signature. */
export function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  return certificate.issuerDer.equals(issuer.subjectDer) && verifyCertificateSignature(certificate, issuer);
}

/** What proxies are to trust, and what only leads there. `roots` may be empty. */
export function sortCas(cas: readonly Certificate[]): CaBundle {
  const roots = cas.filter(isRoot);
  return {
    roots: roots.map(({ der }) => der),
    intermediates: cas.filter((ca) => !roots.includes(ca)).map(({ der }) => der),
  };
}
