import {
  type ACMPCAClient,
  DescribeCertificateAuthorityCommand,
  IssueCertificateCommand,
} from '@aws-sdk/client-acm-pca';
import { describe, expect, it } from 'vitest';
import { clientOf, EVERYTHING, issueRefusal, order, refusal, startPca } from '../fakes/acmpca/sdk-calls.ts';
import type { FakeUser } from '../fakes/acmpca/users.ts';

describe('signatures', () => {
  it('a wrong secret, an unknown key, and another region or service are told apart', async () => {
    const pca = await startPca();
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
    const pca = await startPca();
    pca.user.isActive = false;
    expect(await issueRefusal(pca, {})).toMatch(/^UnrecognizedClientException/);
    pca.user.isActive = true;
    expect(await issueRefusal(pca, {})).toBe('no error');
  });

  it('temporary credentials need their session token, until they expire', async () => {
    const pca = await startPca();
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
    const pca = await startPca();
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
    const pca = await startPca();
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
    const pca = await startPca();
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
