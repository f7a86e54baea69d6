import {
  ACMPCAClient,
  DescribeCertificateAuthorityCommand,
  GetCertificateAuthorityCertificateCommand,
  GetCertificateCommand,
  IssueCertificateCommand,
  type IssueCertificateCommandInput,
  ListTagsCommand,
} from '@aws-sdk/client-acm-pca';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseCertificate, verifyCertificateSignature } from '../../src/x509/certificate.ts';
import { type CsrSubject, createCsr } from '../../src/x509/create-csr.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { testKeyPair } from '../conformance/issuer.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import { CA_STATES, type CaSpec, type FakeCa } from '../fakes/acmpca/certificate-authority.ts';
import type { PolicyDocument } from '../fakes/acmpca/iam-policy.ts';
import { type StrictAcmPca, type StrictAcmPcaOptions, startStrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import type { FakeUser } from '../fakes/acmpca/users.ts';

const NAMES: CsrSubject = { uriSans: ['spiffe://default/web'], dnsNames: [], commonName: '' };
const SHORT_LIVED: CaSpec = { usageMode: 'SHORT_LIVED_CERTIFICATE', notAfter: new Date('2036-01-01T00:00:00Z') };
const EVERYTHING: readonly PolicyDocument[] = [
  { Version: '2012-10-17', Statement: [{ Effect: 'Allow', Action: 'acm-pca:*', Resource: '*' }] },
];

async function start(options: StrictAcmPcaOptions = {}): Promise<StrictAcmPca> {
  const pca = await startStrictAcmPca(options);
  onTestFinished(() => pca.close());
  return pca;
}

/** The real SDK, without its own retries. */
function clientOf(pca: StrictAcmPca, user: FakeUser = pca.user, changes: object = {}): ACMPCAClient {
  const { accessKeyId, secretAccessKey, sessionToken } = user;
  const client = new ACMPCAClient({
    region: pca.region,
    endpoint: pca.endpoint,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) },
    maxAttempts: 1,
    ...changes,
  });
  onTestFinished(() => client.destroy());
  return client;
}

async function csrPem(names = NAMES, keyType: Parameters<typeof testKeyPair>[0] = 'EC-P256'): Promise<Buffer> {
  return Buffer.from(encodePem('CERTIFICATE REQUEST', createCsr(await testKeyPair(keyType), names)));
}

async function order(
  ca: FakeCa,
  changes: Partial<IssueCertificateCommandInput> = {},
): Promise<IssueCertificateCommandInput> {
  return {
    CertificateAuthorityArn: ca.arn,
    Csr: await csrPem(),
    SigningAlgorithm: ca.keyType === 'RSA-2048' ? 'SHA256WITHRSA' : 'SHA256WITHECDSA',
    TemplateArn: 'arn:aws:acm-pca:::template/EndEntityCertificate/V1',
    Validity: { Type: 'DAYS', Value: 1 },
    ...changes,
  };
}

interface Fetched {
  readonly arn: string;
  readonly leaf: ReturnType<typeof parseCertificate>;
  readonly chain: readonly Buffer[];
}

async function fetchIssued(client: ACMPCAClient, ca: FakeCa, arn: string | undefined): Promise<Fetched> {
  const answer = await client.send(new GetCertificateCommand({ CertificateAuthorityArn: ca.arn, CertificateArn: arn }));
  const [leaf] = decodePem(answer.Certificate ?? '');
  const chain = decodePem(answer.CertificateChain ?? '').map(({ der }) => der);
  return { arn: arn ?? '', leaf: parseCertificate(leaf?.der ?? Buffer.alloc(0)), chain };
}

async function issue(
  pca: StrictAcmPca,
  changes: Partial<IssueCertificateCommandInput> = {},
  ca: FakeCa = pca.ca,
): Promise<Fetched> {
  const client = clientOf(pca);
  const { CertificateArn } = await client.send(new IssueCertificateCommand(await order(ca, changes)));
  return fetchIssued(client, ca, CertificateArn);
}

/** Name and text of the exception, as the SDK tells them. */
async function refusal(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'no error',
    (error: unknown) => (error instanceof Error ? `${error.name}: ${error.message}` : String(error)),
  );
}
const issueRefusal = async (pca: StrictAcmPca, changes: Partial<IssueCertificateCommandInput>, ca = pca.ca) =>
  refusal(issue(pca, changes, ca));

