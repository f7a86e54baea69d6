import { refusedCaKey, refusedSignature } from '../x509/ca-algorithms.ts';
import { findSignatureAlgorithm } from '../x509/signature-algorithm.ts';
import { type Finding, failed, passed } from './run-checks.ts';
import type { TestCertificate } from './test-certificate.ts';

const SIGN_STRONGER = 'let the CA sign with SHA-256, SHA-384 or SHA-512';

/** Signatures and keys that OpenSSL, Go and BoringSSL (Envoy) all take, by the table that a provided CA is judged by. Nobody verifies a root's signature. */
export async function lookAtSignature(test: TestCertificate): Promise<Finding> {
  const { leaf, chain, roots } = await test.certificates();
  const signed = [leaf, ...chain];
  const above = roots.filter((root) => signed.some(({ issuerDer }) => issuerDer.equals(root.subjectDer)));
  const signatures = signed.flatMap(({ signatureAlgorithmDer, subject }) => {
    const how = refusedSignature(signatureAlgorithmDer);
    return how === undefined ? [] : [{ cause: `${nameOf(subject)} is signed by ${how}`, fix: SIGN_STRONGER }];
  });
  const keys = [...chain, ...above].flatMap(({ spkiDer, subject }) => {
    const key = refusedCaKey(spkiDer);
    if (key === undefined) return [];
    const fix = `make the CA anew with ${key.instead.accepted} and rotate to it: ${key.instead.command}`;
    return [{ cause: `the CA ${nameOf(subject)} has ${key.what}`, fix }];
  });
  const leafKey =
    leaf.publicKey === undefined
      ? [
          {
            cause: 'the certificate has a key that is none of the accepted types',
            fix: 'use MESH_CA_DP_KEY_TYPE=EC-P256',
          },
        ]
      : [];
  const troubles = [...signatures, ...keys, ...leafKey];
  if (troubles.length === 0) {
    return passed(
      `signed by ${findSignatureAlgorithm(leaf.signatureAlgorithmDer)?.name}, for a key of type ${leaf.publicKey?.type}`,
    );
  }
  const all = (what: 'cause' | 'fix') => [...new Set(troubles.map((trouble) => trouble[what]))].join('; ');
  return failed({
    message: 'proxies do not accept a signature or key in the chain',
    cause: all('cause'),
    fix: all('fix'),
  });
}

function nameOf(subject: string): string {
  return subject === '' ? 'the certificate' : `"${subject}"`;
}
