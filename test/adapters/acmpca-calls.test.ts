import { describe, expect, it } from 'vitest';
import {
  CaError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerUnavailableError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import type { IssuedCertificate } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { live } from '../conformance/issuer.ts';
import type { Fault } from '../fakes/acmpca/strict-acmpca.ts';
import {
  allow,
  callsOf,
  depsOf,
  errorOf,
  exception,
  fasterClock,
  faultOf,
  issuerOf,
  reply,
  sign,
  startBench,
  startFake,
  until,
  wish,
} from './acmpca-setup.ts';

const DAY_SECONDS = 86_400;

function lifeSeconds({ leaf }: IssuedCertificate): number {
  const { notBefore, notAfter } = parseCertificate(leaf);
  return (notAfter.getTime() - notBefore.getTime()) / 1000;
}

describe('the number of calls', () => {
  it('is one to issue and one to fetch, once it is known how long AWS takes', async () => {
    const clock = fasterClock(10);
    const bench = await startBench({ readyAfterMs: 300, clock }, {}, { clock });
    for (let i = 0; i < 3; i += 1) await sign(bench, { requestId: `warm-${i}` });
    const before = bench.pca.calls.length;
    for (let i = 0; i < 8; i += 1) await sign(bench, { requestId: `r-${i}` });
    expect(bench.pca.issuedCount).toBe(11);
    expect(bench.pca.calls.length - before).toBeLessThanOrEqual(24);
    expect([
      callsOf(bench.pca, 'DescribeCertificateAuthority'),
      callsOf(bench.pca, 'GetCertificateAuthorityCertificate'),
    ]).toEqual([1, 1]);
  });

  it('stays within the quota of the account, whichever mesh asks', async () => {
    const quotas = { IssueCertificate: 20, GetCertificate: 60 };
    const clock = fasterClock(5);
    const pca = await startFake({ quotas, clock });
    const shared = createSharedResources();
    const settings = { acmpcaIssuesPerSecond: 20, acmpcaGetsPerSecond: 60 };
    const issuers = [1, 2, 3].map(() => issuerOf(pca, depsOf(pca, { shared, settings, clock })));
    await Promise.all(issuers.flatMap((issuer) => Array.from({ length: 14 }, () => sign({ issuer }))));
    expect(pca.issuedCount).toBe(42);
    expect(pca.calls.filter(({ error }) => error === 'ThrottlingException')).toEqual([]);
    expect(pca.counts('IssueCertificate').maxPerSecond).toBeLessThan(30);
  });

  it.each<[string, Fault]>([
    ['throttling', exception('ThrottlingException', 'Rate exceeded')],
    ['an internal error', exception('InternalFailure', '', 500)],
    ['a broken connection', 'reset'],
    ['an unreadable answer', reply('{"CertificateArn":')],
    ['a page of a proxy', { status: 503, headers: { 'content-type': 'text/html' }, body: '<html>' }],
    ['an answer that is not AWS', reply('{"CertificateArn":"x"}')],
  ])('to issue is at most three under lasting %s, and no certificate is lost', async (_name, fault) => {
    const bench = await startBench();
    bench.pca.fault = faultOf('IssueCertificate', fault);
    const request = await wish(bench.issuer);
    expect(await errorOf(bench.issuer.sign(request, live()))).toBeInstanceOf(CaError);
    expect(callsOf(bench.pca, 'IssueCertificate')).toBeLessThanOrEqual(3);
    bench.pca.fault = () => undefined;
    await bench.issuer.sign(request, live());
    expect(bench.pca.issuedCount).toBe(1);
  });

  it.each<[string, Fault]>([
    ['throttling', exception('ThrottlingException', 'Rate exceeded')],
    ['an internal error', exception('InternalFailure', '', 500)],
    ['a broken connection', 'reset'],
  ])('is one more, in the same words, when a single call meets %s', async (_name, fault) => {
    const bench = await startBench();
    bench.pca.fault = faultOf('IssueCertificate', fault, 1);
    await sign(bench);
    const issues = bench.pca.calls.filter(({ operation }) => operation === 'IssueCertificate');
    expect(issues).toHaveLength(2);
    expect(issues[0]?.body).toEqual(issues[1]?.body);
  });
});

describe('a certificate that is paid for', () => {
  it('is fetched by the next request when the first gave up while AWS worked on it', async () => {
    const bench = await startBench({ readyAfterMs: 300 });
    const request = await wish(bench.issuer);
    const caller = new AbortController();
    const reason = new Error('the caller hung up');
    const first = errorOf(bench.issuer.sign(request, { signal: caller.signal }));
    await until(() => callsOf(bench.pca, 'GetCertificate') > 0);
    caller.abort(reason);
    expect(await first).toBe(reason);
    const issued = await bench.issuer.sign({ ...request, requestId: 'another' }, live());
    expect(parseCertificate(issued.leaf).spkiDer).toEqual(request.spkiDer);
    expect([bench.pca.issuedCount, callsOf(bench.pca, 'IssueCertificate')]).toEqual([1, 1]);
  });

  it('is fetched when the answer to IssueCertificate was lost: AWS knows the token', async () => {
    const bench = await startBench();
    const request = await wish(bench.issuer);
    const gaveUp = new AbortController();
    bench.pca.fault = faultOf('IssueCertificate', 'hang', 1);
    const first = errorOf(bench.issuer.sign(request, { signal: gaveUp.signal }));
    await until(() => callsOf(bench.pca, 'IssueCertificate') > 0);
    gaveUp.abort(new Error('enough'));
    await first;
    await bench.issuer.sign({ ...request, requestId: 'another' }, live());
    const [lost, again] = bench.pca.calls.filter(({ operation }) => operation === 'IssueCertificate');
    expect(again?.body).toEqual(lost?.body);
  });

  it('is fetched after the right to fetch was given', async () => {
    const bench = await startBench();
    bench.pca.user.policies = allow('IssueCertificate');
    const request = await wish(bench.issuer);
    const denied = await errorOf(bench.issuer.sign(request, live()));
    expect(denied).toBeInstanceOf(IssuerDeniedError);
    expect(String(Object(denied).fix)).toContain('acm-pca:GetCertificate');
    bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
    await bench.issuer.sign(request, live());
    expect(bench.pca.issuedCount).toBe(1);
  });

  it('is fetched later when AWS has not finished it in time', async () => {
    // Twenty seconds of waiting in a fifth of one.
    let laterMs = 0;
    const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + laterMs };
    const bench = await startBench({ readyAfterMs: 60_000, clock }, {}, { clock: fasterClock(100) });
    const request = await wish(bench.issuer);
    const pending = await errorOf(bench.issuer.sign(request, live()));
    expect(pending).toBeInstanceOf(IssuancePendingError);
    expect(Object(pending).retryAfterMs).toBeGreaterThan(0);
    expect(callsOf(bench.pca, 'GetCertificate')).toBeLessThan(30);
    laterMs = 60_000;
    await bench.issuer.sign({ ...request, requestId: 'another' }, live());
    expect([bench.pca.issuedCount, callsOf(bench.pca, 'IssueCertificate')]).toEqual([1, 1]);
  });

  it('is told again to the same request, and not to who asks for a new one', async () => {
    const bench = await startBench();
    const request = await wish(bench.issuer);
    const [first, second] = [await bench.issuer.sign(request, live()), await bench.issuer.sign(request, live())];
    const forced = await bench.issuer.sign({ ...request, requestId: 'force' }, live());
    expect(second.leaf).toEqual(first.leaf);
    expect(forced.leaf).not.toEqual(first.leaf);
    expect(bench.pca.issuedCount).toBe(2);
  });

  it('that AWS could not make is asked for anew', async () => {
    const bench = await startBench();
    const request = await wish(bench.issuer);
    bench.pca.failIssuing = true;
    const failure = await errorOf(bench.issuer.sign(request, live()));
    expect(failure).toBeInstanceOf(IssuerUnavailableError);
    bench.pca.failIssuing = false;
    await bench.issuer.sign(request, live());
    expect(bench.pca.issuedCount).toBe(2);
  });

  it('that AWS has forgotten is asked for anew in the same call', async () => {
    const bench = await startBench();
    bench.pca.fault = faultOf('GetCertificate', exception('ResourceNotFoundException', 'Could not find it'), 2);
    await sign(bench);
    expect(callsOf(bench.pca, 'IssueCertificate')).toBe(2);
    expect(bench.pca.issuedCount).toBe(1);
  });
});