describe('certificates', () => {
  const CAS: readonly (readonly [string, CaSpec, number])[] = [
    ['an EC P-256 root', {}, 1],
    ['an EC P-384 root', { keyType: 'EC-P384' }, 1],
    ['an RSA root', { keyType: 'RSA-2048' }, 1],
    ['a subordinate with an EC key below an RSA root', { type: 'subordinate' }, 2],
  ];
  it.each(CAS)('of %s verify, with the chain issuer first and root last', async (_name, spec, chainLength) => {
    const pca = await start({ ca: spec });
    const { leaf, chain } = await issue(pca);
    expect(chain).toHaveLength(chainLength);
    expect(chain[0]).toEqual(pca.ca.certificate);
    expect(chain.at(-1)).toEqual(pca.ca.root);
    const at = new Date();
    for (const purpose of ['sslserver', 'sslclient'] as const) {
      const roots = [pca.ca.root];
      expect(await opensslVerify({ leaf: leaf.der, chain: chain.slice(0, -1), roots, at, purpose })).toBe('OK');
    }
  });
});

describe('what a certificate says', () => {
  it('is the subject and the names of the CSR, the usages of the template, and that it is no CA', async () => {
    const pca = await start();
    const names = { uriSans: ['spiffe://default/web', 'kuma://version/v1'], dnsNames: ['web.mesh'], commonName: 'web' };
    const { leaf } = await issue(pca, { Csr: await csrPem(names) });
    expect([leaf.uriSans, leaf.dnsNames, leaf.subject]).toEqual([names.uriSans, names.dnsNames, 'CN=web']);
    expect([...(leaf.keyUsage ?? [])]).toEqual(['digitalSignature', 'keyEncipherment']);
    expect(leaf.basicConstraints).toEqual({ ca: false, pathLength: undefined });
    expect(leaf.spkiDer).toEqual((await testKeyPair('EC-P256')).spkiDer);
    expect(leaf.sanCritical).toBe(false);
    expect((await issue(pca)).leaf.sanCritical).toBe(true);
  });

  it.each([
    ['EndEntityCertificate/V1', ['serverAuth', 'clientAuth']],
    ['EndEntityCertificate_CSRPassthrough/V1', ['serverAuth', 'clientAuth']],
    ['EndEntityClientAuthCertificate/V1', ['clientAuth']],
    ['EndEntityServerAuthCertificate_APIPassthrough/V1', ['serverAuth']],
  ])('%s gives the extended key usage %j', async (template, usages) => {
    const pca = await start();
    pca.user.policies = EVERYTHING;
    const { leaf } = await issue(pca, { TemplateArn: `arn:aws:acm-pca:::template/${template}` });
    expect(leaf.extendedKeyUsage).toEqual(usages);
  });

  it.each(['APIPassthrough', 'APICSRPassthrough'])(
    'with an %s template: the names of the call where it has some, else those of the CSR',
    async (variety) => {
      const pca = await start();
      pca.user.policies = EVERYTHING;
      const TemplateArn = `arn:aws:acm-pca:::template/EndEntityCertificate_${variety}/V1`;
      const csr = await csrPem({ uriSans: ['spiffe://default/admin'], dnsNames: [], commonName: 'admin' });
      const issueWith = async (ApiPassthrough: IssueCertificateCommandInput['ApiPassthrough']) => {
        const { leaf } = await issue(pca, { Csr: csr, TemplateArn, ApiPassthrough });
        return [leaf.commonName, leaf.uriSans, leaf.dnsNames];
      };
      const SubjectAlternativeNames = [{ UniformResourceIdentifier: 'spiffe://default/web' }, { DnsName: 'web.mesh' }];
      expect(await issueWith({ Subject: { CommonName: 'web' }, Extensions: { SubjectAlternativeNames } })).toEqual([
        'web',
        ['spiffe://default/web'],
        ['web.mesh'],
      ]);
      expect(await issueWith({ Subject: { CommonName: 'web' } })).toEqual(['web', ['spiffe://default/admin'], []]);
      expect(await issueWith({ Extensions: { SubjectAlternativeNames } })).toEqual([
        'admin',
        ['spiffe://default/web'],
        ['web.mesh'],
      ]);
      expect(await issueWith(undefined)).toEqual(['admin', ['spiffe://default/admin'], []]);
    },
  );

  it('is signed as asked', async () => {
    const { leaf } = await issue(await start(), { SigningAlgorithm: 'SHA512WITHECDSA' });
    expect(leaf.signatureAlgorithmDer.toString('hex')).toContain('2a8648ce3d040304');
  });
});

