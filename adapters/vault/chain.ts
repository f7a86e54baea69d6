import { IssuerResponseError } from '../../src/issuer/errors.ts';
import type { CaBundle } from '../../src/issuer/issuer.ts';
import { type Certificate, verifyCertificateSignature } from '../../src/x509/certificate.ts';
import { readCertificates, readSomeCertificates, readTold, sortCas } from '../shared/ca-certificates.ts';
import { findPath, findPathEnd, type Path } from '../shared/issued-certificate.ts';

export interface ChainReader {
  /**
   * The way from `leaf` to its roots. `caPems` is what came with it, in any order, with doubles, the leaf among them, or nothing at all: what is
   * missing is asked of the mount.
   * @throws IssuerResponseError when no root is known or a signature does not verify
   */
  read(leaf: Certificate, caPems: readonly string[], signal: AbortSignal): Promise<Path>;
}

interface MountCas {
  get(signal: AbortSignal): Promise<readonly Certificate[]>;
  peek(): readonly Certificate[] | undefined;
  forget(): void;
}

const UNREADABLE_FIX = 'check that fromCp.address is a Vault server and fromCp.pki a PKI mount of it';

export function createChainReader(pki: string, mountCas: MountCas): ChainReader {
  // A mount answers with the same CA text until its CA changes: parsed once.
  let last: { readonly text: string; readonly cas: readonly Certificate[] } = { text: '', cas: [] };
  // The way from there to the roots is verified once. The signature of each further leaf is the caller's to verify: once is enough.
  let verified: { readonly issuer: Certificate; readonly path: Path } | undefined;

  function pathOf(leaf: Certificate, cas: readonly Certificate[]): Path | undefined {
    if (verified !== undefined && namesIssuer(leaf, verified.issuer)) return verified.path;
    const path = findPath(leaf, cas);
    const issuer = path?.chain[0] ?? path?.roots[0];
    if (path !== undefined && issuer !== undefined) verified = { issuer, path };
    return path;
  }

  return {
    async read(leaf, caPems, signal) {
      const text = caPems.join('\n');
      if (text !== last.text) {
        last = { text, cas: parseCertificates(pki, text) };
        verified = undefined;
        mountCas.forget();
      }
      const told = pathOf(leaf, last.cas);
      if (told !== undefined) return told;
      const known = [...last.cas, ...(await mountCas.get(signal))];
      const path = pathOf(leaf, known);
      if (path !== undefined) return path;
      mountCas.forget();
      throw incompleteChain(pki, leaf, known);
    },
  };
}

/** @throws IssuerResponseError */
export function parseCertificates(pki: string, pem: string): readonly Certificate[] {
  return readTold(`mount ${pki} gave a CA certificate`, UNREADABLE_FIX, () => readCertificates(pem));
}

/** @throws IssuerResponseError */
export function parseLeaf(pki: string, pem: string): Certificate {
  return readTold(`mount ${pki} gave a certificate`, UNREADABLE_FIX, () => readSomeCertificates(pem)[0]);
}

/**
 * The CA certificates of a mount, sorted.
 * @throws IssuerResponseError when there is no root among them
 */
export function bundleOf(pki: string, cas: readonly Certificate[]): CaBundle {
  const bundle = sortCas(cas);
  if (bundle.roots.length === 0) throw rootMissing(pki, `CA certificates (${cas.length}) but no root among them`);
  return bundle;
}

function rootMissing(pki: string, what: string): IssuerResponseError {
  return new IssuerResponseError(`mount ${pki} tells ${what}`, {
    fix: `vault write ${pki}/intermediate/set-signed certificate=@intermediate-and-root.pem; that file holds the whole chain, the intermediate first and the root last`,
  });
}

/** By name and key identifier; where there is none a CA of the same name could be meant, and only the signature tells. */
function namesIssuer(leaf: Certificate, issuer: Certificate): boolean {
  if (!leaf.issuerDer.equals(issuer.subjectDer)) return false;
  const { authorityKeyId } = leaf;
  const { subjectKeyId } = issuer;
  if (authorityKeyId === undefined || subjectKeyId === undefined) return verifyCertificateSignature(leaf, issuer);
  return authorityKeyId.equals(subjectKeyId);
}

export function incompleteChain(pki: string, leaf: Certificate, known: readonly Certificate[]): IssuerResponseError {
  const { wanted, isNamed } = findPathEnd(leaf, known);
  if (!isNamed) return rootMissing(pki, `no certificate of ${JSON.stringify(wanted)}, where the chain goes on`);
  return new IssuerResponseError(
    `mount ${pki} gave a certificate whose signature does not verify with the CA ${JSON.stringify(wanted)} that it tells`,
    { fix: `vault list ${pki}/issuers; compare the issuers of the mount with the CA that proxies are to trust` },
  );
}
