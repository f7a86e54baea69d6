import { DescribeCertificateAuthorityCommand, IssueCertificateCommand } from '@aws-sdk/client-acm-pca';
import { describe, expect, it } from 'vitest';
import { parseCertificate, verifyCertificateSignature } from '../../src/x509/certificate.ts';
import { testKeyPair } from '../conformance/issuer.ts';
import type { FakeCa } from '../fakes/acmpca/certificate-authority.ts';
import { clientOf, fetchIssued, issue, issueRefusal, order, refusal, startPca } from '../fakes/acmpca/sdk-calls.ts';

describe('quotas', () => {
  it('let a second of calls through, then fill evenly, each operation by itself', async () => {
    let nowMs = 0;
    const pca = await startPca({ clock: { now: () => new Date(), monotonicMs: () => nowMs } });
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
    const pca = await startPca({ quotas: { IssueCertificate: 1 } });
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
    const pca = await startPca();
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
    const pca = await startPca();
    const before = { root: pca.ca.root, issued: await issue(pca) };
    await pca.ca.replace();
    expect(pca.ca.root).not.toEqual(before.root);
    expect((await issue(pca)).chain).toEqual([pca.ca.root]);
    expect((await fetchIssued(clientOf(pca), pca.ca, before.issued.arn)).chain).toEqual([before.root]);
  });

  it('answers in place of the service, by the call', async () => {
    const pca = await startPca();
    pca.fault = ({ operation }) =>
      operation === 'IssueCertificate' ? { status: 500, body: '{"__type":"InternalFailure"}' } : undefined;
    expect(await issueRefusal(pca, {})).toMatch(/^InternalFailure/);
    pca.fault = () => 'reset';
    expect(await issueRefusal(pca, {})).toMatch(/socket hang up|ECONNRESET/);
    const caller = new AbortController();
    pca.fault = () => {
      caller.abort();
      return 'hang';
    };
    const waiting = refusal(
      clientOf(pca).send(new IssueCertificateCommand(await order(pca.ca)), { abortSignal: caller.signal }),
    );
    expect(await waiting).toMatch(/^AbortError/);
    pca.fault = () => undefined;
    expect(await issueRefusal(pca, {})).toBe('no error');
    expect(pca.counts('IssueCertificate')).toMatchObject({ calls: 4, accepted: 1, refused: 3 });
  });

  it('stops and starts on the same port, and keeps what it has issued', async () => {
    const pca = await startPca();
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
