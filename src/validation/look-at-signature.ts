import type { Certificate } from '../x509/certificate.ts';
import { DerReader, TAG } from '../x509/der-reader.ts';
import { formatOid } from '../x509/oids.ts';
import { findSignatureAlgorithm } from '../x509/signature-algorithm.ts';
import { X509Error } from '../x509/x509-error.ts';
import { type Finding, failed, passed } from './run-checks.ts';
import type { TestCertificate } from './test-certificate.ts';

/** Names of algorithms that CAs had once. */
const OLD_SIGNATURES: ReadonlyMap<string, string> = new Map([
  ['1.2.840.113549.1.1.4', 'MD5 with RSA'],
  ['1.2.840.113549.1.1.5', 'SHA-1 with RSA'],
  ['1.2.840.113549.1.1.14', 'SHA-224 with RSA'],
  ['1.2.840.10045.4.1', 'ECDSA with SHA-1'],
  ['1.2.840.10045.4.3.1', 'ECDSA with SHA-224'],
]);

const LEAST_RSA_BITS = 2048;
const CA_CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** Signatures and keys that OpenSSL, Go and BoringSSL (Envoy) all take. Nobody verifies the signature of a root. */
export async function lookAtSignature(test: TestCertificate): Promise<Finding> {
  const { leaf, chain, roots } = await test.certificates();
  const signed = [leaf, ...chain];
  const issuers = [
    ...chain,
    ...roots.filter((root) => signed.some(({ issuerDer }) => issuerDer.equals(root.subjectDer))),
  ];
  const faults = [
    ...signed.map((certificate) => signatureFault(certificate)),
    leaf.publicKey === undefined
      ? 'the key of the certificate is neither EC (P-256, P-384) nor RSA from 2048 bits on'
      : undefined,
    ...issuers.map((certificate) => keyFault(certificate)),
  ].filter((fault) => fault !== undefined);
  if (faults.length === 0) {
    return passed(
      `signed by ${findSignatureAlgorithm(leaf.signatureAlgorithmDer)?.name}, for a key of type ${leaf.publicKey?.type}`,
    );
  }
  return failed({
    message: 'proxies do not accept a signature or key in the chain',
    cause: [...new Set(faults)].join('; '),
    fix: 'let the CA sign with SHA-256 or stronger; a CA with a weak key is made anew (EC P-256, or RSA of 2048 bits or more) and rotated to',
  });
}

function signatureFault({ signatureAlgorithmDer, subject }: Certificate): string | undefined {
  try {
    if (findSignatureAlgorithm(signatureAlgorithmDer) !== undefined) return undefined;
    const oid = formatOid(new DerReader(signatureAlgorithmDer, 'the algorithm').expect(TAG.sequence).inside().oid());
    return `${nameOf(subject)} is signed by ${OLD_SIGNATURES.get(oid) ?? `the algorithm ${oid}`}`;
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return `${nameOf(subject)} is signed by an algorithm that cannot be read`;
  }
}

function keyFault(certificate: Certificate): string | undefined {
  const what = weakKey(certificate);
  return what && `the CA ${nameOf(certificate.subject)} has ${what}`;
}

function weakKey(certificate: Certificate): string | undefined {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = certificate.keyObject();
    if (type === 'rsa') {
      const bits = details?.modulusLength ?? 0;
      return bits < LEAST_RSA_BITS ? `an RSA key of ${bits} bits` : undefined;
    }
    if (type === 'ec') {
      const curve = details?.namedCurve ?? 'without a name';
      return CA_CURVES.has(curve) ? undefined : `an EC key on the curve ${curve}`;
    }
    return type === 'ed25519' ? undefined : `a key of type ${type}`;
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return 'a key that cannot be used';
  }
}

function nameOf(subject: string): string {
  return subject === '' ? 'the certificate' : `"${subject}"`;
}
