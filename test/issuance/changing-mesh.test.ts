import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createFakeCa, createFakeIssuer, type FakeBackend } from '../fakes/fake-issuer.ts';
import { builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

const NOBODY = { uriSans: [], dnsNames: [], commonName: '' };
const TAGS = { 'kuma.io/service': 'web' };
const EXT = { name: 'ext', type: 'fake', conf: {}, rootChain: { requestTimeout: '600s' } };
const LOCAL = { name: 'ca-1', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } };

let test: TestApp;
let backend: FakeBackend;
let csr: string;
beforeEach(async () => {
  const fake = await createFakeIssuer();
  backend = fake.backend;
  test = await startTestApp({ requestTimeout: '10s' }, { adapters: { ...ADAPTERS, fake: async () => fake.module } });
  csr = encodePem('CERTIFICATE REQUEST', createCsr(await generateKeyPair('EC-P256'), NOBODY));
});
afterEach(() => test.close());

const put = (enabledBackend: string, ...backends: object[]) =>
  test.ok('PUT', '/meshes/default', builtinMesh('default', { enabledBackend, backends, skipValidation: true }));
const issue = (name: string, body: object = {}) =>
  test.request('POST', `/meshes/default/dataplanes/${name}/_certificate`, { csr, tags: TAGS, ...body });
const putSecret = () =>
  test.ok('PUT', '/meshes/default/secrets/any', { type: 'Secret', mesh: 'default', name: 'any', data: 'AA==' });

describe('a backend that hangs, beside the one that issues', () => {
  // Its limit is ten minutes: whatever waits for it does not come back within this test.
  it('holds up no certificate, not at first, not after a change, not after a Secret was put', async () => {
    backend.onCall = () => new Promise(() => {});
    await put('ca-1', LOCAL, EXT);
    expect((await issue('web')).status).toBe(201);
    await putSecret();
    expect((await issue('web')).json.outcome).toBe('reused');
    await put('ca-1', LOCAL, { ...EXT, mode: 'PERMISSIVE' });
    expect((await issue('web')).json.outcome).toBe('reused');
  });

  it('joins the bundle when it comes back', async () => {
    let back: () => void = () => {};
    const down = new Promise<void>((resolve) => {
      back = resolve;
    });
    backend.onCall = () => down;
    await put('ca-1', LOCAL, EXT);
    const first = await issue('web');
    const poll = test.request('GET', '/meshes/default/_trust-bundle?wait=60s', undefined, {
      'if-none-match': `"${first.json.trustBundle?.version}"`,
    });
    back();
    const { status, text } = await poll;
    expect([status, text.match(/BEGIN/g)?.length]).toEqual([200, 2]);
  });
});

describe('a backend that fails', () => {
  it('is not asked for its roots by everybody who wants the bundle', async () => {
    backend.failure = new IssuerUnavailableError('is down');
    await put('ext', EXT);
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => test.request('GET', '/meshes/default/_trust-bundle')),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    for (let count = 0; count < 10; count += 1) await test.request('GET', '/meshes/default/_trust-bundle');
    expect(backend.bundleReads).toBeLessThanOrEqual(2);
  });

  it('gets nothing expired served in its place', async () => {
    await put('ext', EXT);
    backend.twist = () => ({ ttlSeconds: 32 });
    expect((await issue('web')).status).toBe(201);
    backend.onCall = async (call) => {
      if (call !== 'sign') return;
      await sleep(2500);
      throw new IssuerUnavailableError('is down');
    };
    const { status, json } = await issue('web', { force: true });
    expect([status, json.code]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE']);
  });

  it('has one deadline for all calls of a certificate together', async () => {
    await put('ext', { ...EXT, dpCert: { rotation: { expiration: '1d' }, requestTimeout: '0.5s' } });
    await test.ok('GET', '/meshes/default/_trust-bundle');
    backend.onCall = () => sleep(300);
    const { status, json } = await issue('web');
    expect([status, json.detail]).toEqual([503, 'issuer(fake ext): no answer within 500 ms']);
  });
});

