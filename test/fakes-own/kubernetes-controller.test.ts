import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { TEST_START } from '../conformance/issuer-deps.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import { parseDuration } from '../fakes/kubernetes/cert-manager-ca.ts';
import {
  type CertManagerController,
  type CertManagerControllerOptions,
  type Outcome,
  startCertManagerController,
  TEST_ISSUER,
} from '../fakes/kubernetes/cert-manager-controller.ts';
import { type CertificateRequest, findCondition } from '../fakes/kubernetes/certificate-request.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../fakes/kubernetes/fake-kubernetes.ts';

const now = () => new Date(TEST_START);
const keyPair = await generateKeyPair('EC-P256');
const csrOf = (commonName: string) => {
  const der = createCsr(keyPair, { uriSans: ['spiffe://default/web'], dnsNames: ['web.mesh'], commonName });
  return Buffer.from(encodePem('CERTIFICATE REQUEST', der)).toString('base64');
};

let cluster: FakeKubernetes;
beforeAll(async () => {
  cluster = await startFakeKubernetes({ now });
});
afterAll(() => cluster?.close());
afterEach(async () => {
  for (const { metadata } of await cluster.admin.list()) await cluster.admin.delete(metadata.name);
});

async function start(options: Partial<CertManagerControllerOptions> = {}): Promise<CertManagerController> {
  const controller = await startCertManagerController({ cluster, now, ...options });
  onTestFinished(() => controller.close());
  return controller;
}

/** Creates a request and gives what it says once it has come to rest. */
async function ask(spec: object = {}): Promise<CertificateRequest> {
  const issuerRef = { name: TEST_ISSUER };
  const { metadata } = await cluster.admin.create({
    metadata: { generateName: 'asked-' },
    spec: { request: csrOf(''), issuerRef, ...spec },
  });
  for (let tries = 0; tries < 300; tries++) {
    const request = await cluster.admin.get(metadata.name);
    if (findCondition(request, 'Ready') !== undefined) return request;
    await sleep(5);
  }
  return cluster.admin.get(metadata.name);
}

function certificatesOf(base64: string | undefined): Certificate[] {
  return decodePem(Buffer.from(base64 ?? '', 'base64').toString('utf8')).map(({ der }) => parseCertificate(der));
}

const verify = (request: CertificateRequest, roots = certificatesOf(request.status?.ca)) => {
  const [leaf, ...chain] = certificatesOf(request.status?.certificate);
  const ders = (list: readonly Certificate[]) => list.map(({ der }) => der);
  return opensslVerify({
    leaf: leaf?.der ?? Buffer.alloc(0),
    chain: ders(chain),
    roots: ders(roots),
    at: now(),
    purpose: 'sslserver',
  });
};

const USAGES = ['digital signature', 'key encipherment', 'server auth', 'client auth'];

