import { describe, expect, it } from 'vitest';
import { ConfigError, IssuerDeniedError } from '../../src/issuer/errors.ts';
import type { Check } from '../../src/issuer/issuer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { live } from '../conformance/issuer.ts';
import type { StrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import { allow, depsOf, errorOf, issuerOf, sign, startBench, startFake } from './acmpca-setup.ts';

const DAY_SECONDS = 86_400;

describe('the trust bundle', () => {
  it("is caCert's, without a call to AWS and without its credentials", async () => {
    const pca = await startFake();
    const deps = depsOf(pca);
    deps.stored.clear();
    const issuer = issuerOf(pca, deps, { caCert: { inlineString: encodePem('CERTIFICATE', pca.ca.root) } });
    expect(await issuer.trustBundle(live())).toEqual({ roots: [pca.ca.root], intermediates: [] });
    expect(pca.calls).toHaveLength(0);
  });

  it('is there for a CA that is disabled', async () => {
    const bench = await startBench();
    bench.pca.ca.state = 'DISABLED';
    expect((await bench.issuer.trustBundle(live())).roots).toEqual([bench.pca.ca.root]);
  });

  it('is read from AWS once, however often it is asked for', async () => {
    const bench = await startBench();
    for (let i = 0; i < 5; i += 1) await bench.issuer.trustBundle(live());
    expect(bench.pca.calls).toHaveLength(1);
  });

  it('tells the right that it takes, and how to go without', async () => {
    const bench = await startBench();
    bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate');
    const error = await errorOf(bench.issuer.trustBundle(live()));
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(Object(error).fix).toMatch(/GetCertificateAuthorityCertificate.*caCert/);
  });

  const BAD_CERTS: readonly [string, (pca: StrictAcmPca) => string, RegExp][] = [
    ['is empty', () => '', /is empty/],
    ['is no PEM', () => 'root', /no PEM block/],
    ['holds no root', (pca) => encodePem('CERTIFICATE', pca.ca.certificate), /no root certificate/],
  ];
  it.each(BAD_CERTS)('is a violation of caCert when that %s', async (_name, text, message) => {
    const pca = await startFake({ ca: { type: 'subordinate' } });
    const issuer = issuerOf(pca, depsOf(pca), { caCert: { inlineString: text(pca) } });
    for (const work of [issuer.trustBundle(live()), sign({ issuer })]) {
      const error = await errorOf(work);
      expect(error).toBeInstanceOf(ConfigError);
      expect(Object(error).violations).toMatchObject([{ field: 'caCert', message: expect.stringMatching(message) }]);
    }
    expect(pca.calls).toHaveLength(0);
  });
});

describe('an inspection', () => {
  const failing = (checks: readonly Check[]) => checks.filter(({ ok }) => !ok).map(({ name }) => name);
  const CASES: readonly [string, (pca: StrictAcmPca) => void, readonly string[]][] = [
    ['nothing when all is well', () => {}, []],
    [
      'nothing with the rights to issue alone',
      (pca) => {
        pca.user.policies = allow('IssueCertificate', 'GetCertificate');
      },
      [],
    ],
    [
      'a missing right to fetch',
      (pca) => {
        pca.user.policies = allow('IssueCertificate');
      },
      ['acmpca.get-permitted'],
    ],
    [
      'a key that AWS does not know',
      (pca) => {
        pca.user.isActive = false;
      },
      ['acmpca.credentials-accepted'],
    ],
    [
      'a CA that is disabled',
      (pca) => {
        pca.ca.state = 'DISABLED';
      },
      ['acmpca.ca-active'],
    ],
    [
      'clocks that are apart',
      (pca) => {
        pca.clockOffsetMs = 600_000;
      },
      ['acmpca.clock'],
    ],
    [
      'throttling',
      (pca) => {
        pca.throttleAll = true;
      },
      ['acmpca.address-reachable'],
    ],
    [
      'a page of a proxy',
      (pca) => {
        pca.fault = () => ({ status: 502, body: 'x' });
      },
      ['acmpca.address-reachable'],
    ],
  ];
  it.each(CASES)('finds %s', async (_name, spoil, expected) => {
    const bench = await startBench();
    spoil(bench.pca);
    const checks = await bench.issuer.inspect(live());
    expect(failing(checks)).toEqual(expected);
    for (const { ok, fix } of checks) if (!ok) expect(fix).toBeTruthy();
    expect(bench.pca.issuedCount).toBe(0);
  });

  it('finds that nobody is there', async () => {
    const bench = await startBench();
    await bench.pca.close();
    expect(failing(await bench.issuer.inspect(live()))).toEqual(['acmpca.address-reachable']);
  });

  it('finds a CA below another root than that of caCert, and one that ends soon', async () => {
    const pca = await startFake({ ca: { notAfter: new Date(Date.now() + DAY_SECONDS * 1000) } });
    const other = await pca.createCa();
    const issuer = issuerOf(pca, depsOf(pca), { caCert: { inlineString: encodePem('CERTIFICATE', other.root) } });
    expect(failing(await issuer.inspect(live()))).toEqual(['acmpca.root-known']);
    const life = (await issuerOf(pca, depsOf(pca)).inspect(live())).find(({ name }) => name === 'acmpca.ca-valid');
    expect(life).toMatchObject({ ok: true, fix: expect.stringContaining('renew the CA') });
  });

  it('finds credentials that are missing', async () => {
    const pca = await startFake();
    const deps = depsOf(pca);
    deps.stored.clear();
    expect(failing(await issuerOf(pca, deps).inspect(live()))).toEqual(['acmpca.credentials-loaded']);
  });
});
