import { describe, expect, it } from 'vitest';
import { module } from '../../adapters/acmpca/module.ts';
import { ConfigError, IssuerDeniedError } from '../../src/issuer/errors.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { live } from '../conformance/issuer.ts';
import type { Operation } from '../fakes/acmpca/calls.ts';
import type { StrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import { inspectAll } from '../support/inspect-all.ts';
import {
  allow,
  CONTEXT,
  depsOf,
  errorOf,
  exception,
  faultOf,
  hurriedClock,
  issuerOf,
  sign,
  startBench,
  startFake,
} from './acmpca-setup.ts';

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

  it('is read again each minute: a CA certificate that was imported anew is told before it has signed', async () => {
    let aheadMs = 0;
    const clock = { ...hurriedClock, monotonicMs: () => hurriedClock.monotonicMs() + aheadMs };
    const bench = await startBench({}, {}, { clock });
    await sign(bench);
    const before = (await bench.issuer.trustBundle(live())).roots;
    await bench.pca.ca.replace({ keyType: 'EC-P256' });
    aheadMs = 60_000;
    const after = (await bench.issuer.trustBundle(live())).roots;
    expect(after).toEqual([bench.pca.ca.root]);
    expect(after).not.toEqual(before);
    expect((await sign(bench)).roots).toEqual(after);
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
  /** What is not well, and how; that there is no `caCert` to look at is usual. */
  const findings = async (issuer: Issuer) =>
    (await inspectAll(issuer)).flatMap(({ name, status }) =>
      status === 'passed' || (status === 'skipped' && name === 'acmpca.ca-cert-loaded') ? [] : [`${name} ${status}`],
    );
  const CASES: readonly [string, (pca: StrictAcmPca) => void, readonly string[]][] = [
    ['nothing when all is well', () => {}, []],
    [
      'what will hurt with the rights to issue alone',
      (pca) => {
        pca.user.policies = allow('IssueCertificate', 'GetCertificate');
      },
      [
        'acmpca.ca-active warning',
        'acmpca.chain-readable warning',
        'acmpca.root-known skipped',
        'acmpca.ca-valid skipped',
      ],
    ],
    [
      'a missing right to describe',
      (pca) => {
        pca.user.policies = allow('IssueCertificate', 'GetCertificate', 'GetCertificateAuthorityCertificate');
      },
      ['acmpca.ca-active warning'],
    ],
    [
      'a missing right to fetch',
      (pca) => {
        pca.user.policies = allow(
          'IssueCertificate',
          'DescribeCertificateAuthority',
          'GetCertificateAuthorityCertificate',
        );
      },
      ['acmpca.get-permitted failed'],
    ],
    [
      'a key that AWS does not know',
      (pca) => {
        pca.user.isActive = false;
      },
      ['acmpca.credentials-accepted failed'],
    ],
    [
      'a CA that is disabled',
      (pca) => {
        pca.ca.state = 'DISABLED';
      },
      ['acmpca.ca-active failed'],
    ],
    [
      'clocks that are a little apart',
      (pca) => {
        pca.clockOffsetMs = -20_000;
      },
      ['acmpca.clock warning'],
    ],
    [
      'clocks that are apart',
      (pca) => {
        pca.clockOffsetMs = 600_000;
      },
      ['acmpca.clock failed'],
    ],
    [
      'throttling',
      (pca) => {
        pca.throttleAll = true;
      },
      ['acmpca.address-reachable failed'],
    ],
    [
      'a page of a proxy',
      (pca) => {
        pca.fault = () => ({ status: 502, body: 'x' });
      },
      ['acmpca.address-reachable failed'],
    ],
    [
      'an answer that does not come to one of its questions',
      (pca) => {
        pca.fault = faultOf('GetCertificate', exception('InternalFailure', '', 500));
      },
      ['acmpca.get-permitted warning'],
    ],
  ];
  it.each(CASES)('finds %s', async (_name, spoil, expected) => {
    const bench = await startBench();
    spoil(bench.pca);
    expect(await findings(bench.issuer)).toEqual(expected);
    expect(bench.pca.issuedCount).toBe(0);
  });

  const RIGHTS = [
    'GetCertificate',
    'DescribeCertificateAuthority',
    'GetCertificateAuthorityCertificate',
  ] as const satisfies Operation[];
  it.each(RIGHTS)('names the IAM action %s when it is not allowed, and how to allow it', async (right) => {
    const bench = await startBench();
    bench.pca.user.policies = allow('IssueCertificate', ...RIGHTS.filter((one) => one !== right));
    const found = (await inspectAll(bench.issuer)).filter(({ status }) => status === 'warning' || status === 'failed');
    expect(found).toHaveLength(1);
    expect(found[0]?.message).toContain(right);
    expect(found[0]?.fix).toContain(`allow acm-pca:${right} on ${bench.pca.ca.arn}`);
  });

  it('needs no right to the chain where caCert tells the root', async () => {
    const bench = await startBench({}, (root) => ({ caCert: { inlineString: encodePem('CERTIFICATE', root) } }));
    bench.pca.user.policies = allow('IssueCertificate', 'GetCertificate', 'DescribeCertificateAuthority');
    expect(await findings(bench.issuer)).toEqual([]);
  });

  it('takes three requests, each of them counted', async () => {
    const { issuer, deps, pca } = await startBench();
    await inspectAll(issuer);
    expect(deps.requests.count).toBe(3);
    expect(pca.calls).toHaveLength(3);
    await sign({ issuer });
    expect(deps.requests.count).toBe(pca.calls.length);
  });

  it('finds that nobody is there, which may pass', async () => {
    const bench = await startBench();
    await bench.pca.close();
    expect((await inspectAll(bench.issuer)).at(-1)).toMatchObject({
      name: 'acmpca.address-reachable',
      status: 'failed',
      retry: true,
    });
  });

  it('finds a CA below another root than that of caCert, and one that ends soon', async () => {
    const pca = await startFake({ ca: { notAfter: new Date(Date.now() + DAY_SECONDS * 1000) } });
    const other = await pca.createCa();
    const caCert = { inlineString: encodePem('CERTIFICATE', other.root) };
    expect(await findings(issuerOf(pca, depsOf(pca), { caCert }))).toEqual(['acmpca.root-known failed']);
    const checks = await inspectAll(issuerOf(pca, depsOf(pca)));
    expect(checks.find(({ name }) => name === 'acmpca.ca-valid')).toMatchObject({
      status: 'warning',
      fix: expect.stringContaining('renew the CA'),
    });
  });

  it('finds credentials and a caCert that are missing', async () => {
    const pca = await startFake();
    const deps = depsOf(pca);
    const issuer = issuerOf(pca, deps, { caCert: { secret: 'gone' } });
    expect(await findings(issuer)).toEqual(['acmpca.ca-cert-loaded failed']);
    deps.stored.clear();
    expect(await findings(issuerOf(pca, deps))).toEqual(['acmpca.credentials-loaded failed']);
  });
});

describe('the endpoint', () => {
  const ARN = 'arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/6ba7b810-9dad-11d1-80b4-00c04fd430c8';
  const endpointOf = (conf: object) => module.endpoint?.(module.parseConf({ arn: ARN, ...conf }, CONTEXT));

  it('is account and region, and where calls go when that is said', () => {
    expect(endpointOf({})).toBe('123456789012:eu-west-1');
    expect(endpointOf({ endpoint: 'https://pca.example' })).toBe('123456789012:eu-west-1:https://pca.example');
    expect(module.billed).toBe(true);
  });

  it('warns of short-lived mode only who wants longer certificates', async () => {
    const bench = await startBench();
    bench.pca.ca.usageMode = 'SHORT_LIVED_CERTIFICATE';
    const find = async (days: number) =>
      (await inspectAll(bench.issuer, undefined, days * DAY_SECONDS)).find(({ name }) => name === 'acmpca.ca-active');
    expect(await find(7)).toMatchObject({ status: 'passed', message: expect.stringContaining('short-lived mode') });
    expect(await find(8)).toMatchObject({
      status: 'warning',
      fix: expect.stringContaining('dpCert.rotation.expiration'),
    });
  });
});
