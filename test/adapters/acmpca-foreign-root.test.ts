import { describe, expect, it } from 'vitest';
import { IssuerResponseError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { live } from '../conformance/issuer.ts';
import { allow, callsOf, errorOf, exception, faultOf, sign, startBench, wish } from './acmpca-setup.ts';

describe('a certificate under a root that AWS does not tell for the CA', () => {
  it.each([
    ['a root CA', {}, false],
    ['a subordinate CA', { type: 'subordinate' as const }, false],
    ['a root CA that is pinned', {}, true],
  ])('of %s is refused, in the first call too, and the trust bundle does not name it', async (_name, ca, isPinned) => {
    const pinned = (root: Buffer) => (isPinned ? { caCert: { inlineString: encodePem('CERTIFICATE', root) } } : {});
    const bench = await startBench({ ca }, pinned);
    bench.pca.ca.foreignRoot = true;
    for (let i = 0; i < 2; i += 1) expect(await errorOf(sign(bench))).toBeInstanceOf(IssuerResponseError);
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
    bench.pca.ca.foreignRoot = false;
    expect((await sign(bench)).roots).toEqual([bench.pca.ca.root]);
    bench.pca.ca.foreignRoot = true;
    const error = await errorOf(sign(bench));
    expect(error).toBeInstanceOf(IssuerResponseError);
    expect(Object(error).message).toContain('a stranger');
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
  });

  it('is taken when AWS tells that the CA was replaced, by one question for all callers', async () => {
    const bench = await startBench();
    await sign(bench);
    await bench.pca.ca.replace();
    const before = callsOf(bench.pca, 'GetCertificateAuthorityCertificate');
    const issued = await Promise.all(Array.from({ length: 12 }, (_, i) => sign(bench, { requestId: `r${i}` })));
    for (const { roots } of issued) expect(roots).toEqual([bench.pca.ca.root]);
    expect(callsOf(bench.pca, 'GetCertificateAuthorityCertificate') - before).toBeLessThanOrEqual(2);
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
  });

  it('is not judged while AWS cannot be asked, and fetched later: it is paid for', async () => {
    const bench = await startBench();
    await sign(bench);
    await bench.pca.ca.replace();
    bench.pca.fault = faultOf('GetCertificateAuthorityCertificate', exception('InternalFailure', '', 500));
    const request = await wish(bench.issuer, { requestId: 'new' });
    expect(await errorOf(bench.issuer.sign(request, live()))).toBeInstanceOf(IssuerUnavailableError);
    bench.pca.fault = () => undefined;
    expect((await bench.issuer.sign(request, live())).roots).toEqual([bench.pca.ca.root]);
    expect(bench.pca.issuedCount).toBe(2);
  });

  it('is followed where the CA may not be read: only caCert can tell then', async () => {
    const bench = await startBench();
    bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
    await sign(bench);
    await bench.pca.ca.replace();
    expect((await sign(bench)).roots).toEqual([bench.pca.ca.root]);
  });
});
