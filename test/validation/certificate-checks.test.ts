import { describe, expect, it } from 'vitest';
import {
  ConfigError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerUnavailableError,
  NotSupportedError,
} from '../../src/issuer/errors.ts';
import type { SignRequest } from '../../src/issuer/issuer.ts';
import { CERTIFICATE_CHECKS } from '../../src/validation/certificate-checks.ts';
import { type ProofCheck, proveBackend } from '../../src/validation/prove-backend.ts';
import { TAG } from '../../src/x509/der-reader.ts';
import { boolean, der, octetString, oid, sequence } from '../../src/x509/der-writer.ts';
import { extension } from '../../src/x509/extensions.ts';
import { encodeOid, type OidName } from '../../src/x509/oids.ts';
import { freshTestKey } from '../x509/test-keys.ts';
import { type Bends, buildCas, createBentBackend, proveDeps } from './proving-ground.ts';

const DAY_SECONDS = 24 * 3600;
/** CAs of somebody else. */
const plain = buildCas();
const mine = buildCas();
const live = () => ({ signal: new AbortController().signal });
const fromNow = (seconds: number) => new Date(Math.floor(Date.now() / 1000) * 1000 + seconds * 1000);

const usages = (...names: OidName[]) => [extension('extKeyUsage', false, sequence(...names.map(oid)))];
const foreign = (dotted: string, critical: boolean, value: Buffer) =>
  sequence(der(TAG.oid, encodeOid(dotted)), ...(critical ? [boolean(true)] : []), octetString(value));
/** nsCertType "SSL server" (Netscape): nobody but OpenSSL looks at it. */
const SERVER_ONLY = foreign('2.16.840.1.113730.1.1', false, Buffer.from('03020640', 'hex'));

/** Writes another algorithm of the same length over ecdsa-with-SHA256, everywhere. */
function asSha224(leaf: Buffer): Buffer {
  const [right, wrong] = [encodeOid('1.2.840.10045.4.3.2'), encodeOid('1.2.840.10045.4.3.1')];
  return Buffer.from(leaf.toString('hex').replaceAll(right.toString('hex'), wrong.toString('hex')), 'hex');
}

async function check(bends: Bends): Promise<{ by: Map<string, ProofCheck>; statuses: Record<string, string[]> }> {
  const { backend } = createBentBackend(bends);
  const { checks } = await proveBackend(backend, proveDeps(), live());
  const onCertificate = checks.filter(({ name }) => name.startsWith('certificate.'));
  const statuses: Record<string, string[]> = {};
  for (const { name, status } of onCertificate)
    statuses[status] = [...(statuses[status] ?? []), name.slice('certificate.'.length)];
  return { by: new Map(onCertificate.map((one) => [one.name, one])), statuses };
}

const ALL = CERTIFICATE_CHECKS.map(({ name }) => name.slice('certificate.'.length));

describe('the checks on the test certificate of a good backend', () => {
  const good: readonly [name: string, bends: Bends][] = [
    ['two intermediates', {}],
    ['none, as a root that issues itself', { leaf: () => ({ issuer: plain.root }), cas: plain, chain: () => [] }],
    ['an intermediate with a key of RSA', { cas: buildCas({ upper: { keyType: 'RSA-2048' } }) }],
    ['a root with an Ed25519 key', { cas: buildCas({ root: { keyType: 'Ed25519' } }) }],
    ['several roots to trust', { told: (cas) => [plain.root, cas.root] }],
    ['a root that it tells with a certificate only', { onCall: tellsLater(IssuancePendingError) }],
    ['a root that it never tells alone', { onCall: tellsLater(NotSupportedError) }],
    ['no root told', { told: () => [] }],
    ['a common name', { subject: ({ tags }) => ({ commonName: `${tags.get('team')?.[0]}.mesh`, dnsNames: [] }) }],
    ['certificates that live ten minutes', { ttlSeconds: 600 }],
    ['no key usage, as with the documented Vault role', { leaf: () => ({ usages: null }) }],
  ];
  it.each(good)('pass with %s', async (_, bends) => {
    expect((await check(bends)).statuses).toEqual({ passed: ALL });
  });

  it('say that a root joins the bundle where the backend tells it only then', async () => {
    const { by } = await check({ onCall: tellsLater(IssuancePendingError) });
    expect(by.get('certificate.root-trusted')?.message).toContain('joins the trust bundle');
  });

  it('ask with names of every kind, for a short life, and say so', async () => {
    const { backend, requests } = createBentBackend();
    const proof = await proveBackend(backend, proveDeps(), live());
    expect(requests).toHaveLength(1);
    expect(requests[0]).toMatchObject({
      ttlSeconds: 3600,
      identity: {
        dataplane: 'mesh-ca-test',
        uriSans: [
          'spiffe://default/mesh-ca-test',
          'kuma://kuma.io/protocol/tcp',
          'kuma://kuma.io/service/mesh-ca-test',
        ],
      },
    });
    expect(proof.checks.find(({ name }) => name === 'certificate.names')?.message).toContain(
      'kuma://kuma.io/protocol/tcp',
    );
  });
});

