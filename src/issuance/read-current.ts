import { hash } from 'node:crypto';
import type { Backend } from '../backends/backend.ts';
import { RequestInvalidError } from '../issuer/errors.ts';
import type { Identity } from '../issuer/issuer.ts';
import type { CertificateRecord } from '../store/store.ts';
import { type Certificate, fingerprintSha256, parseCertificate } from '../x509/certificate.ts';
import { buildChain, verifyChain } from '../x509/chain.ts';
import { decodePem } from '../x509/pem.ts';
import { checkLeaf, type Profile } from '../x509/profile.ts';
import { X509Error } from '../x509/x509-error.ts';
import { renewalTime } from './renewal.ts';

/** Backends date a certificate back a little: we by 10 s, Vault by 30 s. */
const CUSHION_MS = 60_000;

export interface CurrentContext {
  readonly identity: Identity;
  readonly identityHash: string;
  readonly backend: Backend;
  readonly profile: Profile;
  readonly at: Date;
  /** Roots and intermediates of the enabled backend, DER. */
  readonly roots: readonly Buffer[];
  readonly intermediates: readonly Buffer[];
  /** What we answered this data plane last. */
  readonly record: CertificateRecord | undefined;
}

/**
 * Reads the certificate that a proxy says it holds. When it is the one we answered last, our record of it is returned. When we do not know
 * it (another replica made it, the store was lost) it has to prove itself: chain to a root of the enabled backend, exact identity, still valid.
 * @param held PEM, or the DER of leaf and chain
 * @returns undefined when it does not stand
 * @throws RequestInvalidError on field `current` when it is no certificate at all
 */
export function readCurrent(held: string | readonly Buffer[], context: CurrentContext): CertificateRecord | undefined {
  const { record } = context;
  // Thousands of data planes are looked at after a change of their mesh: what we have made ourselves is not read once more.
  if (typeof held !== 'string' && held[0] !== undefined && record?.leaf.equals(held[0]) === true) return record;
  const [leaf, ...rest] = readCertificates(held);
  if (record?.leaf.equals(leaf.der) === true) return record;
  return adopt(leaf, rest, context);
}

function readCertificates(held: string | readonly Buffer[]): [Certificate, ...Certificate[]] {
  try {
    const ders = typeof held === 'string' ? decodePem(held).map(({ der }) => der) : held;
    const [first, ...rest] = ders.map((der) => parseCertificate(der));
    if (first === undefined) throw new X509Error('no-pem', 'holds no PEM block');
    return [first, ...rest];
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    throw new RequestInvalidError(`current not accepted (${error.rule}): ${error.message}`, {
      violations: [{ field: 'current', message: error.message }],
      fix: 'send the PEM of the leaf that the proxy holds, or leave it out',
      cause: error,
    });
  }
}

function adopt(
  leaf: Certificate,
  rest: readonly Certificate[],
  context: CurrentContext,
): CertificateRecord | undefined {
  const { identity, backend, profile, at } = context;
  const { uriSans, dnsNames, commonName } = identity;
  if (checkLeaf(leaf, { spkiDer: leaf.spkiDer, uriSans, dnsNames, commonName, profile, at }).length > 0)
    return undefined;
  // It was made when certificates lived longer than they may now; a shorter life ends by itself.
  const lifeMs = leaf.notAfter.getTime() - leaf.notBefore.getTime();
  if (lifeMs > backend.ttlSeconds * 1000 + CUSHION_MS) return undefined;
  const roots = context.roots.map((der) => parseCertificate(der));
  const pool = [...rest, ...context.intermediates.map((der) => parseCertificate(der)), ...roots];
  const { chain, roots: own } = buildChain(leaf, pool);
  if (!verifyChain({ leaf, chain, roots, at }).ok) return undefined;
  return {
    mesh: identity.mesh,
    dataplane: identity.dataplane,
    backend: backend.name,
    backendType: backend.type,
    backendHash: backend.hash,
    identityHash: context.identityHash,
    keyHash: hash('sha256', leaf.spkiDer),
    leaf: leaf.der,
    chain: chain.map(({ der }) => der),
    rootHashes: own.map(({ der }) => fingerprintSha256(der)),
    serialNumber: leaf.serialNumber,
    issuedAt: leaf.notBefore,
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
    renewAt: renewalTime(leaf.notBefore, leaf.notAfter, 0),
  };
}