describe('validity', () => {
  const NOW = new Date('2026-09-01T12:00:00.250Z');
  const ABSOLUTE = new Date('2026-09-01T14:30:00Z');
  const startAt = (ca: CaSpec = {}) => start({ clock: { now: () => NOW, monotonicMs: () => 0 }, ca });

  it.each([
    ['ABSOLUTE', ABSOLUTE.getTime() / 1000, '2026-09-01T14:30:00.000Z'],
    ['END_DATE', 260901143000, '2026-09-01T14:30:00.000Z'],
    ['END_DATE', 20260901143000, '2026-09-01T14:30:00.000Z'],
    ['DAYS', 1, '2026-09-02T12:00:00.000Z'],
    ['MONTHS', 1, '2026-10-01T12:00:00.000Z'],
    ['YEARS', 1, '2027-09-01T12:00:00.000Z'],
  ] as const)('%s %d ends exactly then, and begins an hour ago', async (Type, Value, end) => {
    const { leaf } = await issue(await startAt(), { Validity: { Type, Value } });
    expect(leaf.notAfter.toISOString()).toBe(end);
    expect(leaf.notBefore.toISOString()).toBe('2026-09-01T11:00:00.000Z');
  });

  it('begins when asked', async () => {
    const Value = NOW.setMilliseconds(250) / 1000 - 10.25;
    const { leaf } = await issue(await startAt(), { ValidityNotBefore: { Type: 'ABSOLUTE', Value } });
    expect(leaf.notBefore.toISOString()).toBe('2026-09-01T11:59:50.000Z');
  });

  const seconds = (iso: string) => new Date(iso).getTime() / 1000;
  const absolute = (iso: string) => ({ Validity: { Type: 'ABSOLUTE', Value: seconds(iso) } as const });
  const REFUSED: readonly (readonly [string, Partial<IssueCertificateCommandInput>, CaSpec, RegExp])[] = [
    ['of 0 days', { Validity: { Type: 'DAYS', Value: 0 } }, {}, /Value '0' at 'validity.value' failed to satisfy/],
    ['in the past', absolute('2026-09-01T11:59:59Z'), {}, /in the past/],
    ['a second longer than the CA', absolute('2026-09-02T00:00:01Z'), {}, /exceeds the certificate authority validity/],
    ['longer than 7 days for short-lived', absolute('2026-09-08T12:00:02Z'), SHORT_LIVED, /maximum of 7 days/],
    [
      'that ends before it begins',
      {
        ...absolute('2026-09-01T12:30:00Z'),
        ValidityNotBefore: { Type: 'ABSOLUTE', Value: seconds('2026-09-01T12:30:00Z') },
      },
      {},
      /must be earlier/,
    ],
    ['that begins in days', { ValidityNotBefore: { Type: 'DAYS', Value: 1 } }, {}, /'validityNotBefore.type'/],
  ];
  it.each(REFUSED)('%s is refused', async (_name, changes, ca, says) => {
    const pca = await startAt({ notAfter: new Date('2026-09-02T00:00:00Z'), ...ca });
    const Validity = { Type: 'ABSOLUTE', Value: seconds('2026-09-01T13:00:00Z') } as const;
    const text = await issueRefusal(pca, { Validity, ...changes });
    expect(text).toMatch(/^ValidationException: /);
    expect(text).toMatch(says);
    expect(pca.issuedCount).toBe(0);
  });

  it('up to the very end of the CA, and of 7 days, is granted', async () => {
    const pca = await startAt({ notAfter: new Date('2026-09-02T00:00:00Z') });
    expect((await issue(pca, absolute('2026-09-02T00:00:00Z'))).leaf.notAfter).toEqual(pca.ca.period.notAfter);
    const short = await pca.createCa(SHORT_LIVED);
    expect((await issue(pca, absolute('2026-09-08T12:00:00Z'), short)).leaf.notAfter.getTime()).toBeGreaterThan(0);
  });
});

