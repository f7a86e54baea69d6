import { IssuerResponseError } from '../../src/issuer/errors.ts';
import type { IssuedCertificate } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { buildChain } from '../../src/x509/chain.ts';
import { isRoot } from './ca-certificates.ts';

/** The way from a leaf to what proxies trust: certificates between, the leaf's issuer first, and roots. */
export interface Path {
  readonly chain: readonly Certificate[];
  readonly roots: readonly Certificate[];
}

export function issuedCertificate(leaf: Certificate, { chain, roots }: Path): IssuedCertificate {
  return {
    leaf: leaf.der,
    chain: chain.map(({ der }) => der),
    roots: roots.map(({ der }) => der),
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
  };
}

/** @param ca who gave it: `vault at https://...` */
export function wrongKey(ca: string): IssuerResponseError {
  return new IssuerResponseError(`${ca} gave a certificate for another key`, {
    fix: 'check what stands between mesh-ca and this CA: an answer must never be cached or mixed up',
  });
}

/**
 * The path to a root among `known`, or to one of `pinned` where there are such: then other roots are no roots, and the way that is found is one to
 * ours, however the CAs are cross-signed. Undefined where there is none.
 */
export function findPath(
  leaf: Certificate,
  known: readonly Certificate[],
  pinned: readonly Certificate[] = [],
): Path | undefined {
  const isTrusted = (one: Certificate) => pinned.length === 0 || pinned.some(({ der }) => der.equals(one.der));
  const between = known.filter((one) => isTrusted(one) || !isRoot(one));
  const { chain, roots, complete } = buildChain(leaf, [...between, ...pinned]);
  return complete ? { chain, roots } : undefined;
}

/** Where a path that leads to no root ends. */
export interface PathEnd {
  /** Subject of the CA that would come next. */
  readonly wanted: string;
  /** There are certificates of that name, but the signature is of none of them. */
  readonly isNamed: boolean;
}

export function findPathEnd(leaf: Certificate, known: readonly Certificate[]): PathEnd {
  const last = buildChain(leaf, known).chain.at(-1) ?? leaf;
  return { wanted: last.issuer, isNamed: known.some(({ subjectDer }) => subjectDer.equals(last.issuerDer)) };
}