const uri = ({ identity: { uriSans } }: SignRequest) => uriSans;
const AFTER_TRUST = ['handshake'];
const AFTER_CHAIN = ['root-trusted', 'root-lifetime', 'handshake'];

function tellsLater(kind: typeof IssuancePendingError | typeof NotSupportedError): NonNullable<Bends['onCall']> {
  return (call) => {
    if (call === 'trustBundle') throw new kind('tells its root with a certificate');
  };
}

function fails(at: string, error: Error): Bends {
  return {
    onCall(call) {
      if (call === at) throw error;
    },
  };
}

describe('the checks on the test certificate of a bad backend', () => {
  type Fault = readonly [name: string, bends: Bends, failing: string, skipped: readonly string[], cause: RegExp];
  const rest = (name: string) => ALL.slice(ALL.indexOf(name) + 1);
  const faults: readonly Fault[] = [
    [
      'refuses to sign',
      fails('sign', new IssuerDeniedError('permission denied')),
      'issued',
      rest('issued'),
      /permission denied/,
    ],
    [
      'cannot say what it can do',
      fails('abilities', new IssuerUnavailableError('sealed')),
      'issued',
      rest('issued'),
      /sealed/,
    ],
    [
      'breaks in a way that nobody foresaw',
      fails('sign', new Error('token s.12345')),
      'issued',
      rest('issued'),
      /^an unexpected error$/,
    ],
    [
      'has a template that nobody fits',
      {
        subject: () => {
          throw new ConfigError('no such tag');
        },
      },
      'issued',
      rest('issued'),
      /no such tag/,
    ],
    [
      'answers nonsense',
      { bytes: () => Buffer.from('nonsense') },
      'readable',
      rest('readable').filter((name) => name !== 'not-kept'),
      /\(.+\)$/,
    ],
    [
      'answers with trailing bytes',
      { bytes: (leaf) => Buffer.concat([leaf, Buffer.of(0)]) },
      'readable',
      rest('readable').filter((name) => name !== 'not-kept'),
      /trailing/,
    ],
    [
      'signs another key',
      { leaf: () => ({ key: freshTestKey('EC-P256') }) },
      'key-matches',
      AFTER_TRUST,
      /it is for another key/,
    ],
    [
      'leaves names out',
      { leaf: (request) => ({ uriSans: uri(request).slice(0, 1) }) },
      'names',
      AFTER_TRUST,
      /it lacks the URI names kuma:/,
    ],
    [
      'adds a name',
      { leaf: (request) => ({ uriSans: [...uri(request), 'spiffe://default/admin'] }) },
      'names',
      AFTER_TRUST,
      /nobody asked for: spiffe:\/\/default\/admin/,
    ],
    [
      'gives a name twice',
      { leaf: (request) => ({ uriSans: [...uri(request), ...uri(request)] }) },
      'names',
      AFTER_TRUST,
      /twice/,
    ],
    [
      'sets a common name of its own',
      { leaf: () => ({ commonName: 'web' }) },
      'common-name',
      [],
      /its common name is "web", not empty/,
    ],
    [
      'drops the common name',
      { subject: () => ({ commonName: 'web', dnsNames: [] }), leaf: () => ({ commonName: '' }) },
      'common-name',
      [],
      /is empty, not "web"/,
    ],
    [
      'gives serverAuth only',
      { leaf: () => ({ moreExtensions: usages('serverAuth') }) },
      'usages',
      AFTER_TRUST,
      /lacks clientAuth/,
    ],
    [
      'gives clientAuth only',
      { leaf: () => ({ moreExtensions: usages('clientAuth') }) },
      'usages',
      AFTER_TRUST,
      /lacks serverAuth/,
    ],
    [
      'gives no digitalSignature',
      { leaf: () => ({ usages: ['keyEncipherment'] }) },
      'usages',
      AFTER_TRUST,
      /lacks digitalSignature/,
    ],
    ['makes it a CA', { leaf: () => ({ constraints: { ca: true } }) }, 'usages', AFTER_TRUST, /CA:TRUE/],
    [
      'adds a critical extension',
      { leaf: () => ({ moreExtensions: [foreign('1.2.3.4', true, Buffer.of(5, 0))] }) },
      'usages',
      AFTER_TRUST,
      /1\.2\.3\.4/,
    ],
    [
      'has a clock that is ahead',
      { leaf: () => ({ notBefore: fromNow(90) }) },
      'valid-now',
      ['lifetime', 'handshake'],
      /clock of the backend is at least 1 min (29|30|31) s ahead/,
    ],
    [
      'has a clock that is far behind',
      { leaf: () => ({ notBefore: fromNow(-9000), notAfter: fromNow(-5400) }) },
      'valid-now',
      ['lifetime', 'handshake'],
      /behind/,
    ],
    [
      'signs with SHA-224',
      { bytes: asSha224 },
      'signature',
      ['chain', ...AFTER_CHAIN],
      /is signed by ECDSA with SHA-224/,
    ],
    [
      'has a CA with RSA of 1024 bits',
      { cas: buildCas({ root: { keyType: 'RSA-1024' } }) },
      'signature',
      ['chain', ...AFTER_CHAIN],
      /the CA "CN=root" has an RSA key of 1024 bits/,
    ],
    [
      'leaves out an intermediate',
      { chain: (cas) => [cas.lower] },
      'chain',
      AFTER_CHAIN,
      /the certificate of "CN=root" is missing|the certificate of "CN=upper" is missing/,
    ],
    ['leaves out all of them', { chain: () => [] }, 'chain', AFTER_CHAIN, /is missing/],
    ['gives them in a wrong order', { chain: (cas) => [cas.upper, cas.lower] }, 'chain', AFTER_CHAIN, /not in order/],
    [
      'signs with a key that its CA has not',
      {
        cas: mine,
        leaf: () => ({
          issuer: { key: plain.lower.key, certificate: mine.lower.certificate },
          withoutKeyIds: true,
        }),
      },
      'chain',
      AFTER_CHAIN,
      /^the signature of the certificate with serial number 01 was not made by the certificate "CN=lower"$/,
    ],
    [
      'has a CA for servers only',
      { cas: buildCas({ upper: { moreExtensions: usages('serverAuth') } }) },
      'chain',
      AFTER_CHAIN,
      /does not allow the extended key usage clientAuth/,
    ],
    [
      'has a CA that may have none below it',
      { cas: buildCas({ root: { constraints: { ca: true, pathLength: 0 } } }) },
      'chain',
      AFTER_CHAIN,
      /allows 0 intermediates below it, there are 2/,
    ],
    [
      'tells another root',
      { told: () => [plain.root] },
      'root-trusted',
      AFTER_TRUST,
      /it tells|the backend tells 1 root/,
    ],
    [
      'does not tell its root now',
      fails('trustBundle', new IssuerUnavailableError('the mount is sealed')),
      'root-trusted',
      AFTER_TRUST,
      /the mount is sealed/,
    ],
    [
      'has a root that has ended',
      { cas: buildCas({ root: { notAfter: fromNow(-60) } }) },
      'root-lifetime',
      AFTER_TRUST,
      /an ended CA/,
    ],
    [
      'has an intermediate that has ended',
      { cas: buildCas({ lower: { notAfter: fromNow(-60) } }) },
      'root-lifetime',
      AFTER_TRUST,
      /an ended CA/,
    ],
    [
      'has an intermediate of tomorrow',
      { cas: buildCas({ upper: { notBefore: fromNow(DAY_SECONDS) } }) },
      'root-lifetime',
      AFTER_TRUST,
      /future/,
    ],
    [
      'marks it by an old extension as a server only',
      { leaf: () => ({ moreExtensions: [SERVER_ONLY] }) },
      'handshake',
      [],
      /the client's certificate is refused/,
    ],
  ];
  it.each(faults)(
    'that %s: exactly one fails, what depends on it is skipped',
    async (_, bends, failing, skipped, cause) => {
      const { by, statuses } = await check(bends);
      expect(statuses.failed).toEqual([failing]);
      expect(statuses.skipped ?? []).toEqual(skipped);
      expect(statuses.warning).toBeUndefined();
      expect(by.get(`certificate.${failing}`)).toMatchObject({
        cause: expect.stringMatching(cause),
        fix: expect.stringMatching(/\w{3}/),
      });
      for (const name of skipped) {
        expect(by.get(`certificate.${name}`)?.message).toBe(`not looked at: depends on certificate.${failing}`);
      }
    },
  );

  const warnings: readonly [name: string, bends: Bends, warning: string, message: RegExp, cause: RegExp][] = [
    [
      'leaves a request behind',
      { leftovers: async () => ['mesh-ca-1'] },
      'not-kept',
      /^an object stays behind at the backend: mesh-ca-1$/,
      /goes on trying/,
    ],
    [
      'does not say whether something stays',
      { leftovers: async () => Promise.reject(new IssuerUnavailableError('is down')) },
      'not-kept',
      /not taken away in time/,
      /is down/,
    ],
    [
      'has no right to tell its root',
      fails('trustBundle', new IssuerDeniedError('no right to read the CA')),
      'root-trusted',
      /does not tell which roots/,
      /no right to read the CA/,
    ],
    [
      'gives a shorter life',
      { leaf: () => ({ notAfter: fromNow(2700) }) },
      'lifetime',
      /cut: asked for 1 h, got (44 min 5[0-9] s|45 min)/,
      /limit/,
    ],
    [
      'gives less than half of it',
      { leaf: () => ({ notAfter: fromNow(600) }) },
      'lifetime',
      /less than half: asked for 1 h, got (9 min 5[0-9] s|10 min)/,
      /6 times as often/,
    ],
    [
      'takes no notice of the life',
      { leaf: () => ({ notAfter: fromNow(30 * DAY_SECONDS) }) },
      'lifetime',
      /longer than asked: asked for 1 h, got (29 d 23 h|30 d)/,
      /no notice/,
    ],
    [
      'has a root that ends before its certificates would',
      { cas: buildCas({ root: { notAfter: fromNow(9 * DAY_SECONDS) } }) },
      'root-lifetime',
      /"CN=root" ends at .*, in (8 d 23 h|9 d): sooner than a data plane certificate of 30 d/,
      /no connection of the mesh/,
    ],
    [
      'has an intermediate that does',
      { cas: buildCas({ lower: { notAfter: fromNow(5 * DAY_SECONDS) } }) },
      'root-lifetime',
      /"CN=lower" ends at/,
      /no connection/,
    ],
  ];
  it.each(warnings)(
    'that %s: a warning says what it means, and the handshake is made',
    async (_, bends, warning, message, cause) => {
      const { by, statuses } = await check(bends);
      expect(statuses).toEqual({ passed: ALL.filter((name) => name !== warning), warning: [warning] });
      expect(by.get(`certificate.${warning}`)).toMatchObject({
        message: expect.stringMatching(message),
        cause: expect.stringMatching(cause),
        fix: expect.stringMatching(/\w{3}/),
      });
    },
  );

  it('that is wrong in several ways: each is told', async () => {
    const { statuses } = await check({
      leaf: () => ({ uriSans: ['spiffe://other/web'], commonName: 'x', moreExtensions: usages('serverAuth') }),
      told: () => [plain.root],
    });
    expect(statuses.failed).toEqual(['names', 'common-name', 'usages', 'root-trusted']);
    expect(statuses.skipped).toEqual(['handshake']);
  });

  it('never tells what an unexpected error says', async () => {
    const { by } = await check(fails('sign', new Error('token s.12345')));
    expect(JSON.stringify([...by.values()])).not.toContain('s.12345');
  });
});
