import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import { IssuerDeniedError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { createFakeIssuer, type FakeBackend } from '../fakes/fake-issuer.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

const FAKE = { name: 'ext', type: 'fake', conf: {} };
const SECOND = { ...FAKE, name: 'ext-2' };

let test: TestApp;
let backend: FakeBackend;
beforeEach(async () => {
  const fake = await createFakeIssuer();
  backend = fake.backend;
  test = await startTestApp({}, { adapters: { ...ADAPTERS, fake: async () => fake.module } });
});
afterEach(() => test.close());

const mesh = (backends: readonly object[], more: object = {}) =>
  builtinMesh('default', { enabledBackend: 'ext', backends, ...more });
const put = (backends: readonly object[], more: object = {}, query = '') =>
  test.request('PUT', `/meshes/default${query}`, mesh(backends, more));
const isStored = async () => (await test.request('GET', '/meshes/default')).status === 200;
const secrets = async () => (await test.request('GET', '/meshes/default/secrets')).json.total;
const down = () => new IssuerUnavailableError('is down', { fix: 'start it' });
const denied = () => new IssuerDeniedError('may not sign', { fix: 'vault policy write x x.hcl' });

describe('PUT of a Mesh', () => {
  it('whose backend issues a good test certificate stores it, and the certificate shows nowhere', async () => {
    expect((await put([FAKE])).status).toBe(201);
    expect(backend.signs).toBe(1);
    expect((await test.ok('GET', '/meshes/default/dataplanes/_overview')).json.total).toBe(0);
    expect((await test.ok('GET', '/metrics')).text).not.toMatch(/mesh_ca_certificates_total\{[^}]*"ext"/);
  });

  it('whose backend fails is refused in the shape of Kuma, with the failed checks, and nothing is stored', async () => {
    backend.failure = denied();
    const { status, json } = await put([FAKE, { name: 'ca-1', type: 'builtin' }]);
    expect([status, json.code, json.retry, json.title, json.detail]).toEqual([
      400,
      'ERR_BACKEND_INVALID',
      false,
      'Failed to create a resource',
      'Resource is not valid',
    ]);
    expect(json.invalid_parameters).toEqual([
      { field: 'mtls.backends[0].conf', reason: expect.stringContaining('may not sign') },
    ]);
    expect(json.checks).toEqual([
      {
        backend: 'ext',
        name: 'certificate.issued',
        status: 'failed',
        durationMs: expect.any(Number),
        message: 'the backend refused to issue',
        cause: 'may not sign',
        fix: 'vault policy write x x.hcl',
      },
    ]);
    expect(json.fix).toBe('vault policy write x x.hcl');
    expect(await isStored()).toBe(false);
    // The CA of the builtin backend beside it was made to be tried, not to be kept.
    expect((await test.ok('PUT', '/meshes/default', { type: 'Mesh', name: 'default' })).status).toBe(201);
    expect(await secrets()).toBe(0);
  });

  it('may be tried again as it is when all that failed may pass by itself', async () => {
    backend.failure = down();
    const { json } = await put([FAKE, SECOND]);
    expect([json.retry, json.invalid_parameters?.length]).toEqual([true, 2]);
    backend.failure = undefined;
    expect((await put([FAKE, SECOND])).status).toBe(201);
  });

  it('with 64 backends proves 16 of them at once, and tells of every one that fails', async () => {
    let [open, most] = [0, 0];
    backend.onCall = async (call) => {
      if (call !== 'inspect') return;
      most = Math.max(most, ++open);
      await new Promise(setImmediate);
      open -= 1;
    };
    backend.failure = denied();
    const many = Array.from({ length: 64 }, (_, index) => ({ ...FAKE, name: index === 0 ? 'ext' : `ext-${index}` }));
    expect((await put(many)).json.invalid_parameters).toEqual(
      many.map((_, index) => expect.objectContaining({ field: `mtls.backends[${index}].conf` })),
    );
    expect(most).toBe(16);
  });

  it('with skipValidation is stored without a certificate, and proven once that is taken back', async () => {
    backend.failure = down();
    expect((await put([FAKE], { skipValidation: true })).status).toBe(201);
    expect(backend.signs).toBe(0);
    expect((await put([FAKE])).status).toBe(400);
    backend.failure = undefined;
    expect((await put([FAKE])).status).toBe(200);
  });

  it('that changes nothing costs no certificate, also while its backend is down', async () => {
    await put([FAKE]);
    backend.failure = down();
    expect((await put([FAKE], { backends: [{ conf: {}, type: 'fake', name: 'ext' }] })).status).toBe(200);
    expect(backend.signs).toBe(1);
  });

  it('that adds a backend proves that one only, so that a broken one can be replaced', async () => {
    await put([FAKE]);
    const { signs } = backend;
    expect((await put([FAKE, SECOND])).status).toBe(200);
    expect(backend.signs - signs).toBe(1);
  });

  it('that switches to a backend proves it once more', async () => {
    await put([FAKE, SECOND]);
    backend.failure = down();
    expect((await put([FAKE, SECOND], { enabledBackend: 'ext-2' })).status).toBe(400);
    expect((await test.ok('GET', '/meshes/default')).json.mtls?.enabledBackend).toBe('ext');
    expect((await put([FAKE, SECOND], { enabledBackend: '' })).status).toBe(200);
  });

  it('stores the very CA that was proven', async () => {
    const { json } = await test.ok('POST', '/_validate', builtinMesh('default'));
    expect(json.ok).toBe(true);
    await test.ok('PUT', '/meshes/default', builtinMesh('default'));
    expect(await secrets()).toBe(2);
    const pem = (await test.ok('GET', '/meshes/default/_trust-bundle')).text;
    const stored = await test.ok('GET', '/meshes/default/secrets/default.ca-builtin-cert-ca-1');
    expect(pem.trim()).toBe(Buffer.from(String(stored.json.data), 'base64').toString().trim());
  });

  it('tells warnings of the proof as warnings', async () => {
    backend.checks = [{ name: 'fake.ca-valid', status: 'warning', message: 'is about to end', durationMs: 1 }];
    const { status, json } = await put([FAKE]);
    expect([status, json.warnings]).toEqual([201, ['mtls.backends[0] ("ext"): fake.ca-valid: is about to end']]);
  });
});

describe('PUT with dryRun=true', () => {
  it('proves all backends and stores nothing, whether the Mesh is there or not', async () => {
    expect((await put([FAKE, { name: 'ca-1', type: 'builtin' }], {}, '?dryRun=true')).status).toBe(200);
    expect(await isStored()).toBe(false);
    expect(backend.signs).toBe(1);
    await put([FAKE]);
    expect((await put([FAKE], {}, '?dryRun=true')).status).toBe(200);
    expect(backend.signs).toBe(3);
    backend.failure = down();
    expect((await put([FAKE], {}, '?dryRun=true')).status).toBe(400);
  });

  it('of another kind checks and stores nothing', async () => {
    await put([FAKE]);
    const secret = { type: 'Secret', mesh: 'default', name: 's', data: 'eA==' };
    expect((await test.request('PUT', '/meshes/default/secrets/s?dryRun=true', secret)).status).toBe(200);
    expect((await test.request('PUT', '/meshes/default/secrets/s?dryRun=true', { ...secret, data: 1 })).status).toBe(
      400,
    );
    expect((await test.request('GET', '/meshes/default/secrets/s')).status).toBe(404);
  });

  it('takes nothing else than true or false', async () => {
    expect((await put([FAKE], {}, '?dryRun=yes')).status).toBe(400);
    expect(await isStored()).toBe(false);
  });
});

describe('the name of the test certificate', () => {
  it('is refused to data planes', async () => {
    await put([FAKE]);
    const issue = (name: string, service: string) =>
      test.request('POST', `/meshes/default/dataplanes/${name}/_certificate`, { tags: { 'kuma.io/service': service } });
    for (const answer of [await issue('mesh-ca-test', 'web'), await issue('web', 'mesh-ca-test')]) {
      expect([answer.status, answer.json.code]).toEqual([400, 'ERR_REQUEST_INVALID']);
      expect(answer.json.detail).toContain('mesh-ca-test');
    }
    expect((await issue('web', 'web')).status).toBe(201);
  });

  const NETWORKS: readonly { what: string; networking: object }[] = [
    {
      what: 'one of several services',
      networking: {
        inbound: ['web', 'mesh-ca-test'].map((service, index) => ({
          ...{ port: 8080 + index, tags: { 'kuma.io/service': service, 'kuma.io/protocol': 'tcp' } },
        })),
      },
    },
    { what: 'a gateway', networking: { gateway: { type: 'DELEGATED', tags: { 'kuma.io/service': 'mesh-ca-test' } } } },
  ];
  it.each(NETWORKS)('is refused to a stored data plane that has it as $what', async ({ networking }) => {
    await put([FAKE]);
    const name = 'sly';
    const spec = { type: 'Dataplane', mesh: 'default', name, networking: { address: '127.0.0.1', ...networking } };
    await test.ok('PUT', `/meshes/default/dataplanes/${name}`, spec);
    for (const call of ['_certificate', '_identity']) {
      const answer = await test.request('POST', `/meshes/default/dataplanes/${name}/${call}`, {});
      expect([answer.status, answer.json.code]).toEqual([400, 'ERR_REQUEST_INVALID']);
    }
    const stream = await fetch(`${test.app.address}/meshes/default/_certificates`, {
      ...{ method: 'POST', body: `${JSON.stringify({ dataplane: name })}\n` },
      headers: { 'content-type': 'application/x-ndjson' },
    });
    expect(await stream.text()).toContain('which is that of test certificates');
    expect(backend.signs).toBe(1);
  });

  it.each(['Mesh-CA-Test', 'mesh-ca-test.', 'mesh-ca-test2'])('is not that of a service %s', async (service) => {
    await put([FAKE]);
    const tags = { 'kuma.io/service': service };
    const answer = await test.request('POST', '/meshes/default/dataplanes/web/_certificate', { tags });
    const sans = JSON.parse(JSON.stringify(answer.json.uriSans ?? []));
    expect(sans).not.toContain('spiffe://default/mesh-ca-test');
    expect(sans).not.toContain('kuma://kuma.io/service/mesh-ca-test');
  });
});
