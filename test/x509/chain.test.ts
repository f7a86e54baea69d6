import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Certificate } from '../../src/x509/certificate.ts';
import { buildChain, verifyChain } from '../../src/x509/chain.ts';
import { context, TAG } from '../../src/x509/der-reader.ts';
import { der, boolean as derBoolean, explicit, octetString, oid, sequence } from '../../src/x509/der-writer.ts';
import { extension } from '../../src/x509/extensions.ts';
import { createName } from '../../src/x509/name.ts';
import { encodeOid, type OidName } from '../../src/x509/oids.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { openssl } from './openssl.ts';
import {
  buildCertificate,
  buildLeaf,
  NOON,
  type TestCertificate,
  type TestCertificateOptions,
} from './test-certificate.ts';
import { freshTestKey, testKey } from './test-keys.ts';

const fresh = () => freshTestKey('EC-P256');

function family(
  changes: {
    root?: Partial<TestCertificateOptions>;
    upper?: Partial<TestCertificateOptions>;
    lower?: Partial<TestCertificateOptions>;
    leaf?: Partial<TestCertificateOptions>;
  } = {},
) {
  const root = buildCertificate({ key: fresh(), commonName: 'root', ...changes.root });
  const upper = buildCertificate({ key: fresh(), commonName: 'upper', issuer: root, ...changes.upper });
  const lower = buildCertificate({ key: fresh(), commonName: 'lower', issuer: upper, ...changes.lower });
  const leaf = buildLeaf({ key: fresh(), commonName: 'leaf', issuer: lower, ...changes.leaf });
  return { root, upper, lower, leaf };
}

const extendedUsage = (...names: OidName[]): Buffer => extension('extKeyUsage', false, sequence(...names.map(oid)));
const names = (certificates: readonly Certificate[]) => certificates.map(({ commonName }) => commonName);

describe('building a chain', () => {
  const { root, upper, lower, leaf } = family();
  const pool = [root, upper, lower].map(({ certificate }) => certificate);

  it('puts any bag in order, with doubles, the leaf and strangers in it', () => {
    const stranger = buildCertificate({ key: fresh(), commonName: 'stranger' }).certificate;
    const impostor = buildCertificate({
      key: fresh(),
      commonName: 'lower',
      issuer: upper,
      withoutKeyIds: true,
    }).certificate;
    const bag = [...pool, ...pool, leaf.certificate, stranger, impostor];
    fc.assert(
      fc.property(fc.shuffledSubarray(bag, { minLength: bag.length }), (shuffled) => {
        const built = buildChain(leaf.certificate, shuffled);
        expect(names(built.chain)).toEqual(['lower', 'upper']);
        expect(built.roots).toEqual([root.certificate]);
        expect(built.complete).toBe(true);
        expect(verifyChain({ leaf: leaf.certificate, ...built, at: NOON })).toEqual({ ok: true });
      }),
      { numRuns: 30 },
    );
  });

  it('goes as far as it can where the root is missing', () => {
    const built = buildChain(leaf.certificate, [upper.certificate, lower.certificate]);
    expect(names(built.chain)).toEqual(['lower', 'upper']);
    expect(built).toMatchObject({ roots: [], complete: false });
  });

  it('is empty where nobody in the bag issued the leaf', () => {
    expect(buildChain(leaf.certificate, [root.certificate, upper.certificate])).toEqual({
      chain: [],
      roots: [],
      complete: false,
    });
  });

  it('of a leaf that a root issued is empty and complete', () => {
    const direct = buildLeaf({ key: fresh(), commonName: 'direct', issuer: root });
    expect(buildChain(direct.certificate, pool)).toEqual({ chain: [], roots: [root.certificate], complete: true });
  });

  it('finds both roots where a root was renewed with the same key', () => {
    const renewed = buildCertificate({ key: root.key, commonName: 'root', serial: 2 });
    const { roots } = buildChain(leaf.certificate, [...pool, renewed.certificate]);
    expect(roots.map(({ serialNumber }) => serialNumber)).toEqual(['01', '02']);
  });

  it('prefers a root over a cross certificate of the same CA, and takes the cross certificate where there is no other way', () => {
    const old = buildCertificate({ key: fresh(), commonName: 'old root' });
    const cross = buildCertificate({ key: root.key, commonName: 'root', issuer: old, serial: 3 });
    const bag = [cross.certificate, old.certificate, upper.certificate, lower.certificate];
    expect(names(buildChain(leaf.certificate, bag).chain)).toEqual(['lower', 'upper', 'root']);
    const shorter = buildChain(leaf.certificate, [...bag, root.certificate]);
    expect(names(shorter.chain)).toEqual(['lower', 'upper']);
    expect(shorter.roots).toEqual([root.certificate]);
  });

  it('ends in bounded time with two CAs that certified each other', () => {
    const first = buildCertificate({ key: fresh(), commonName: 'first' });
    const second = buildCertificate({ key: fresh(), commonName: 'second', issuer: first });
    const back = buildCertificate({ key: first.key, commonName: 'first', issuer: second });
    const end = buildLeaf({ key: fresh(), commonName: 'leaf', issuer: second });
    const built = buildChain(end.certificate, [second.certificate, back.certificate]);
    expect(names(built.chain)).toEqual(['second', 'first']);
    expect(built.complete).toBe(false);
  });

  it('works without key identifiers, and through a version 1 root', () => {
    const oldRoot = buildCertificate({ key: fresh(), commonName: 'v1', version1: true });
    const end = buildLeaf({ key: fresh(), commonName: 'leaf', issuer: oldRoot, withoutKeyIds: true });
    expect(buildChain(end.certificate, [oldRoot.certificate]).complete).toBe(true);
  });
});

