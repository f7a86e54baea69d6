import { IssuerResponseError } from '../../src/issuer/errors.ts';
import type { CaBundle } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { isIssuedBy, readCertificates, readSomeCertificates, readTold, sortCas } from '../shared/ca-certificates.ts';
import { findPath, findPathEnd, type Path } from '../shared/issued-certificate.ts';
import type { CaArn } from './ca-arn.ts';
import { nameOf } from './errors.ts';

export interface ChainReader {
  /**
   * @param chainPem AWS's `CertificateChain`: the issuer first and the root last, or no root under a CA from elsewhere; any order is put right
   * @param pinned certificates of `caCert`: with them the path ends in their root or nowhere
   * @param known the CA's certificates as they were read apart, for a chain that lacks some
   * @throws IssuerResponseError when it ends in no root, or in another than the pinned
   */
  read(leaf: Certificate, chainPem: string, pinned: readonly Certificate[], known: readonly Certificate[]): Path;
}

const FIX_ROOT = "set caCert to the CA's root certificate, with the intermediates above the CA";
const FIX_ANSWER = 'check what stands between mesh-ca and AWS, and ask again';

/** AWS tells the same text with each certificate until the CA changes: it is read and verified once; of each further leaf only its own signature. */
export function createChainReader(ca: CaArn): ChainReader {
  let last: { readonly text: string; readonly cas: readonly Certificate[] } | undefined;
  let verified: { readonly issuer: Certificate; readonly path: Path } | undefined;
  let lastPool: readonly (readonly Certificate[])[] = [];

  return {
    read(leaf, chainPem, pinned, known) {
      const isSame = last?.text === chainPem && lastPool[0] === pinned && lastPool[1] === known;
      if (!isSame) {
        verified = undefined;
        lastPool = [pinned, known];
        if (last?.text !== chainPem) last = { text: chainPem, cas: parseCertificates(chainPem) };
      }
      if (verified !== undefined && isIssuedBy(leaf, verified.issuer)) return verified.path;
      const told = last?.cas ?? [];
      const path = pinned.length > 0 ? pinnedPath(ca, leaf, told, pinned) : freePath(nameOf({ ca }), leaf, told, known);
      const issuer = path.chain[0] ?? path.roots[0];
      if (issuer !== undefined) verified = { issuer, path };
      return path;
    },
  };
}

function pinnedPath(ca: CaArn, leaf: Certificate, told: readonly Certificate[], pinned: readonly Certificate[]): Path {
  const path = findPath(leaf, told, pinned);
  if (path !== undefined) return path;
  const own = findPath(leaf, told)?.roots[0]?.subject;
  throw new IssuerResponseError(
    own === undefined
      ? `${nameOf({ ca })} gave a certificate whose chain does not lead to the root in caCert`
      : `${nameOf({ ca })} gave a certificate under the root ${JSON.stringify(own)}, which is not the one in caCert`,
    {
      fix: `compare caCert with the CA: aws acm-pca get-certificate-authority-certificate --certificate-authority-arn ${ca.text}`,
    },
  );
}

function freePath(ca: string, leaf: Certificate, told: readonly Certificate[], known: readonly Certificate[]): Path {
  const all = [...told, ...known];
  const path = findPath(leaf, told) ?? findPath(leaf, all);
  if (path !== undefined) return path;
  const { wanted, isNamed } = findPathEnd(leaf, all);
  throw isNamed
    ? new IssuerResponseError(
        `${ca} gave a certificate whose signature does not verify with the CA ${JSON.stringify(wanted)} that it tells`,
        { fix: FIX_ANSWER },
      )
    : new IssuerResponseError(`${ca} tells no certificate of ${JSON.stringify(wanted)}, where the chain goes on`, {
        fix: FIX_ROOT,
      });
}

/**
 * CA certificates, sorted.
 * @throws IssuerResponseError when there is no root among them
 */
export function bundleOf(ca: string, certificates: readonly Certificate[]): CaBundle {
  const bundle = sortCas(certificates);
  if (bundle.roots.length === 0) throw new IssuerResponseError(`${ca} tells no root certificate`, { fix: FIX_ROOT });
  return bundle;
}

/**
 * Every certificate of a PEM text.
 * @throws IssuerResponseError when one cannot be read
 */
export function parseCertificates(pem: string): readonly Certificate[] {
  return readTold('AWS gave a certificate', FIX_ANSWER, () => readCertificates(pem));
}

/** @throws IssuerResponseError */
export function parseLeaf(pem: string): Certificate {
  return readTold('AWS gave a certificate', FIX_ANSWER, () => readSomeCertificates(pem)[0]);
}