describe('requests that are refused', () => {
  const OTHER_CA = 'certificate-authority/00000000-0000-4000-8000-000000000000';
  const arn = (text: string) => ({ CertificateAuthorityArn: text });
  const template = (name: string) => ({ TemplateArn: `arn:aws:acm-pca:::template/${name}` });
  const withNames = { ApiPassthrough: { Subject: { CommonName: 'web' } } };
  const uris = (count: number, length = 20) => ({
    ...template('EndEntityCertificate_APIPassthrough/V1'),
    ApiPassthrough: {
      Extensions: {
        SubjectAlternativeNames: Array.from({ length: count }, (_, i) => ({
          UniformResourceIdentifier: `kuma://tag/${i}/`.padEnd(length, 'x'),
        })),
      },
    },
  });

  const REFUSED: readonly (readonly [string, Partial<IssueCertificateCommandInput>, RegExp])[] = [
    ['a malformed ARN', arn('my-ca'), /^ValidationException: .*'certificateAuthorityArn'.*regular expression/],
    ['an ARN of another service', arn(`arn:aws:acm:eu-west-1:123456789012:${OTHER_CA}`), /^ValidationException: /],
    ['an ARN of another region', arn(`arn:aws:acm-pca:eu-west-2:123456789012:${OTHER_CA}`), /^InvalidArnException: /],
    ['an ARN of another thing', arn('arn:aws:acm-pca:eu-west-1:123456789012:thing/1'), /^InvalidArnException: /],
    ['an unknown template', template('Nothing/V1'), /^InvalidArnException: Invalid template ARN/],
    [
      'a template of another partition',
      { TemplateArn: 'arn:aws-cn:acm-pca:::template/EndEntityCertificate/V1' },
      /^InvalidArnException: Invalid template ARN/,
    ],
    [
      'a template that the fake has not',
      template('BlankEndEntityCertificate_APIPassthrough/V1'),
      /^NotSupportedByThis/,
    ],
    ['names with a template that takes none', withNames, /^InvalidArgsException: ApiPassthrough needs/],
    ['151 alternative names', uris(151), /^ValidationException: .*length less than or equal to 150/],
    ['a URI of 254 characters', uris(1, 254), /^ValidationException: .*length less than or equal to 253/],
    ['an RSA signature of an EC CA', { SigningAlgorithm: 'SHA256WITHRSA' }, /^InvalidArgsException: .*EC_prime256v1/],
    ['an unknown signature', { SigningAlgorithm: 'SHA256WITHDSA' as never }, /^ValidationException: .*enum value set/],
    ['a CSR that is none', { Csr: Buffer.from('garbage') }, /^MalformedCSRException: /],
    ['a token of 37 characters', { IdempotencyToken: 'x'.repeat(37) }, /^ValidationException: .*equal to 36/],
  ];
  it.each(REFUSED)('%s', async (_name, changes, says) => {
    const pca = await start();
    pca.user.policies = EVERYTHING;
    expect(await issueRefusal(pca, changes)).toMatch(says);
    expect(pca.issuedCount).toBe(0);
  });

  it('takes 150 names of 253 characters', async () => {
    const pca = await start();
    expect((await issue(pca, uris(150, 253))).leaf.uriSans).toHaveLength(150);
  });

  it('a CSR without any name, or with a signature that is not its own', async () => {
    const pca = await start();
    const bare = await csrPem({ uriSans: [], dnsNames: [], commonName: '' });
    expect(await issueRefusal(pca, { Csr: bare })).toMatch(/^MalformedCSRException: .*neither a subject nor/);
    const der = Buffer.from(createCsr(await testKeyPair('EC-P256'), NAMES));
    const at = der.indexOf('spiffe://default/web');
    der.write('spiffe://default/wex', at);
    const forged = Buffer.from(encodePem('CERTIFICATE REQUEST', der));
    expect(await issueRefusal(pca, { Csr: forged })).toMatch(/^MalformedCSRException: .*signature/);
  });

  it('a CA, and a certificate, that are not there', async () => {
    const pca = await start();
    pca.user.policies = EVERYTHING;
    const unknown = pca.ca.arn.replace(/[^/]+$/, '00000000-0000-4000-8000-000000000000');
    expect(await issueRefusal(pca, arn(unknown))).toMatch(/^ResourceNotFoundException: .*00000000-0000/);
    const client = clientOf(pca);
    const get = (CertificateArn: string) => refusal(fetchIssued(client, pca.ca, CertificateArn));
    expect(await get(`${pca.ca.arn}/certificate/5a01`)).toMatch(/^ResourceNotFoundException: /);
    expect(await get(`${unknown}/certificate/5a01`)).toMatch(/^InvalidArnException: /);
  });

  it('an operation that the fake has not', async () => {
    const pca = await start();
    const list = clientOf(pca).send(new ListTagsCommand({ CertificateAuthorityArn: pca.ca.arn }));
    expect(await refusal(list)).toMatch(/^UnknownOperationException/);
  });
});

