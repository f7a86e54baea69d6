import { IssuerResponseError } from '../issuer/errors.ts';
import type { Identity, IssuedCertificate } from '../issuer/issuer.ts';
import { type Certificate, parseCertificate, readSerialNumber } from '../x509/certificate.ts';
import { verifyChain } from '../x509/chain.ts';
import { checkLeaf, type Profile } from '../x509/profile.ts';
import { X509Error } from '../x509/x509-error.ts';

export interface Expected {
  readonly identity: Identity;
  readonly spkiDer: Buffer;
  readonly profile: Profile;
  readonly at: Date;
}

/** What the certificate itself says, whatever the backend said. */
export type LeafFacts = Pick<Certificate, 'serialNumber' | 'notBefore' | 'notAfter'>;

/**
 * Facts of a certificate that our own signer wrote in this process a moment ago. Reading it once more would cost a tenth of making it; that the
 * signer writes what it is told is what the tests of `x509` and of the adapters are for.
 */
export function ownLeafFacts({ leaf, notBefore, notAfter }: IssuedCertificate): LeafFacts {
  return { serialNumber: readSerialNumber(leaf), notBefore, notAfter };
}

/**
 * Whatever a backend returns is checked before it is handed on: key, names, usages, lifetime, and the chain up to a root, as a proxy would.
 * @throws IssuerResponseError with everything that is wrong
 */
export function checkIssued(issued: IssuedCertificate, expected: Expected): LeafFacts {
  const { identity, spkiDer, profile, at } = expected;
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
    const verified = verifyChain({ leaf, chain: issued.chain.map(parseCa), roots: issued.roots.map(parseCa), at });
    if (!verified.ok) wrong.push(verified.reason);
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

/**
 * An issuer gives the same CA certificates, the very same buffers, with each leaf: read once, so that their keys are imported and their own
 * signatures verified once, too.
 */
const knownCas = new WeakMap<Buffer, Certificate>();

function parseCa(der: Buffer): Certificate {
  const known = knownCas.get(der) ?? parseCertificate(der);
  knownCas.set(der, known);
  return known;
}
