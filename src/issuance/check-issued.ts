import { IssuerResponseError } from '../issuer/errors.ts';
import type { Identity, IssuedCertificate } from '../issuer/issuer.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { verifyChain } from '../x509/chain.ts';
import { checkLeaf, type Profile } from '../x509/profile.ts';
import { X509Error } from '../x509/x509-error.ts';

export interface Expected {
  readonly identity: Identity;
  readonly spkiDer: Buffer;
  readonly profile: Profile;
  readonly at: Date;
  /** Signed in this process with a key that was proven to fit its certificate: its signature needs no second look. */
  readonly local: boolean;
}

/**
 * Whatever a backend returns is checked before it is handed on: key, names, usages, lifetime, and the chain up to a root, as a proxy would.
 * @throws IssuerResponseError with everything that is wrong
 */
export function checkIssued(issued: IssuedCertificate, expected: Expected): Certificate {
  const { identity, spkiDer, profile, at, local } = expected;
  let leaf: Certificate;
  const wrong: string[] = [];
  try {
    leaf = parseCertificate(issued.leaf);
    wrong.push(
      ...checkLeaf(leaf, {
        spkiDer,
        uriSans: identity.uriSans,
        dnsNames: identity.dnsNames,
        commonName: identity.commonName,
        profile,
        at,
      }),
    );
    if (!local) {
      const chain = issued.chain.map((der) => parseCertificate(der));
      const verified = verifyChain({ leaf, chain, roots: issued.roots.map((der) => parseCertificate(der)), at });
      if (!verified.ok) wrong.push(verified.reason);
    }
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new IssuerResponseError(`the backend's certificate cannot be read (${error.rule}): ${error.message}`, {
      cause: error,
    });
  }
  if (wrong.length > 0) {
    throw new IssuerResponseError(
      `the backend's certificate for data plane "${identity.dataplane}" is not one a proxy would accept: ${wrong.join('; ')}`,
      {
        violations: wrong.map((message) => ({ field: 'certificate', message })),
        fix: 'compare role or template of the backend with the documented one',
      },
    );
  }
  return leaf;
}
