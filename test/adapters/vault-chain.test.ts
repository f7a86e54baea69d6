import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { createChainReader, parseCertificates, parseLeaf } from '../../adapters/vault/chain.ts';
import { IssuerResponseError } from '../../src/issuer/errors.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { live } from '../conformance/issuer.ts';
import { makeCa, type TestCa } from '../conformance/make-ca.ts';

/** What a mount may tell of one certificate: its way to the root, a way over another root, and what does not belong there. */
interface Bag {
  readonly leaf: string;
  readonly lower: string;
  readonly upper: string;
  readonly root: string;
  /** `root`, signed by `oldRoot`. */
  readonly crossSigned: string;
  readonly oldRoot: string;
  readonly stranger: string;
  /** Another CA with the name of `lower`. */
  readonly namesake: string;
}

let bag: Bag;
beforeAll(async () => {
  const root = await makeCa({ name: 'root' });
  const oldRoot = await makeCa({ name: 'old root' });
  const upper = await makeCa({ name: 'upper', issuer: root });
  const lower = await makeCa({ name: 'lower', issuer: upper });
  const leaf = await makeCa({ name: 'leaf', issuer: lower, ca: false });
  const pems = { root, oldRoot, upper, lower, leaf, stranger: await makeCa({ name: 'stranger' }) };
  const entries = Object.entries(pems).map(([name, { certPem }]) => [name, certPem]);
  const namesake = await makeCa({ name: 'lower', issuer: await makeCa({ name: 'upper' }) });
  const crossSigned = await crossSign(root, oldRoot);
  bag = { ...Object.fromEntries(entries), namesake: namesake.certPem, crossSigned };
});

async function crossSign(ca: TestCa, by: TestCa): Promise<string> {
  const original = new x509.X509Certificate(ca.certPem);
  const certificate = await x509.X509CertificateGenerator.create({
    ...{ serialNumber: '0c', subject: original.subject, issuer: `CN=${by.name}`, publicKey: ca.keys.publicKey },
    ...{ notBefore: original.notBefore, notAfter: original.notAfter, signingKey: by.keys.privateKey },
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(ca.keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(by.keys.publicKey),
    ],
  });
  return certificate.toString('pem');
}

const PARTS = ['leaf', 'lower', 'upper', 'root', 'crossSigned', 'oldRoot', 'stranger', 'namesake'] as const;
type Part = (typeof PARTS)[number];
const parts = fc.array(fc.constantFrom(...PARTS), { maxLength: 12 });

/** A reader of a mount that tells `mount`, asked for the chain of the leaf that came with `told`. */
function read(told: readonly string[], mount: readonly Part[]) {
  let cas: readonly Certificate[] | undefined;
  const get = async () => {
    cas = parseCertificates('pki', mount.map((part) => bag[part]).join('\n'));
    return cas;
  };
  const reader = createChainReader('pki', { get, peek: () => cas, forget: () => {} });
  return reader.read(parseLeaf('pki', bag.leaf), told, live().signal);
}

const toPem = (part: Part) => bag[part];

describe('the chain of a leaf, whatever vault tells in whatever order', () => {
  it('is complete whenever all of it is told somewhere, else refused in words; it never holds what does not belong', async () => {
    await fc.assert(
      fc.asyncProperty(parts, parts, fc.boolean(), async (told, mount, inOneText) => {
        const texts = told.map(toPem);
        const all = new Set([...told, ...mount]);
        const ends = all.has('root') || (all.has('crossSigned') && all.has('oldRoot'));
        const isKnown = all.has('lower') && all.has('upper') && ends;
        const result = read(inOneText ? [texts.join('\n')] : texts, mount);
        if (!isKnown) {
          await expect(result).rejects.toBeInstanceOf(IssuerResponseError);
          return;
        }
        const { chain, roots } = await result;
        const path = [parseLeaf('pki', bag.leaf).der, ...chain.map(({ der }) => der)].map(
          (der) => new X509Certificate(der),
        );
        for (const [i, below] of path.entries()) {
          const above = path[i + 1];
          if (above !== undefined) expect(below.verify(above.publicKey) && below.checkIssued(above)).toBe(true);
        }
        expect(roots.length).toBeGreaterThan(0);
        for (const root of roots.map(({ der }) => new X509Certificate(der))) {
          expect(root.verify(root.publicKey)).toBe(true);
          expect(path.at(-1)?.verify(root.publicKey)).toBe(true);
        }
        const expected = all.has('root') ? ['lower', 'upper'] : ['lower', 'upper', 'crossSigned'];
        // A mount is only asked where the answer alone is not enough: the way over the old root may be complete by itself.
        const byItself = ['lower', 'upper', 'crossSigned', 'oldRoot'].every((part) => told.some((one) => one === part));
        const names = told.includes('root') || !byItself ? expected : ['lower', 'upper', 'crossSigned'];
        expect(chain.map(({ der }) => der.toString('base64'))).toEqual(
          names.map((part) => new X509Certificate(bag[part as Part]).raw.toString('base64')),
        );
      }),
      { numRuns: 200 },
    );
  });

  it('follows a CA that changes between two certificates, and back', async () => {
    const next = await makeCa({ name: 'root' });
    const nextLeaf = await makeCa({ name: 'leaf', issuer: next, ca: false });
    const none = { get: async () => [], peek: () => undefined, forget: () => {} };
    const reader = createChainReader('pki', none);
    const old = [bag.lower, bag.upper, bag.root];
    const rootsOf = async (leaf: string, told: readonly string[]) =>
      (await reader.read(parseLeaf('pki', leaf), told, live().signal)).roots.map(({ der }) => der.toString('base64'));
    const raw = (pem: string) => new X509Certificate(pem).raw.toString('base64');
    expect(await rootsOf(bag.leaf, old)).toEqual([raw(bag.root)]);
    expect(await rootsOf(nextLeaf.certPem, [next.certPem])).toEqual([raw(next.certPem)]);
    expect(await rootsOf(bag.leaf, old)).toEqual([raw(bag.root)]);
    await expect(rootsOf(nextLeaf.certPem, old)).rejects.toThrow(/signature does not verify/);
    await expect(rootsOf(bag.leaf, [next.certPem])).rejects.toThrow(/no certificate of "CN=lower"/);
  });
});