describe('the state of the CA', () => {
  const HAS_CERTIFICATE = ['ACTIVE', 'DISABLED', 'EXPIRED'];

  it.each(CA_STATES)('%s: who may still be asked', async (state) => {
    const pca = await start();
    const client = clientOf(pca);
    const issued = await issue(pca);
    pca.ca.state = state;
    const authority = { CertificateAuthorityArn: pca.ca.arn };
    const read = HAS_CERTIFICATE.includes(state) ? /^no error$/ : /^InvalidStateException: .*not in the correct state/;
    const mayIssue = state === 'ACTIVE' ? /^no error$/ : /^InvalidStateException: .*not in a valid state for issuing/;
    expect(await issueRefusal(pca, {})).toMatch(mayIssue);
    expect(await refusal(fetchIssued(client, pca.ca, issued.arn))).toMatch(read);
    expect(await refusal(client.send(new GetCertificateAuthorityCertificateCommand(authority)))).toMatch(read);
    const { CertificateAuthority: told } = await client.send(new DescribeCertificateAuthorityCommand(authority));
    expect([told?.Status, told?.NotAfter !== undefined]).toEqual([state, HAS_CERTIFICATE.includes(state)]);
  });

  it('is told with key, kind, mode and certificates', async () => {
    const pca = await start({ ca: { type: 'subordinate', keyType: 'EC-P384', ...SHORT_LIVED, name: 'mesh' } });
    const authority = { CertificateAuthorityArn: pca.ca.arn };
    const { CertificateAuthority: told } = await clientOf(pca).send(new DescribeCertificateAuthorityCommand(authority));
    expect(told).toMatchObject({
      Arn: pca.ca.arn,
      Type: 'SUBORDINATE',
      UsageMode: 'SHORT_LIVED_CERTIFICATE',
      CertificateAuthorityConfiguration: { KeyAlgorithm: 'EC_secp384r1', Subject: { CommonName: 'mesh' } },
    });
    expect(told?.NotAfter?.getTime()).toBe(Math.floor(pca.ca.period.notAfter.getTime() / 1000) * 1000);
    const answer = await clientOf(pca).send(new GetCertificateAuthorityCertificateCommand(authority));
    expect(decodePem(answer.Certificate ?? '').map(({ der }) => der)).toEqual([pca.ca.certificate]);
    expect(decodePem(answer.CertificateChain ?? '').map(({ der }) => der)).toEqual([pca.ca.root]);
    const root = await pca.createCa();
    const alone = await clientOf(pca).send(
      new GetCertificateAuthorityCertificateCommand({ CertificateAuthorityArn: root.arn }),
    );
    expect([alone.Certificate?.includes('BEGIN'), alone.CertificateChain]).toEqual([true, undefined]);
  });

  it('ends by itself when the certificate ends', async () => {
    const pca = await start();
    await pca.ca.replace({ notAfter: new Date(Date.now() - 1000) });
    const authority = { CertificateAuthorityArn: pca.ca.arn };
    const { CertificateAuthority } = await clientOf(pca).send(new DescribeCertificateAuthorityCommand(authority));
    expect(CertificateAuthority?.Status).toBe('EXPIRED');
    expect(await issueRefusal(pca, {})).toMatch(/^InvalidStateException/);
    await pca.ca.replace();
    expect(await issueRefusal(pca, {})).toBe('no error');
  });
});

