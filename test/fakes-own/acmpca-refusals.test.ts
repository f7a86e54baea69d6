import {
  DescribeCertificateAuthorityCommand,
  GetCertificateAuthorityCertificateCommand,
  IssueCertificateCommand,
  type IssueCertificateCommandInput,
  ListTagsCommand,
} from '@aws-sdk/client-acm-pca';
import { describe, expect, it } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { testKeyPair } from '../conformance/issuer.ts';
import { CA_STATES } from '../fakes/acmpca/certificate-authority.ts';
import {
  clientOf,
  csrPem,
  EVERYTHING,
  fetchIssued,
  issue,
  issueRefusal,
  NAMES,
  order,
  refusal,
  SHORT_LIVED,
  startPca,
} from '../fakes/acmpca/sdk-calls.ts';

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
    const pca = await startPca();
    pca.user.policies = EVERYTHING;
    expect(await issueRefusal(pca, changes)).toMatch(says);
    expect(pca.issuedCount).toBe(0);
  });

  it('takes 150 names of 253 characters', async () => {
    const pca = await startPca();
    expect((await issue(pca, uris(150, 253))).leaf.uriSans).toHaveLength(150);
  });

  it('a CSR without any name, or with a signature that is not its own', async () => {
    const pca = await startPca();
    const bare = await csrPem({ uriSans: [], dnsNames: [], commonName: '' });
    expect(await issueRefusal(pca, { Csr: bare })).toMatch(/^MalformedCSRException: .*neither a subject nor/);
    const der = Buffer.from(createCsr(await testKeyPair('EC-P256'), NAMES));
    const at = der.indexOf('spiffe://default/web');
    der.write('spiffe://default/wex', at);
    const forged = Buffer.from(encodePem('CERTIFICATE REQUEST', der));
    expect(await issueRefusal(pca, { Csr: forged })).toMatch(/^MalformedCSRException: .*signature/);
  });

  it('a CA, and a certificate, that are not there', async () => {
    const pca = await startPca();
    pca.user.policies = EVERYTHING;
    const unknown = pca.ca.arn.replace(/[^/]+$/, '00000000-0000-4000-8000-000000000000');
    expect(await issueRefusal(pca, arn(unknown))).toMatch(/^ResourceNotFoundException: .*00000000-0000/);
    const client = clientOf(pca);
    const get = (CertificateArn: string) => refusal(fetchIssued(client, pca.ca, CertificateArn));
    expect(await get(`${pca.ca.arn}/certificate/5a01`)).toMatch(/^ResourceNotFoundException: /);
    expect(await get(`${unknown}/certificate/5a01`)).toMatch(/^InvalidArnException: /);
  });

  it('an operation that the fake has not', async () => {
    const pca = await startPca();
    const list = clientOf(pca).send(new ListTagsCommand({ CertificateAuthorityArn: pca.ca.arn }));
    expect(await refusal(list)).toMatch(/^UnknownOperationException/);
  });
});

describe('the state of the CA', () => {
  const HAS_CERTIFICATE = ['ACTIVE', 'DISABLED', 'EXPIRED'];

  it.each(CA_STATES)('%s: who may still be asked', async (state) => {
    const pca = await startPca();
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
    const pca = await startPca({ ca: { type: 'subordinate', keyType: 'EC-P384', ...SHORT_LIVED, name: 'mesh' } });
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
    const pca = await startPca();
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
    const pca = await startPca({ clock: { now: () => new Date(), monotonicMs: () => nowMs }, readyAfterMs: 300 });
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
    const pca = await startPca({ clock, readyAfterMs: (index) => index * 100 });
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
    const pca = await startPca({ clock: { now: () => now, monotonicMs: () => nowMs } });
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
    const pca = await startPca();
    const IdempotencyToken = 'token-1';
    const first = await issue(pca, { IdempotencyToken });
    const other = { IdempotencyToken, Validity: { Type: 'DAYS', Value: 2 } as const };
    expect(await issueRefusal(pca, other)).toMatch(/^InvalidArgsException: .*token/);
    const { arn } = await issue(pca, { IdempotencyToken }, await pca.createCa());
    expect(arn).not.toBe(first.arn);
  });
});
