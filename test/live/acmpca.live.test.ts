import { createPublicKey, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { module } from '../../adapters/acmpca/module.ts';
import { ADAPTERS } from '../../adapters/index.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { type StartedMoto, startMoto } from '../../testcontainers/moto.ts';
import { live, requestFor, testIssuer } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import { readPolicyFile } from '../fakes/acmpca/policy-files.ts';
import { type StrictAcmPca, type StrictAcmPcaOptions, startStrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectFailed } from '../support/inspect-all.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';

const CONTEXT = { mesh: 'default', backend: 'acmpca-1' };
/** What moto gives every certificate, whatever is asked. */
const MOTO_LIFE_SECONDS = 365 * 24 * 3600;

let moto: StartedMoto;
/** A subordinate: moto gives a root one year, and its leaves end a few seconds after it. */
let motoCa: string;
beforeAll(async () => {
  moto = await startMoto({ print: (line) => process.stdout.write(`${line}\n`) });
  motoCa = await moto.createCa({ type: 'subordinate' });
});
afterAll(() => moto?.close());

interface Server {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}
const motoServer = (): Server => ({ endpoint: moto.endpoint, ...moto.credentials });

function confFor(server: Server, arn: string, changes: object = {}): object {
  const accessKey = { inlineString: server.accessKeyId };
  const accessKeySecret = { inlineString: server.secretAccessKey };
  return { arn, endpoint: server.endpoint, auth: { awsCredentials: { accessKey, accessKeySecret } }, ...changes };
}

function issuerFor(conf: object): Issuer {
  const deps = createTestDeps({
    clock: systemClock,
    settings: { acmpcaIssuesPerSecond: 500, acmpcaGetsPerSecond: 500 },
  });
  const issuer = module.create(CONTEXT, module.parseConf(conf, CONTEXT), deps);
  onTestFinished(() => issuer.close());
  return issuer;
}

testIssuer(
  'acmpca, moto over the wire, a subordinate CA',
  async () => ({
    module,
    conf: confFor(motoServer(), motoCa),
    context: CONTEXT,
    deps: createTestDeps({
      clock: systemClock,
      settings: { acmpcaIssuesPerSecond: 500, acmpcaGetsPerSecond: 500 },
    }),
    keyTypes: ['EC-P256', 'EC-P384', 'RSA-2048'],
  }),
  { ttlSeconds: MOTO_LIFE_SECONDS },
);

describe('acmpca with moto', () => {
  it('takes the region from the ARN, whatever the environment says', async () => {
    const arn = await moto.createCa();
    const before = process.env.AWS_REGION;
    process.env.AWS_REGION = 'ap-south-1';
    onTestFinished(() => {
      if (before === undefined) delete process.env.AWS_REGION;
      else process.env.AWS_REGION = before;
    });
    const issuer = issuerFor(confFor(motoServer(), arn));
    const { leaf, roots, chain } = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', MOTO_LIFE_SECONDS), live());
    expect(parseCertificate(leaf).uriSans).toEqual(IDENTITY.uriSans);
    expect([roots.length, chain.length]).toEqual([1, 0]);
    // moto keeps its CAs by region: there is none of this ARN in another.
    const elsewhere = issuerFor(confFor(motoServer(), arn.replace('us-east-1', 'eu-west-3')));
    expect(await inspectFailed(elsewhere)).not.toEqual([]);
  });

  it('tells a CA that was never given a certificate', async () => {
    const issuer = issuerFor(confFor(motoServer(), await moto.createCa({ imported: false })));
    const bad = await inspectFailed(issuer);
    expect(JSON.stringify(bad)).toContain('PENDING_CERTIFICATE');
    expect(bad.every(({ fix }) => fix !== undefined)).toBe(true);
  });
});

describe('the whole service with AWS Private CA', () => {
  const TAGS = { 'kuma.io/service': 'my_backend', version: 'v1' };
  const SANS = ['spiffe://default/my_backend', 'kuma://kuma.io/service/my_backend', 'kuma://version/v1'];

  async function start(options: StrictAcmPcaOptions = {}): Promise<{ pca: StrictAcmPca; test: TestApp }> {
    const [pca, test] = await Promise.all([
      startStrictAcmPca(options),
      startTestApp({}, { adapters: { ...ADAPTERS, acmpca: async () => module } }),
    ]);
    onTestFinished(async () => {
      await test.close();
      await pca.close();
    });
    return { pca, test };
  }

  /** A mesh on the fake, with the key pair in secrets, as the product page has it. One certificate proves it. */
  async function useAcmPca(test: TestApp, pca: StrictAcmPca, mesh: string, changes: object = {}): Promise<void> {
    await test.ok('PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh });
    for (const [name, value] of [
      ['access-key', pca.user.accessKeyId],
      ['access-key-secret', pca.user.secretAccessKey],
    ] as const) {
      const data = Buffer.from(value).toString('base64');
      await test.ok('PUT', `/meshes/${mesh}/secrets/${name}`, { type: 'Secret', mesh, name, data });
    }
    const awsCredentials = { accessKey: { secret: 'access-key' }, accessKeySecret: { secret: 'access-key-secret' } };
    const conf = { arn: pca.ca.arn, endpoint: pca.endpoint, auth: { awsCredentials }, ...changes };
    const backends = [{ name: 'acmpca-1', type: 'acmpca', conf }];
    await test.ok('PUT', `/meshes/${mesh}`, {
      type: 'Mesh',
      name: mesh,
      mtls: { enabledBackend: 'acmpca-1', backends },
    });
  }

  const issue = (test: TestApp, mesh: string, dataplane: string, body: object = {}) =>
    test.request('POST', `/meshes/${mesh}/dataplanes/${dataplane}/_certificate`, { tags: TAGS, ...body });

  it('gives key and certificate that OpenSSL verifies, and the bundle', async () => {
    const { pca, test } = await start({ ca: { type: 'subordinate' }, readyAfterMs: 60 });
    await useAcmPca(test, pca, 'default');
    const { status, json, text } = await issue(test, 'default', 'web-1');
    expect([status, json.type, json.outcome, json.uriSans]).toEqual([201, 'acmpca', 'issued', SANS]);
    const leaf = new X509Certificate(String(json.certificate));
    expect(leaf.publicKey.equals(createPublicKey(String(json.privateKey)))).toBe(true);
    const ders = (pem: unknown) => decodePem(String(pem)).map(({ der }) => der);
    expect(ders(json.trustBundle?.pem)).toEqual([pca.ca.root]);
    expect(ders(json.caChain?.[0])).toEqual([pca.ca.certificate]);
    for (const purpose of ['sslserver', 'sslclient'] as const) {
      const path = { leaf: leaf.raw, chain: [pca.ca.certificate], roots: [pca.ca.root] };
      expect(await opensslVerify({ ...path, at: new Date(), purpose })).toBe('OK');
    }
    const again = await issue(test, 'default', 'web-1', { current: json.certificate });
    expect([again.status, again.json.outcome]).toEqual([200, 'kept']);
    // The test certificate, and this one.
    expect(pca.counts('IssueCertificate')).toMatchObject({ calls: 2, throttled: 0 });
    expect(text + test.log.join('')).not.toContain(pca.user.secretAccessKey);
  });

  it('signs a CSR of exactly the identity as it is, and with a commonName any CSR', async () => {
    const { pca, test } = await start();
    await useAcmPca(test, pca, 'default');
    const key = await generateKeyPair('RSA-2048');
    const csr = (uriSans: readonly string[]) =>
      encodePem('CERTIFICATE REQUEST', createCsr(key, { uriSans, dnsNames: [], commonName: '' }));
    const thief = await issue(test, 'default', 'web-1', { csr: csr(['spiffe://default/admin']) });
    const tests = 1;
    expect([thief.status, thief.json.code, pca.issuedCount]).toEqual([400, 'ERR_REQUEST_INVALID', tests]);
    expect((await issue(test, 'default', 'web-1', { csr: csr(SANS) })).json.uriSans).toEqual(SANS);
    await useAcmPca(test, pca, 'default', { commonName: '{{ tag "kuma.io/service" | replace "_" "-" }}.mesh' });
    const { status, json } = await issue(test, 'default', 'web-2', { csr: csr(['spiffe://default/admin']) });
    expect([status, json.uriSans, json.commonName]).toEqual([201, SANS, 'my-backend.mesh']);
    expect(new X509Certificate(String(json.certificate)).subjectAltName).not.toContain('admin');
  });

  it('needs no more than the documented policy, two statements of it to issue, and names the one that is missing', async () => {
    const { pca, test } = await start();
    const policy = await readPolicyFile('acmpca-issue', pca.ca.arn);
    const only = (...sids: readonly string[]) => {
      pca.user.policies = [{ ...policy, Statement: policy.Statement.filter(({ Sid = '' }) => sids.includes(Sid)) }];
    };
    only('IssueLeafCertificatesOnly', 'FetchWhatWasIssued');
    await useAcmPca(test, pca, 'default');
    expect((await issue(test, 'default', 'web-1')).status).toBe(201);
    only('FetchWhatWasIssued', 'ReadTheCaCertificates', 'ReadStateAndKeyType');
    const { status, json, text } = await issue(test, 'default', 'web-2');
    expect([status, json.code]).toEqual([502, 'ERR_ISSUER_DENIED']);
    expect(String(json.fix)).toContain('acm-pca:IssueCertificate');
    expect(text).not.toContain(pca.user.arn);
    pca.user.policies = [policy];
    expect((await issue(test, 'default', 'web-3')).status).toBe(201);
  });

  it('two meshes on one account keep under its quotas together', async () => {
    const { pca, test } = await start({ readyAfterMs: () => 30 + Math.random() * 60 });
    await useAcmPca(test, pca, 'default');
    await useAcmPca(test, pca, 'other');
    const all = Array.from({ length: 60 }, (_, i) => issue(test, i % 2 === 0 ? 'default' : 'other', `dp-${i}`));
    expect((await Promise.all(all)).map(({ status }) => status)).toEqual(Array(60).fill(201));
    const tests = 2;
    expect(pca.issuedCount).toBe(60 + tests);
    for (const operation of ['IssueCertificate', 'GetCertificate'] as const) {
      expect(pca.counts(operation).throttled, operation).toBe(0);
    }
    expect(pca.counts('IssueCertificate').maxPerSecond).toBeLessThanOrEqual(28);
  });

  it('credentials that are revoked are told, and new ones in the secrets heal it without a restart', async () => {
    const { pca, test } = await start();
    await useAcmPca(test, pca, 'default');
    expect((await issue(test, 'default', 'web-1')).status).toBe(201);
    pca.user.isActive = false;
    const refused = await issue(test, 'default', 'web-2');
    expect([refused.status, refused.json.code]).toEqual([502, 'ERR_ISSUER_DENIED']);
    const fresh = pca.createUser({ policies: pca.user.policies });
    for (const [name, value] of [
      ['access-key', fresh.accessKeyId],
      ['access-key-secret', fresh.secretAccessKey],
    ] as const) {
      const data = Buffer.from(value).toString('base64');
      await test.ok('PUT', `/meshes/default/secrets/${name}`, { type: 'Secret', mesh: 'default', name, data });
    }
    // Others need not wait; who was refused need not either, once it is proven.
    expect((await issue(test, 'default', 'web-3')).status).toBe(201);
    const proof = await test.ok('POST', '/meshes/default/_backends/acmpca-1/_validate');
    expect(proof.json.ok).toBe(true);
    expect((await issue(test, 'default', 'web-2')).status).toBe(201);
    expect(pca.counts('IssueCertificate').calls).toBeLessThanOrEqual(7);
  });
});