describe('a mesh that is changed while it issues', () => {
  it('gives no certificate whose root is not in the bundle: the new backend issues instead', async () => {
    await put('ext', EXT, LOCAL);
    await test.ok('GET', '/meshes/default/_trust-bundle');
    let open: () => void = () => {};
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    const waiting = issue('web');
    await expect.poll(() => backend.signs).toBe(1);
    backend.ca = await createFakeCa('a root that nobody has seen');
    await put('ca-1', LOCAL);
    open();
    const { status, json } = await waiting;
    expect([status, json.outcome, json.backend]).toEqual([201, 'issued', 'ca-1']);
  });

  it('does not let a long-lived certificate stand that dpCert allows no more', async () => {
    await put('ca-1', LOCAL);
    const long = await issue('web');
    await put('ca-1', { ...LOCAL, dpCert: { rotation: { expiration: '1h' } } });
    expect((await issue('unknown', { current: long.json.certificate })).json.outcome).toBe('issued');
    expect((await issue('web', { current: long.json.certificate })).json.outcome).toBe('issued');
  });

  it('leaves no series of a Mesh that was refused', async () => {
    const backends = [EXT, LOCAL, { name: 'bad', type: 'provided', conf: {} }];
    expect((await test.request('PUT', '/meshes/refused', builtinMesh('refused', { backends }))).status).toBe(400);
    expect((await test.request('GET', '/metrics')).text).not.toContain('"refused"');
    expect(backend.created - backend.closed).toBe(0);
  });
});

describe('supportedBackends', () => {
  const supported = async () =>
    (await test.ok('GET', '/meshes/default/dataplanes/web/_overview')).json.dataplaneInsight?.mTLS?.supportedBackends;
  const state = (version: unknown) =>
    test.request('GET', '/meshes/default/dataplanes/web/_trust-bundle', undefined, { 'if-none-match': `"${version}"` });

  it('needs every root that the backend has today', async () => {
    await put('ext', EXT, LOCAL);
    await test.ok('PUT', '/meshes/default/dataplanes/web', dataplane('default', 'web', TAGS));
    const { json } = await issue('web');
    await state(json.trustBundle?.version);
    expect(await supported()).toEqual(['ca-1', 'ext']);
    backend.ca = await createFakeCa('a new root');
    const next = await issue('other');
    expect(await supported()).toEqual(['ca-1']);
    await state(next.json.trustBundle?.version);
    expect(await supported()).toEqual(['ca-1', 'ext']);
  });
});

describe('stopping', () => {
  it('answers a first request that waits for its backend', async () => {
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    backend.onCall = (call) => (call === 'trustBundle' ? gate : undefined);
    await put('ext', EXT);
    const waiting = issue('web');
    await expect.poll(() => backend.bundleReads).toBe(1);
    const closing = test.app.close();
    open();
    expect((await waiting).status).toBe(201);
    await closing;
  });

  it('ends long polls at once', async () => {
    await put('ca-1', LOCAL);
    await test.ok('GET', '/meshes/default/_trust-bundle');
    const poll = test.request('GET', '/meshes/default/_trust-bundle?wait=300s', undefined, { 'if-none-match': '"1"' });
    await test.ok('GET', '/healthz');
    await test.app.close();
    expect((await poll).status).toBe(304);
  });
});

describe('a certificate that was asked for before another backend was enabled', () => {
  it('is not handed out: the old roots may go before it is used', async () => {
    await put('ext', EXT, LOCAL);
    let open: () => void = () => {};
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    const asked = issue('web');
    await expect.poll(() => backend.signs).toBe(1);
    await put('ca-1', EXT, LOCAL);
    open();
    const { status, json } = await asked;
    expect([status, json.backend]).toEqual([201, 'ca-1']);
    expect((await issue('web')).json).toMatchObject({ outcome: 'reused', backend: 'ca-1' });
  });

  it('is, when the backend has changed in what does not concern it', async () => {
    await put('ext', EXT);
    let open: () => void = () => {};
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    const asked = issue('web');
    await expect.poll(() => backend.signs).toBe(1);
    await put('ext', { ...EXT, mode: 'PERMISSIVE' }, LOCAL);
    open();
    expect((await asked).json.backend).toBe('ext');
    expect(backend.signs).toBe(1);
  });
});
