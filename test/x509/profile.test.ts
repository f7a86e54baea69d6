import { describe, expect, it } from 'vitest';
import type { Certificate } from '../../src/x509/certificate.ts';
import { TAG } from '../../src/x509/der-reader.ts';
import { boolean, der, octetString, oid, sequence } from '../../src/x509/der-writer.ts';
import { extension } from '../../src/x509/extensions.ts';
import { encodeOid, type OidName } from '../../src/x509/oids.ts';
import { checkLeaf, type ExpectedLeaf, type LeafRuleGroup } from '../../src/x509/profile.ts';
import { buildLeaf, NOON, type TestCertificateOptions } from './test-certificate.ts';
import { testKey } from './test-keys.ts';

const WEB = 'spiffe://default/web';
const TAG_URI = 'kuma://kuma.io/service/web';

function findings(
  changes: Partial<TestCertificateOptions>,
  wanted: Partial<ExpectedLeaf> = {},
  group?: LeafRuleGroup,
): string[] {
  const { certificate } = buildLeaf({ key: testKey('EC-P256'), commonName: '', uriSans: [WEB, TAG_URI], ...changes });
  const expected: ExpectedLeaf = {
    spkiDer: testKey('EC-P256').spkiDer,
    uriSans: [WEB, TAG_URI],
    dnsNames: [],
    commonName: '',
    profile: 'kuma',
    at: NOON,
    ...wanted,
  };
  return checkLeaf(certificate, expected, group);
}

const usages = (...names: OidName[]): Buffer[] => [extension('extKeyUsage', false, sequence(...names.map(oid)))];