describe('issuing takes time', () => {
  it('answers that it is in progress until it is ready', async () => {
    let nowMs = 0;
    const pca = await start({ clock: { now: () => new Date(), monotonicMs: () => nowMs }, readyAfterMs: 300 });
    const client = clientOf(pca);
    const { CertificateArn } = await client.send(new IssueCertificateCommand(await order(pca.ca)));
    nowMs = 299;
    expect(await refusal(fetchIssued(client, pca.ca, CertificateArn))).toMatch(/^RequestInProgressException: /);
    nowMs = 300;
    expect((await fetchIssued(client, pca.ca, CertificateArn)).leaf.uriSans).toEqual(NAMES.uriSans);
    expect(pca.counts('GetCertificate')).toMatchObject({ calls: 2, accepted: 1, refused: 1 });
  });

  it('a time for each certificate, and one that fails in the end', async () => {
    let nowMs = 0;
    const clock = { now: () => new Date(), monotonicMs: () => nowMs };
    const pca = await start({ clock, readyAfterMs: (index) => index * 100 });
    expect(await issueRefusal(pca, {})).toBe('no error');
    expect(await issueRefusal(pca, {})).toMatch(/^RequestInProgressException/);
    pca.readyAfterMs = 10;
    pca.failIssuing = true;
    const client = clientOf(pca);
    const { CertificateArn } = await client.send(new IssueCertificateCommand(await order(pca.ca)));
    expect(await refusal(fetchIssued(client, pca.ca, CertificateArn))).toMatch(/^RequestInProgressException/);
    nowMs = 10;
    expect(await refusal(fetchIssued(client, pca.ca, CertificateArn))).toMatch(/^RequestFailedException/);
  });
});

describe('the idempotency token', () => {
  it('gives the same certificate for five minutes, and it is billed once', async () => {
    let nowMs = 0;
    const now = new Date();
    const pca = await start({ clock: { now: () => now, monotonicMs: () => nowMs } });
    const same = { IdempotencyToken: 'token-1', Csr: await csrPem() };
    const first = await issue(pca, same);
    nowMs = 299_000;
    expect((await issue(pca, same)).arn).toBe(first.arn);
    expect(pca.issuedCount).toBe(1);
    expect((await issue(pca, { IdempotencyToken: 'token-2' })).arn).not.toBe(first.arn);
    nowMs = 301_000;
    expect((await issue(pca, same)).arn).not.toBe(first.arn);
    expect(pca.issuedCount).toBe(3);
  });

  it('is bound to what was asked, and to the CA', async () => {
    const pca = await start();
    const IdempotencyToken = 'token-1';
    const first = await issue(pca, { IdempotencyToken });
    const other = { IdempotencyToken, Validity: { Type: 'DAYS', Value: 2 } as const };
    expect(await issueRefusal(pca, other)).toMatch(/^InvalidArgsException: .*token/);
    const { arn } = await issue(pca, { IdempotencyToken }, await pca.createCa());
    expect(arn).not.toBe(first.arn);
  });
});

