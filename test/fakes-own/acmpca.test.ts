import type { IssueCertificateCommandInput } from '@aws-sdk/client-acm-pca';
import { describe, expect, it } from 'vitest';
import { testKeyPair } from '../conformance/issuer.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import type { CaSpec } from '../fakes/acmpca/certificate-authority.ts';
import { csrPem, EVERYTHING, issue, issueRefusal, SHORT_LIVED, startPca } from '../fakes/acmpca/sdk-calls.ts';

describe('certificates', () => {
  const CAS: readonly (readonly [string, CaSpec, number])[] = [
    ['an EC P-256 root', {}, 1],
    ['an EC P-384 root', { keyType: 'EC-P384' }, 1],
    ['an RSA root', { keyType: 'RSA-2048' }, 1],
    ['a subordinate with an EC key below an RSA root', { type: 'subordinate' }, 2],
  ];
  it.each(CAS)('of %s verify, with the chain issuer first and root last', async (_name, spec, chainLength) => {
    const pca = await startPca({ ca: spec });
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
    const pca = await startPca();
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
    const pca = await startPca();
    pca.user.policies = EVERYTHING;
    const { leaf } = await issue(pca, { TemplateArn: `arn:aws:acm-pca:::template/${template}` });
    expect(leaf.extendedKeyUsage).toEqual(usages);
  });

  it.each(['APIPassthrough', 'APICSRPassthrough'])(
    'with an %s template: the names of the call where it has some, else those of the CSR',
    async (variety) => {
      const pca = await startPca();
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
    const { leaf } = await issue(await startPca(), { SigningAlgorithm: 'SHA512WITHECDSA' });
    expect(leaf.signatureAlgorithmDer.toString('hex')).toContain('2a8648ce3d040304');
  });
});

describe('validity', () => {
  const NOW = new Date('2026-09-01T12:00:00.250Z');
  const ABSOLUTE = new Date('2026-09-01T14:30:00Z');
  const startAt = (ca: CaSpec = {}) => startPca({ clock: { now: () => NOW, monotonicMs: () => 0 }, ca });

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