describe('verifying a chain', () => {
  function judge({ root, upper, lower, leaf }: ReturnType<typeof family>, at = NOON) {
    const chain = [lower.certificate, upper.certificate];
    return verifyChain({ leaf: leaf.certificate, chain, roots: [root.certificate], at });
  }

  /** What openssl says about the same path at the same time. */
  function opensslAccepts({ root, upper, lower, leaf }: ReturnType<typeof family>, at = NOON): boolean {
    const pem = (...list: TestCertificate[]) =>
      list.map(({ certificate }) => encodePem('CERTIFICATE', certificate.der)).join('');
    const time = String(Math.floor(at.getTime() / 1000));
    try {
      openssl(
        [
          'verify',
          '-purpose',
          'sslserver',
          '-attime',
          time,
          '-CAfile',
          'root.pem',
          '-untrusted',
          'chain.pem',
          'leaf.pem',
        ],
        { 'root.pem': pem(root), 'chain.pem': pem(lower, upper), 'leaf.pem': pem(leaf) },
      );
      return true;
    } catch {
      return false;
    }
  }

  const constraints = (permitted: readonly Buffer[], excluded: readonly Buffer[] = []): Buffer =>
    extension(
      'nameConstraints',
      true,
      sequence(
        ...(permitted.length === 0 ? [] : [explicit(0, ...permitted.map((base) => sequence(base)))]),
        ...(excluded.length === 0 ? [] : [explicit(1, ...excluded.map((base) => sequence(base)))]),
      ),
    );
  const dnsTree = (text: string): Buffer => der(context(2), Buffer.from(text));
  const uriTree = (text: string): Buffer => der(context(6), Buffer.from(text));
  const uriSans = ['spiffe://web.example.org/x'];
  const dnsSan = extension('subjectAltName', false, sequence(dnsTree('web.example.org')));

  const unknownCritical = sequence(
    der(TAG.oid, encodeOid('1.3.6.1.4.1.99999.7')),
    derBoolean(true),
    octetString(Buffer.of(5, 0)),
  );
  const other = buildCertificate({ key: testKey('EC-P256'), commonName: 'upper' });

  it.each<[string, Parameters<typeof family>[0], Date?]>([
    ['as it should be', {}],
    ["with a path length of 1 at the root's child", { upper: { constraints: { ca: true, pathLength: 1 } } }],
    ['with a path length of 0 at the lowest CA', { lower: { constraints: { ca: true, pathLength: 0 } } }],
    ['with CAs that have no key usage', { upper: { usages: null }, lower: { usages: null } }],
    ['without key identifiers', { lower: { withoutKeyIds: true }, leaf: { withoutKeyIds: true } }],
    [
      'with extended key usages that a proxy needs',
      { lower: { moreExtensions: [extendedUsage('serverAuth', 'clientAuth')] } },
    ],
    [
      'with a URI of a permitted host',
      { root: { moreExtensions: [constraints([uriTree('web.example.org')])] }, leaf: { uriSans } },
    ],
    [
      'with a URI below a permitted domain',
      { root: { moreExtensions: [constraints([uriTree('.example.org')])] }, leaf: { uriSans } },
    ],
    [
      'with a URI outside of the excluded',
      { upper: { moreExtensions: [constraints([], [uriTree('example.org')])] }, leaf: { uriSans } },
    ],
    [
      'with URIs under constraints on DNS names only',
      { upper: { moreExtensions: [constraints([dnsTree('other.org')])] }, leaf: { uriSans } },
    ],
    [
      'with a DNS name in a permitted domain',
      { upper: { moreExtensions: [constraints([dnsTree('example.org')])] }, leaf: { moreExtensions: [dnsSan] } },
    ],
    ['a second before its end', { leaf: { notAfter: new Date(NOON.getTime() + 1000) } }],
  ])('accepts one %s, as openssl does', (_, changes, at = NOON) => {
    const path = family(changes);
    expect(judge(path, at)).toEqual({ ok: true });
    expect(opensslAccepts(path, at)).toBe(true);
  });

  it.each<[string, Parameters<typeof family>[0], RegExp, Date?]>([
    ['a leaf that ended', { leaf: { notAfter: new Date('2026-02-01T00:00:00Z') } }, /"CN=leaf" ended at 2026-02-01/],
    ['a leaf that has not begun', {}, /not valid before 2026-01-01/, new Date('2025-12-31T23:59:59Z')],
    ['an intermediate that ended', { upper: { notAfter: new Date('2026-02-01T00:00:00Z') } }, /"CN=upper" ended/],
    ['a root that ended', { root: { notAfter: new Date('2026-02-01T00:00:00Z') } }, /"CN=root" ended/],
    ['an intermediate that is no CA', { lower: { constraints: { ca: false } } }, /"CN=lower" is not a CA/],
    ['an intermediate without basic constraints', { lower: { constraints: null } }, /"CN=lower" is not a CA/],
    ['an intermediate that may not sign', { upper: { usages: ['cRLSign'] } }, /"CN=upper" may not sign/],
    [
      'a path length of 0 above another CA',
      { upper: { constraints: { ca: true, pathLength: 0 } } },
      /"CN=upper" allows 0 intermediates below it, there are 1/,
    ],
    [
      'a path length of 1 at the root',
      { root: { constraints: { ca: true, pathLength: 0 } } },
      /"CN=root" allows 0 intermediates below it, there are 2/,
    ],
    [
      'a CA for other usages only',
      { lower: { moreExtensions: [extendedUsage('codeSigning')] } },
      /"CN=lower" does not allow the extended key usage serverAuth and clientAuth/,
    ],
    [
      'an unknown critical extension',
      { upper: { moreExtensions: [unknownCritical] } },
      /critical extension 1\.3\.6\.1\.4\.1\.99999\.7/,
    ],
    [
      'a critical extension in the leaf',
      { leaf: { moreExtensions: [unknownCritical] } },
      /"CN=leaf" has the critical extension/,
    ],
    [
      'a URI outside of the permitted',
      { root: { moreExtensions: [constraints([uriTree('example.org')])] }, leaf: { uriSans } },
      /name constraints of the certificate "CN=root" do not allow the URI spiffe:\/\/web\.example\.org\/x/,
    ],
    [
      'an excluded URI',
      { lower: { moreExtensions: [constraints([], [uriTree('.example.org')])] }, leaf: { uriSans } },
      /"CN=lower" do not allow the URI/,
    ],
    [
      'a DNS name outside of the permitted',
      { lower: { moreExtensions: [constraints([dnsTree('b.example.org')])] }, leaf: { moreExtensions: [dnsSan] } },
      /do not allow the DNS name web\.example\.org/,
    ],
    [
      'an excluded DNS name',
      { upper: { moreExtensions: [constraints([], [dnsTree('example.org')])] }, leaf: { moreExtensions: [dnsSan] } },
      /do not allow the DNS name/,
    ],
    [
      'a subject under constraints on distinguished names',
      { upper: { moreExtensions: [constraints([explicit(4, createName([['commonName', 'somebody']]))])] } },
      /"CN=upper" do not allow the subject "CN=leaf"/,
    ],
    ['an issuer of the same name with another key', { lower: { issuer: other } }, /another issuing key/],
    [
      'the same without key identifiers',
      { lower: { issuer: other, withoutKeyIds: true } },
      /the signature of the certificate "CN=lower" was not made by/,
    ],
  ])('refuses %s, as openssl does', (_, changes, reason, at = NOON) => {
    const path = family(changes);
    expect(judge(path, at)).toEqual({ ok: false, reason: expect.stringMatching(reason) });
    expect(opensslAccepts(path, at)).toBe(false);
  });

  const path = family();
  const [root, upper, lower, leaf] = [path.root, path.upper, path.lower, path.leaf].map(
    ({ certificate }) => certificate,
  ) as [Certificate, Certificate, Certificate, Certificate];
  const strange = buildCertificate({ key: fresh(), commonName: 'strange' }).certificate;

  it.each<[string, Parameters<typeof verifyChain>[0], RegExp]>([
    [
      'a missing intermediate',
      { leaf, chain: [upper], roots: [root], at: NOON },
      /"CN=leaf" was issued by "CN=lower", not by the certificate "CN=upper"/,
    ],
    ['the wrong order', { leaf, chain: [upper, lower], roots: [root], at: NOON }, /was issued by/],
    ['no root', { leaf, chain: [lower, upper], roots: [], at: NOON }, /no root/],
    [
      'foreign roots',
      { leaf, chain: [lower, upper], roots: [strange], at: NOON },
      /"CN=upper" was issued by "CN=root"/,
    ],
    [
      'too many intermediates',
      { leaf, chain: Array.from({ length: 9 }, () => lower), roots: [root], at: NOON },
      /more than 8/,
    ],
    [
      'a leaf that is a root of its own',
      { leaf: strange, chain: [], roots: [root], at: NOON },
      /was issued by "CN=strange"/,
    ],
  ])('refuses %s', (_, input, reason) => {
    expect(verifyChain(input)).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });

  it('accepts a leaf in its very last second (RFC 5280, 4.1.2.5; openssl already refuses it)', () => {
    const last = family({ leaf: { notAfter: NOON } });
    expect(judge(last)).toEqual({ ok: true });
    expect(judge(last, new Date(NOON.getTime() + 1))).toMatchObject({ ok: false });
  });

  it('at any time asks neither for times nor for what the leaf says of itself, but for everything else', () => {
    const ended = { notAfter: new Date('2026-01-02T00:00:00Z') };
    const judgeAnyTime = ({ root, upper, lower, leaf }: ReturnType<typeof family>) =>
      verifyChain({
        leaf: leaf.certificate,
        chain: [lower.certificate, upper.certificate],
        roots: [root.certificate],
        at: 'any time',
      });
    expect(judgeAnyTime(family({ root: ended, upper: ended, lower: ended, leaf: ended }))).toEqual({ ok: true });
    expect(judgeAnyTime(family({ leaf: { moreExtensions: [unknownCritical] } }))).toEqual({ ok: true });
    expect(judgeAnyTime(family({ lower: { moreExtensions: [unknownCritical] } })).ok).toBe(false);
    expect(judgeAnyTime(family({ lower: { constraints: { ca: false } } })).ok).toBe(false);
    expect(judgeAnyTime({ ...family(), root: family().root }).ok).toBe(false);
  });

  it('takes any of several roots, and a chain that ends with the root', () => {
    expect(verifyChain({ leaf, chain: [lower, upper, root], roots: [strange, root], at: NOON })).toEqual({ ok: true });
  });

  it('accepts a leaf under a self-issued CA that a path length does not count', () => {
    const old = buildCertificate({ key: fresh(), commonName: 'root', constraints: { ca: true, pathLength: 0 } });
    const rolled = buildCertificate({ key: fresh(), commonName: 'root', issuer: old, serial: 2 });
    const end = buildLeaf({ key: fresh(), commonName: 'leaf', issuer: rolled });
    expect(
      verifyChain({ leaf: end.certificate, chain: [rolled.certificate], roots: [old.certificate], at: NOON }),
    ).toEqual({ ok: true });
  });
});