describe('signatures', () => {
  it('a wrong secret, an unknown key, and another region or service are told apart', async () => {
    const pca = await start();
    const { user } = pca;
    const describeBy = (client: ACMPCAClient) =>
      refusal(client.send(new DescribeCertificateAuthorityCommand({ CertificateAuthorityArn: pca.ca.arn })));
    expect(await describeBy(clientOf(pca))).toBe('no error');
    expect(await describeBy(clientOf(pca, { ...user, secretAccessKey: 'wrong' }))).toMatch(
      /^InvalidSignatureException: The request signature we calculated does not match/,
    );
    expect(await describeBy(clientOf(pca, { ...user, accessKeyId: 'AKIANOBODY' }))).toMatch(
      /^UnrecognizedClientException: The security token included in the request is invalid/,
    );
    expect(await describeBy(clientOf(pca, user, { region: 'eu-west-2' }))).toMatch(
      /^InvalidSignatureException: .*region/,
    );
  });

  it('credentials are revoked and restored at once', async () => {
    const pca = await start();
    pca.user.isActive = false;
    expect(await issueRefusal(pca, {})).toMatch(/^UnrecognizedClientException/);
    pca.user.isActive = true;
    expect(await issueRefusal(pca, {})).toBe('no error');
  });

  it('temporary credentials need their session token, until they expire', async () => {
    const pca = await start();
    const session = pca.createUser({ policies: EVERYTHING, temporary: true });
    const authority = { CertificateAuthorityArn: pca.ca.arn };
    const describeAs = (user: FakeUser) =>
      refusal(clientOf(pca, user).send(new DescribeCertificateAuthorityCommand(authority)));
    expect(await describeAs(session)).toBe('no error');
    expect(await describeAs({ ...session, sessionToken: undefined })).toMatch(/^UnrecognizedClientException/);
    expect(await describeAs({ ...session, sessionToken: 'other' })).toMatch(/^UnrecognizedClientException/);
    session.isExpired = true;
    expect(await describeAs(session)).toMatch(/^ExpiredTokenException: .*is expired/);
  });

  it.each([
    ['ahead', 6 * 60_000, /^InvalidSignatureException: Signature expired: \d{8}T\d{6}Z is now earlier than .* - 5 min/],
    [
      'behind',
      -6 * 60_000,
      /^InvalidSignatureException: Signature not yet current: .* is still later than .* \+ 5 min/,
    ],
  ])('a server whose clock is %s refuses, and the SDK then signs by the time that it told', async (_name, ms, says) => {
    const pca = await start();
    const client = clientOf(pca);
    const ask = () =>
      refusal(client.send(new DescribeCertificateAuthorityCommand({ CertificateAuthorityArn: pca.ca.arn })));
    pca.clockOffsetMs = ms;
    expect(await ask()).toMatch(says);
    expect(await ask()).toBe('no error');
    pca.clockOffsetMs = 0;
  });

  const RAW: readonly (readonly [string, Readonly<Record<string, string>>, string])[] = [
    ['no signature at all', {}, 'MissingAuthenticationTokenException'],
    ['another scheme', { authorization: 'Bearer x' }, 'IncompleteSignatureException'],
    [
      'no date',
      { authorization: 'AWS4-HMAC-SHA256 Credential=A/b/c/d/aws4_request, SignedHeaders=host, Signature=00' },
      'IncompleteSignatureException',
    ],
    [
      'a signature for another service',
      {
        authorization:
          'AWS4-HMAC-SHA256 Credential=A/20260901/eu-west-1/sts/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=00',
        'x-amz-date': '20260901T120000Z',
      },
      'InvalidSignatureException',
    ],
    [
      'a header of AWS that is not under the signature',
      {
        authorization:
          'AWS4-HMAC-SHA256 Credential=A/20260901/eu-west-1/acm-pca/aws4_request, SignedHeaders=host;x-amz-date, Signature=00',
        'x-amz-date': '20260901T120000Z',
      },
      'InvalidSignatureException',
    ],
  ];
  it.each(RAW)('%s is refused', async (_name, headers, type) => {
    const pca = await start();
    const answer = await fetch(pca.endpoint, {
      method: 'POST',
      headers: {
        'x-amz-target': 'ACMPrivateCA.GetCertificate',
        'content-type': 'application/x-amz-json-1.1',
        ...headers,
      },
      body: '{}',
    });
    expect([answer.status, JSON.parse(await answer.text()).__type]).toEqual([400, type]);
  });

  it('a body that was changed on the way is refused', async () => {
    const pca = await start();
    const client = clientOf(pca);
    client.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { body: string };
        request.body = request.body.replace('"Value":1', '"Value":9');
        return next(args);
      },
      { step: 'finalizeRequest', priority: 'low' },
    );
    const sent = client.send(new IssueCertificateCommand(await order(pca.ca)));
    expect(await refusal(sent)).toMatch(/^InvalidSignatureException: The request signature we calculated/);
  });
});