describe('a leaf from a backend', () => {
  it.each<[string, Partial<TestCertificateOptions>, Partial<ExpectedLeaf>?]>([
    ['it is as asked', {}],
    ['its names come in another order', { uriSans: [TAG_URI, WEB] }],
    ['it has no key usage at all, as with the documented Vault role', { usages: null }],
    ['it has the key usages of Kuma', { usages: ['digitalSignature', 'keyEncipherment', 'keyAgreement'] }],
    ['it has both extended key usages', { moreExtensions: usages('clientAuth', 'serverAuth') }],
    ['it allows any extended key usage', { moreExtensions: usages('anyExtendedKeyUsage') }],
    ['it has no basic constraints', { constraints: null }],
    ['its common name is as asked', { commonName: 'web.default' }, { commonName: 'web.default' }],
    ['it is a SPIFFE identity with one URI', { uriSans: [WEB] }, { uriSans: [WEB], profile: 'spiffe' }],
  ])('is good when %s', (_, changes, wanted) => {
    expect(findings(changes, wanted)).toEqual([]);
  });

  it.each<[string, Partial<TestCertificateOptions>, string, Partial<ExpectedLeaf>?]>([
    ['another key', { key: testKey('EC-P384') }, 'it is for another key'],
    ['a missing name', { uriSans: [WEB] }, `it lacks the URI names ${TAG_URI}`],
    [
      'one name more',
      { uriSans: [WEB, TAG_URI, 'spiffe://default/admin'] },
      'it has URI names that nobody asked for: spiffe://default/admin',
    ],
    ['a name twice', { uriSans: [WEB, WEB, TAG_URI] }, 'it has a URI name twice'],
    ['a missing DNS name', {}, 'it lacks the DNS names web.mesh', { dnsNames: ['web.mesh'] }],
    [
      'an address',
      {
        uriSans: [],
        moreExtensions: [extension('subjectAltName', false, sequence(der(0x87, Buffer.of(10, 0, 0, 1))))],
      },
      'it has 1 names that are neither URI nor DNS',
      { uriSans: [] },
    ],
    ['a common name', { commonName: 'web' }, 'its common name is "web", not empty'],
    ['no common name', {}, 'its common name is empty, not "web"', { commonName: 'web' }],
    ['two URIs in a SPIFFE identity', {}, 'it has 2 URI names, an X509-SVID has exactly one', { profile: 'spiffe' }],
    ['CA:TRUE', { constraints: { ca: true } }, 'it is a CA certificate (CA:TRUE)'],
    [
      'keyCertSign',
      { usages: ['digitalSignature', 'keyCertSign'] },
      'it has the key usage keyCertSign, which only a CA may have',
    ],
    ['cRLSign', { usages: ['digitalSignature', 'cRLSign'] }, 'it has the key usage cRLSign, which only a CA may have'],
    ['no digitalSignature', { usages: ['keyEncipherment'] }, 'its key usage lacks digitalSignature'],
    ['serverAuth only', { moreExtensions: usages('serverAuth') }, 'its extended key usage lacks clientAuth'],
    [
      'an unknown critical extension',
      { moreExtensions: [sequence(der(TAG.oid, encodeOid('1.2.3.4')), boolean(true), octetString(Buffer.of(5, 0)))] },
      'it has the critical extension 1.2.3.4, which proxies do not know',
    ],
    ['an end in the past', { notAfter: new Date('2026-05-01T00:00:00Z') }, 'it ended at 2026-05-01T00:00:00.000Z'],
    [
      'a beginning in the future',
      { notBefore: new Date('2026-07-01T00:00:00Z') },
      'it is not valid before 2026-07-01T00:00:00.000Z',
    ],
  ])('is refused for %s', (_, changes, finding, wanted) => {
    expect(findings(changes, wanted)).toEqual([finding]);
  });

  it.each<[string, Partial<Certificate>, RegExp]>([
    [
      'a common name that a terminal would obey',
      { commonName: 'a\u001b[2K\r\nb\u202ec' },
      /^its common name is "a \[2K b c", not empty$/,
    ],
    ['a common name without end', { commonName: 'x'.repeat(5000) }, /^its common name is "x{256}…", not empty$/],
    [
      'a hundred names that nobody asked for',
      {
        uriSans: [WEB, TAG_URI, ...Array.from({ length: 100 }, (_, index) => `spiffe://x/${index}${'y'.repeat(1000)}`)],
      },
      /^it has URI names that nobody asked for: spiffe:\/\/x\/0y.{200,3000} and 90 more$/,
    ],
  ])('is told in few plain words to have %s', (_, changes, finding) => {
    const { certificate } = buildLeaf({ key: testKey('EC-P256'), commonName: '', uriSans: [WEB, TAG_URI] });
    const expected = { uriSans: [WEB, TAG_URI], dnsNames: [], commonName: '', profile: 'kuma', at: NOON } as const;
    const found = checkLeaf({ ...certificate, ...changes }, { ...expected, spkiDer: certificate.spkiDer });
    expect(found).toEqual([expect.stringMatching(finding)]);
  });

  it.each<[LeafRuleGroup, readonly string[]]>([
    ['key', ['it is for another key']],
    ['names', [`it lacks the URI names ${WEB}, ${TAG_URI}`, 'it has URI names that nobody asked for: spiffe://x/y']],
    ['common-name', ['its common name is "x", not empty']],
    [
      'usages',
      [
        'it is a CA certificate (CA:TRUE)',
        'it has the key usage keyCertSign, which only a CA may have',
        'its key usage lacks digitalSignature',
      ],
    ],
    ['time', ['it ended at 2026-05-01T00:00:00.000Z']],
  ])('can be asked about its %s alone', (group, expected) => {
    const bad = {
      key: testKey('EC-P384'),
      commonName: 'x',
      constraints: { ca: true },
      usages: ['keyCertSign'],
      uriSans: ['spiffe://x/y'],
      notAfter: new Date('2026-05-01T00:00:00Z'),
    } as const;
    expect(findings(bad, {}, group)).toEqual(expected);
    expect(findings(bad)).toEqual(expect.arrayContaining([...expected]));
    expect(findings(bad)).toHaveLength(8);
  });

  it('is told all that is wrong with it at once', () => {
    const all = findings({
      key: testKey('EC-P384'),
      constraints: { ca: true },
      usages: ['keyCertSign'],
      uriSans: ['spiffe://x/y'],
    });
    expect(all).toHaveLength(6);
  });
});
