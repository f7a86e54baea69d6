import { IssuerResponseError } from '../../src/issuer/errors.ts';
import type { IssuedCertificate } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { X509Error } from '../../src/x509/x509-error.ts';
import { isIssuedBy, readCertificates, readTold } from '../shared/ca-certificates.ts';
import { findPath, findPathEnd, issuedCertificate, type Path } from '../shared/issued-certificate.ts';
import type { IssuerRef } from './config.ts';

interface TellChain {
  readonly spkiDer: Buffer;
  /** `status.certificate`: leaf and intermediates, in any order, perhaps with the root. */
  readonly certificatePem: string;
  /** `status.ca`, often '': the root, or the highest CA that cert-manager knows. */
  readonly caPem: string;
  /** Of `conf.caCert`; undefined when it is not set. */
  readonly pinned: readonly Certificate[] | undefined;
}

export interface ReadChain {
  readonly issued: IssuedCertificate;
  /** The earliest end of the CA certificates on the way. */
  readonly caNotAfter: Date;
}

const FALLBACK_FIX = 'set conf.caCert to the root CA that the issuer leads to';

export interface ChainReader {
  /**
   * Leaf, ordered intermediates and roots out of what cert-manager tells. The roots are those of `conf.caCert` where it is set, and then the chain
   * has to end in one of them; else `status.ca` where that is self-signed; else a self-signed certificate beside the leaf.
   * @throws IssuerResponseError
   */
  read(told: TellChain): ReadChain;
}

/** An issuer tells the same CA certificates with every leaf: read and verified once, of each further leaf only its own signature is. */
export function createChainReader(issuerRef: IssuerRef): ChainReader {
  const who = `the issuer ${issuerRef.kind}/${issuerRef.name}`;
  let last: { readonly text: string; readonly issuer: Certificate; readonly path: Path } | undefined;

  function pathOf(leaf: Certificate, others: readonly Certificate[], { caPem, pinned }: TellChain): Path {
    const text = [...others.map(({ der }) => der.toString('base64')), caPem].join('\n');
    if (last?.text === text && isIssuedBy(leaf, last.issuer)) return last.path;
    const path =
      pinned === undefined
        ? toToldRoot(who, leaf, others, parseAll(caPem, `${who} gave a CA certificate (status.ca)`))
        : toPinnedRoot(who, leaf, [...others, ...parseAllOrNone(caPem)], pinned);
    const issuer = path.chain[0] ?? path.roots[0];
    last = issuer === undefined ? undefined : { text, issuer, path };
    return path;
  }

  return {
    read(told) {
      const certificates = parseAll(told.certificatePem, `${who} gave a certificate`);
      const leaf = certificates.find((one) => one.spkiDer.equals(told.spkiDer));
      if (leaf === undefined) {
        throw new IssuerResponseError(
          certificates.length === 0 ? `${who} gave no certificate in PEM` : `${who} gave a certificate for another key`,
          {
            fix: 'look at the issuer and its controller: the certificate has to be made from the CSR of this CertificateRequest',
          },
        );
      }
      const others = certificates.filter((one) => one !== leaf);
      const { chain, roots } = pathOf(leaf, others, told);
      const ends = [...chain, ...roots.slice(0, 1)].map(({ notAfter }) => notAfter.getTime());
      return {
        issued: issuedCertificate(leaf, { chain, roots }),
        caNotAfter: new Date(Math.min(...ends)),
      };
    },
  };
}

function toPinnedRoot(
  who: string,
  leaf: Certificate,
  others: readonly Certificate[],
  pinned: readonly Certificate[],
): Path {
  const path = findPath(leaf, others, pinned);
  if (path !== undefined) return path;
  const { wanted } = findPathEnd(leaf, [...others, ...pinned]);
  throw new IssuerResponseError(
    `${who} gave a certificate that does not lead to a root of conf.caCert: the chain ends at ${JSON.stringify(wanted)}`,
    {
      fix: 'compare conf.caCert with the CA of the issuer; when its CA was replaced, give caCert both roots until every proxy has a new certificate',
    },
  );
}

function toToldRoot(who: string, leaf: Certificate, others: readonly Certificate[], cas: readonly Certificate[]): Path {
  const selfIssued = cas.filter((one) => one.isSelfIssued);
  const intermediates = [...others, ...cas].filter((one) => !one.isSelfIssued);
  // `status.ca` first; a self-signed certificate beside the leaf only where that leads nowhere.
  const all = [...others, ...cas];
  const path = findPath(leaf, [...intermediates, ...selfIssued]) ?? findPath(leaf, all);
  if (path !== undefined) return path;
  const { wanted, isNamed } = findPathEnd(leaf, all);
  throw new IssuerResponseError(
    isNamed
      ? `${who} tells a CA ${JSON.stringify(wanted)} that did not sign its certificate`
      : `${who} tells no root: nothing of status.certificate and status.ca is the self-signed ${JSON.stringify(wanted)}`,
    { fix: FALLBACK_FIX },
  );
}

function parseAll(pem: string, what: string): readonly Certificate[] {
  const fix = 'look at the issuer and its controller, and at the CertificateRequests that it fills';
  return readTold(what, fix, () => readCertificates(pem));
}

/** Where the root is pinned, `status.ca` is only a help. */
function parseAllOrNone(pem: string): readonly Certificate[] {
  try {
    return readCertificates(pem);
  } catch (error) {
    if (error instanceof X509Error) return [];
    throw error;
  }
}