describe('the controller that plays cert-manager', () => {
  it('signs what OpenSSL accepts: approved, ready, leaf and intermediate, and the root as CA', async () => {
    await start();
    const request = await ask({ usages: USAGES });
    expect(request.status?.conditions).toMatchObject([
      { type: 'Approved', status: 'True', reason: 'cert-manager.io' },
      { type: 'Ready', status: 'True', reason: 'Issued' },
    ]);
    expect(certificatesOf(request.status?.certificate)).toHaveLength(2);
    expect(await verify(request)).toBe('OK');
  });

  it.each([
    ['an empty subject', '', [true, '']],
    ['a subject with a common name', 'web.mesh', [false, 'web.mesh']],
  ])('copies %s and the SANs as they are', async (_what, commonName, subject) => {
    await start();
    const [leaf] = certificatesOf((await ask({ request: csrOf(commonName), usages: USAGES })).status?.certificate);
    expect([leaf?.uriSans, leaf?.dnsNames]).toEqual([['spiffe://default/web'], ['web.mesh']]);
    expect([leaf?.commonName === '', leaf?.commonName]).toEqual(subject);
  });

  it.each([
    ['the usages that are asked for', USAGES, ['digitalSignature', 'keyEncipherment'], ['serverAuth', 'clientAuth']],
    ["cert-manager's own usages where none are", undefined, ['digitalSignature', 'keyEncipherment'], []],
  ])('gives %s', async (_what, usages, expected, extended) => {
    await start();
    const [leaf] = certificatesOf((await ask(usages === undefined ? {} : { usages })).status?.certificate);
    expect([...(leaf?.keyUsage ?? [])]).toEqual(expected);
    expect(leaf?.extendedKeyUsage ?? []).toEqual(extended);
  });

  it.each([
    ['the duration that is asked for', '90m', 90 * 60_000],
    ['90 days where none is', undefined, 90 * 24 * 3_600_000],
  ])('gives %s, from now on', async (_what, duration, lifeMs) => {
    await start();
    const [leaf] = certificatesOf((await ask(duration === undefined ? {} : { duration })).status?.certificate);
    const startMs = Math.floor(TEST_START.getTime() / 1000) * 1000;
    expect(leaf?.notBefore.getTime()).toBe(startMs);
    expect(Math.abs((leaf?.notAfter.getTime() ?? 0) - startMs - lifeMs)).toBeLessThan(1000);
  });

  const endings: readonly (readonly [Outcome, object])[] = [
    [
      'fail',
      {
        conditions: [{ type: 'Approved' }, { type: 'Ready', status: 'False', reason: 'Failed' }],
        failureTime: '2026-09-01T12:00:00Z',
      },
    ],
    [
      'deny',
      {
        conditions: [
          { type: 'Denied', status: 'True' },
          { type: 'Ready', status: 'False', reason: 'Denied' },
        ],
      },
    ],
    [
      'invalid',
      {
        conditions: [
          { type: 'Approved' },
          { type: 'InvalidRequest', status: 'True' },
          { type: 'Ready', reason: 'Failed' },
        ],
      },
    ],
    ['pending', { conditions: [{ type: 'Approved' }, { type: 'Ready', status: 'False', reason: 'Pending' }] }],
    ['garbage', { certificate: Buffer.from('no certificate\n').toString('base64') }],
  ];
  it.each(endings)('ends a request by "%s" as cert-manager does', async (outcome, status) => {
    await start({ outcome: () => outcome });
    const request = await ask({ usages: USAGES });
    expect(request.status).toMatchObject(status);
    expect(request.status?.certificate === undefined).toBe(outcome !== 'garbage');
  });

  const wrongs: readonly (readonly [Outcome, verdict: string])[] = [
    ['foreign-root', 'unable to get local issuer certificate'],
    ['expired-ca', 'certificate has expired'],
    ['wrong-key', 'OK'],
    ['odd-order', 'OK'],
  ];
  it.each(wrongs)('signs by "%s" what OpenSSL calls %s', async (outcome, verdict) => {
    await start({ outcome: () => outcome });
    const request = await ask({ usages: USAGES });
    expect(await verify(request)).toContain(verdict);
    const [leaf] = certificatesOf(request.status?.certificate);
    expect(leaf?.spkiDer.equals(keyPair.spkiDer)).toBe(outcome !== 'wrong-key');
  });

  it('leaves requests for another group to others, and those for an unknown issuer pending', async () => {
    const controller = await start();
    const issuerRef = { name: 'other' };
    expect(findCondition(await ask({ issuerRef }), 'Ready')?.message).toMatch(/not found/);
    const { metadata } = await cluster.admin.create({
      metadata: { generateName: 'foreign-' },
      spec: { request: csrOf(''), issuerRef: { name: TEST_ISSUER, kind: 'Thing', group: 'example.com' } },
    });
    await ask();
    expect((await cluster.admin.get(metadata.name)).status).toBeUndefined();
    expect(controller.finished).toBe(2);
  });

  it('goes on where it was after its watch was reset, compacted away, and the server restarted', async () => {
    await start();
    for (const disturb of [
      () => cluster.faults.resetConnections(['cert-manager']),
      () => cluster.faults.dropWatches('expired', ['cert-manager']),
      () => cluster.restart(),
    ]) {
      await disturb();
      expect(findCondition(await ask(), 'Ready')?.status).toBe('True');
    }
  });

  it('does nothing while it is paused, and all of it afterwards', async () => {
    const controller = await start();
    controller.pause();
    const asked = ask();
    await sleep(50);
    expect(controller.finished).toBe(0);
    controller.resume();
    expect(findCondition(await asked, 'Ready')?.status).toBe('True');
  });

  it('takes its time when it is told to', async () => {
    const controller = await start({ perSecond: 20 });
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: 6 }, () => ask()));
    expect(controller.finished).toBe(6);
    expect(performance.now() - startedMs).toBeGreaterThan(240);
  });
});

describe('a Go duration', () => {
  it.each([
    ['720h0m0s', 2_592_000_000],
    ['90m', 5_400_000],
    ['1.5h', 5_400_000],
    ['1500ms', 1_500],
    ['3600s', 3_600_000],
  ])('%s is %i ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(['', '1', '1d', '-1h', 'h', '1h '])('is not "%s"', (text) => {
    expect(() => parseDuration(text)).toThrow(/invalid duration/);
  });
});