describe('what is asked for', () => {
  it('is the template of the partition with everything from the CSR, when there is no commonName', async () => {
    const bench = await startBench();
    await sign(bench);
    const issue = bench.pca.calls.find(({ operation }) => operation === 'IssueCertificate');
    expect(issue?.body).toMatchObject({ TemplateArn: 'arn:aws:acm-pca:::template/EndEntityCertificate/V1' });
    expect(issue?.body).not.toHaveProperty('ApiPassthrough');
    expect((await bench.issuer.abilities(live())).signsCsrAsIs).toBe(true);
  });

  it('is a passthrough of the names, when there is one: the CSR need not carry them', async () => {
    const options = { partition: 'aws-us-gov', region: 'us-gov-west-1' };
    const bench = await startBench(options, { commonName: '{{ tag "kuma.io/service" }}.mesh' });
    expect((await bench.issuer.abilities(live())).signsCsrAsIs).toBe(false);
    const issued = await sign(bench);
    const issue = bench.pca.calls.find(({ operation }) => operation === 'IssueCertificate');
    expect(issue?.body).toMatchObject({
      TemplateArn: 'arn:aws-us-gov:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1',
      ApiPassthrough: { Subject: { CommonName: 'web.mesh' } },
    });
    expect(parseCertificate(issued.leaf)).toMatchObject({
      commonName: 'web.mesh',
      uriSans: ['spiffe://default/web', 'kuma://kuma.io/service/web'],
    });
  });

  it('is refused before AWS is asked when a name is longer than AWS takes', async () => {
    const bench = await startBench({}, { commonName: 'web' });
    const request = await wish(bench.issuer);
    const identity = { ...request.identity, uriSans: [`spiffe://default/${'x'.repeat(300)}`] };
    expect(await errorOf(bench.issuer.sign({ ...request, identity }, live()))).toBeInstanceOf(RequestInvalidError);
    expect(callsOf(bench.pca, 'IssueCertificate')).toBe(0);
  });

  it('is 90 minutes to the second when 90 minutes are wished for', async () => {
    expect(lifeSeconds(await sign(await startBench(), { ttlSeconds: 5400 }))).toBe(5410);
  });

  it('is cut by the end of the CA, and the answer tells it', async () => {
    const notAfter = new Date(Math.floor(Date.now() / 1000) * 1000 + 3600_000);
    const issued = await sign(await startBench({ ca: { notAfter } }), { ttlSeconds: 30 * DAY_SECONDS });
    expect(issued.notAfter).toEqual(notAfter);
  });

  it('is seven days at most of a CA in short-lived mode', async () => {
    const bench = await startBench({ ca: { usageMode: 'SHORT_LIVED_CERTIFICATE' } });
    expect(lifeSeconds(await sign(bench, { ttlSeconds: 30 * DAY_SECONDS }))).toBe(7 * DAY_SECONDS);
    expect(callsOf(bench.pca, 'IssueCertificate')).toBe(1);
  });

  it.each(['EC-P256', 'EC-P384', 'RSA-2048'] as const)(
    'is learnt from a %s CA that may not be read, within three calls',
    async (keyType) => {
      const bench = await startBench({ ca: { keyType, usageMode: 'SHORT_LIVED_CERTIFICATE' } });
      bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
      const first = await sign(bench, { ttlSeconds: 30 * DAY_SECONDS });
      expect(lifeSeconds(first)).toBe(7 * DAY_SECONDS);
      const learning = callsOf(bench.pca, 'IssueCertificate');
      expect(learning).toBeLessThanOrEqual(3);
      await sign(bench, { ttlSeconds: 30 * DAY_SECONDS });
      expect(callsOf(bench.pca, 'IssueCertificate')).toBe(learning + 1);
      expect(bench.pca.issuedCount).toBe(2);
      const bundle = await bench.issuer.trustBundle(live());
      expect(bundle.roots).toEqual([bench.pca.ca.root]);
    },
  );

  it('follows a CA that was replaced by one with another kind of key, and so does the trust bundle', async () => {
    const bench = await startBench();
    await sign(bench);
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
    await bench.pca.ca.replace({ keyType: 'RSA-2048' });
    const issued = await sign(bench);
    expect(issued.roots).toEqual([bench.pca.ca.root]);
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
    expect(bench.pca.issuedCount).toBe(2);
  });
});