describe('quotas', () => {
  it('let a second of calls through, then fill evenly, each operation by itself', async () => {
    let nowMs = 0;
    const pca = await start({ clock: { now: () => new Date(), monotonicMs: () => nowMs } });
    const client = clientOf(pca);
    const one = await order(pca.ca);
    const outcomes = async (count: number) => {
      const sent = Array.from({ length: count }, () => refusal(client.send(new IssueCertificateCommand(one))));
      return (await Promise.all(sent)).filter((text) => text === 'no error').length;
    };
    expect(await outcomes(30)).toBe(25);
    expect(await refusal(client.send(new IssueCertificateCommand(one)))).toBe('ThrottlingException: Rate exceeded');
    nowMs = 80;
    expect(await outcomes(3)).toBe(2);
    const describeOnce = new DescribeCertificateAuthorityCommand({ CertificateAuthorityArn: pca.ca.arn });
    expect(await refusal(client.send(describeOnce))).toBe('no error');
    nowMs = 5000;
    expect(await outcomes(30)).toBe(25);
    expect(pca.counts('IssueCertificate')).toEqual({
      calls: 64,
      accepted: 52,
      refused: 12,
      throttled: 12,
      maxPerSecond: 34,
    });
    expect(pca.issuedCount).toBe(52);
  });

  it('can be set, and everything can be throttled', async () => {
    const pca = await start({ quotas: { IssueCertificate: 1 } });
    expect(await issueRefusal(pca, {})).toBe('no error');
    expect(await issueRefusal(pca, {})).toBe('ThrottlingException: Rate exceeded');
    pca.throttleAll = true;
    const describeOnce = new DescribeCertificateAuthorityCommand({ CertificateAuthorityArn: pca.ca.arn });
    expect(await refusal(clientOf(pca).send(describeOnce))).toBe('ThrottlingException: Rate exceeded');
  });
});

describe('switches', () => {
  const ISSUED: readonly (readonly [string, (ca: FakeCa) => void, { key: boolean; chain: boolean; root: boolean }])[] =
    [
      ['nothing', () => {}, { key: true, chain: true, root: true }],
      ['wrongKey', (ca) => Object.assign(ca, { wrongKey: true }), { key: false, chain: true, root: true }],
      ['foreignSigner', (ca) => Object.assign(ca, { foreignSigner: true }), { key: true, chain: false, root: true }],
      ['foreignRoot', (ca) => Object.assign(ca, { foreignRoot: true }), { key: true, chain: true, root: false }],
    ];
  it.each(ISSUED)('%s', async (_name, turn, expected) => {
    const pca = await start();
    turn(pca.ca);
    const { leaf, chain } = await issue(pca);
    const told = chain.at(-1) ?? Buffer.alloc(0);
    expect({
      key: leaf.spkiDer.equals((await testKeyPair('EC-P256')).spkiDer),
      chain: verifyCertificateSignature(leaf, parseCertificate(told)),
      root: told.equals(pca.ca.root),
    }).toEqual(expected);
  });

  it('the same ARN with a new key: what was issued before keeps its chain', async () => {
    const pca = await start();
    const before = { root: pca.ca.root, issued: await issue(pca) };
    await pca.ca.replace();
    expect(pca.ca.root).not.toEqual(before.root);
    expect((await issue(pca)).chain).toEqual([pca.ca.root]);
    expect((await fetchIssued(clientOf(pca), pca.ca, before.issued.arn)).chain).toEqual([before.root]);
  });

  it('answers in place of the service, by the call', async () => {
    const pca = await start();
    pca.fault = ({ operation }) =>
      operation === 'IssueCertificate' ? { status: 500, body: '{"__type":"InternalFailure"}' } : undefined;
    expect(await issueRefusal(pca, {})).toMatch(/^InternalFailure/);
    pca.fault = () => 'reset';
    expect(await issueRefusal(pca, {})).toMatch(/socket hang up|ECONNRESET/);
    pca.fault = () => 'hang';
    const waiting = refusal(
      clientOf(pca).send(new IssueCertificateCommand(await order(pca.ca)), { abortSignal: AbortSignal.timeout(50) }),
    );
    expect(await waiting).toMatch(/^AbortError/);
    pca.fault = () => undefined;
    expect(await issueRefusal(pca, {})).toBe('no error');
    expect(pca.counts('IssueCertificate')).toMatchObject({ calls: 4, accepted: 1, refused: 3 });
  });

  it('stops and starts on the same port, and keeps what it has issued', async () => {
    const pca = await start();
    const { arn } = await issue(pca);
    await pca.stop();
    expect(pca.connections().open).toBe(0);
    expect(await issueRefusal(pca, {})).toMatch(/ECONNREFUSED/);
    await pca.start();
    expect((await fetchIssued(clientOf(pca), pca.ca, arn)).arn).toBe(arn);
    pca.dropConnections();
    expect(await issueRefusal(pca, {})).toBe('no error');
    await pca.close();
    await pca.close();
    expect(pca.connections().open).toBe(0);
  });
});
