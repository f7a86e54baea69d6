import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

let test: TestApp;
beforeAll(async () => {
  test = await startTestApp();
});
afterAll(() => test.close());

const backends = (...names: string[]) =>
  names.map((name) => ({ name, type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } }));
const put = (mesh: string, names: readonly string[], enabledBackend = names[0]) =>
  test.ok('PUT', `/meshes/${mesh}`, builtinMesh(mesh, { backends: backends(...names), enabledBackend }));
const bundle = (mesh: string, headers: Record<string, string> = {}, query = '') =>
  test.request('GET', `/meshes/${mesh}/_trust-bundle${query}`, undefined, headers);

describe('a trust bundle', () => {
  it('is PEM by default, with its version as ETag, and holds the roots of ALL backends', async () => {
    await put('all', ['a', 'b', 'c']);
    const { status, headers, text } = await bundle('all');
    expect([status, headers.get('content-type'), headers.get('etag')]).toEqual([200, 'application/x-pem-file', '"1"']);
    const roots = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g) ?? [];
    expect(roots).toHaveLength(3);
    for (const root of roots) expect(new X509Certificate(root).ca).toBe(true);
  });

  it('tells as JSON which root belongs to which backend', async () => {
    await put('named', ['a', 'b']);
    const { json } = await bundle('named', { accept: 'application/json' });
    expect(json.version).toBe('1');
    expect([json.roots?.[0]?.backends?.[0], json.roots?.[1]?.backends?.[0]].sort()).toEqual(['a', 'b']);
    expect(json.roots?.[0]?.subject).toBe('CN=named,OU=Mesh,O=Kuma');
  });

  it('comes in the form that is wanted most', async () => {
    await put('formats', ['a']);
    const type = async (accept: string) => (await bundle('formats', { accept })).headers.get('content-type');
    expect(await type('application/spiffe+json;q=0.1, application/json;q=0.9')).toBe('application/json');
    expect(await type('application/json;q=0, */*;q=0.1')).toBe('application/x-pem-file');
  });

  it('is a SPIFFE bundle on demand', async () => {
    await put('spiffe', ['a']);
    const { json, headers } = await bundle('spiffe', { accept: 'application/spiffe+json' });
    expect(headers.get('content-type')).toBe('application/spiffe+json');
    expect(json).toMatchObject({
      spiffe_sequence: 1,
      keys: [{ use: 'x509-svid', kty: 'EC', crv: 'P-256', x5c: [expect.any(String)] }],
    });
  });

  it('keeps its version while its content stays, and the version grows when it changes', async () => {
    await put('versions', ['a']);
    expect((await bundle('versions')).headers.get('etag')).toBe('"1"');
    await put('versions', ['a']);
    expect((await bundle('versions')).headers.get('etag')).toBe('"1"');
    await put('versions', ['a', 'b']);
    expect((await bundle('versions')).headers.get('etag')).toBe('"2"');
    await put('versions', ['b']);
    expect((await bundle('versions')).headers.get('etag')).toBe('"3"');
  });

  it('answers 304 for a version that is known, at once or after the wait', async () => {
    await put('known', ['a']);
    await bundle('known');
    expect((await bundle('known', { 'if-none-match': '"1"' })).status).toBe(304);
    expect((await bundle('known', { 'if-none-match': '"1"' }, '?wait=50ms')).status).toBe(304);
    expect((await bundle('known', { 'if-none-match': '"9"' })).status).toBe(200);
  });

  it('wakes a long poll when a backend joins', async () => {
    await put('waiting', ['a']);
    await bundle('waiting');
    const waiting = bundle('waiting', { 'if-none-match': '"1"' }, '?wait=60s');
    await put('waiting', ['a', 'b']);
    const { status, headers } = await waiting;
    expect([status, headers.get('etag')]).toEqual([200, '"2"']);
  });

  it('of a mesh that is not there is 404', async () => {
    expect((await bundle('none')).status).toBe(404);
  });
});

describe('a backend that joins', () => {
  it('changes the bundle only: no data plane gets another certificate, however it asks', async () => {
    await put('joined', ['a']);
    await test.ok('PUT', '/meshes/joined/dataplanes/web', dataplane('joined', 'web', { 'kuma.io/service': 'web' }));
    const names = { uriSans: ['spiffe://joined/web', 'kuma://kuma.io/service/web'], dnsNames: [], commonName: '' };
    const csr = encodePem('CERTIFICATE REQUEST', createCsr(await generateKeyPair('EC-P256'), names));
    const issue = async (body: object) => {
      const { json } = await test.ok('POST', '/meshes/joined/dataplanes/web/_certificate', body);
      const bundle = String(json.trustBundle?.pem).split('BEGIN').length - 1;
      return { outcome: json.outcome, certificate: json.certificate, trustBundle: json.trustBundle, bundle };
    };
    const first = await issue({ csr });
    expect(first).toMatchObject({ outcome: 'issued', bundle: 1, trustBundle: { version: '1' } });
    for (const [version, ...all] of [
      ['2', 'a', 'b'],
      ['3', 'a', 'b', 'c'],
      ['4', 'a', 'c'],
    ] as const) {
      await put('joined', all);
      const wanted = { certificate: first.certificate, bundle: all.length, trustBundle: { version } };
      expect(await issue({ csr })).toMatchObject({ ...wanted, outcome: 'reused' });
      expect(await issue({ csr, current: first.certificate })).toMatchObject({ ...wanted, outcome: 'kept' });
    }
    const { json } = await test.ok('GET', '/meshes/joined/dataplanes/web/_overview');
    expect(json.dataplaneInsight?.mTLS).toMatchObject({ certificateRegenerations: 1, issuedBackend: 'a' });
  });
});

describe('the statement of a data plane', () => {
  const overview = async (mesh: string, name: string) =>
    (await test.ok('GET', `/meshes/${mesh}/dataplanes/${name}/_overview`)).json;

  it('becomes supportedBackends; being sent a bundle does not', async () => {
    await put('stated', ['a', 'b']);
    await test.ok('PUT', '/meshes/stated/dataplanes/web', dataplane('stated', 'web', { 'kuma.io/service': 'web' }));
    await test.ok('POST', '/meshes/stated/dataplanes/web/_certificate', {});
    await test.ok('GET', '/meshes/stated/dataplanes/web/_trust-bundle');
    const before = await overview('stated', 'web');
    expect(before.dataplaneInsight?.mTLS).toEqual({
      certificateExpirationTime: expect.any(String),
      lastCertificateRegeneration: expect.any(String),
      certificateRegenerations: 1,
      issuedBackend: 'a',
    });
    const stated = await test.request('GET', '/meshes/stated/dataplanes/web/_trust-bundle', undefined, {
      'if-none-match': '"1"',
    });
    expect(stated.status).toBe(304);
    expect((await overview('stated', 'web')).dataplaneInsight?.mTLS?.supportedBackends).toEqual(['a', 'b']);
  });

  it('about a version that was never given out proves nothing', async () => {
    await put('liar', ['a']);
    await test.ok('PUT', '/meshes/liar/dataplanes/web', dataplane('liar', 'web', { 'kuma.io/service': 'web' }));
    await test.ok('POST', '/meshes/liar/dataplanes/web/_certificate', {});
    await test.request('GET', '/meshes/liar/dataplanes/web/_trust-bundle', undefined, { 'if-none-match': '"7"' });
    expect((await overview('liar', 'web')).dataplaneInsight?.mTLS?.supportedBackends).toBeUndefined();
  });

  it('is counted with the certificates in the overview', async () => {
    await put('counted', ['a']);
    await test.ok('PUT', '/meshes/counted/dataplanes/web', dataplane('counted', 'web', { 'kuma.io/service': 'web' }));
    for (let count = 0; count < 3; count += 1) await test.ok('POST', '/meshes/counted/dataplanes/web/_certificate', {});
    const { json } = await test.ok('GET', '/meshes/counted/dataplanes/_overview');
    expect(json.items?.[0]?.dataplaneInsight?.mTLS?.certificateRegenerations).toBe(3);
    expect(json.items?.[0]?.type).toBe('DataplaneOverview');
  });

  it('and certificate of a data plane that nobody registered are shown, too, after those that are', async () => {
    await put('tags-only', ['a']);
    await test.ok('PUT', '/meshes/tags-only/dataplanes/z', dataplane('tags-only', 'z', { 'kuma.io/service': 'z' }));
    for (const name of ['b', 'a']) {
      await test.ok('POST', `/meshes/tags-only/dataplanes/${name}/_certificate`, { tags: { 'kuma.io/service': name } });
    }
    expect((await overview('tags-only', 'a')).dataplaneInsight?.mTLS?.issuedBackend).toBe('a');
    const page = async (query: string) => {
      const { json } = await test.ok('GET', `/meshes/tags-only/dataplanes/_overview?${query}`);
      return [json.total, json.items?.[0]?.name, json.items?.[1]?.name, json.items?.[2]?.name];
    };
    expect(await page('')).toEqual([3, 'z', 'a', 'b']);
    expect(await page('size=2')).toEqual([3, 'z', 'a', undefined]);
    expect(await page('size=2&offset=2')).toEqual([3, 'b', undefined, undefined]);
    expect((await test.request('GET', '/meshes/tags-only/dataplanes/none/_overview')).status).toBe(404);
  });
});

describe('a data plane is online', () => {
  const isOnline = async (app: TestApp, name: string) => {
    const { json } = await app.ok('GET', `/meshes/seen/dataplanes/${name}/_overview`);
    const subscription = json.dataplaneInsight?.subscriptions?.[0];
    return subscription === undefined ? undefined : subscription.disconnectTime === undefined;
  };
  const ask = (app: TestApp, name: string, headers: Record<string, string> = {}, query = '') =>
    app.request('GET', `/meshes/seen/dataplanes/${name}/_trust-bundle${query}`, undefined, headers);
  let offset = 0;
  let own: TestApp;
  beforeAll(async () => {
    const clock = { ...systemClock, now: () => new Date(Date.now() + offset) };
    own = await startTestApp({}, { clock });
    await own.ok('PUT', '/meshes/seen', builtinMesh('seen'));
    for (const name of ['poller', 'asker']) {
      await own.ok('PUT', `/meshes/seen/dataplanes/${name}`, dataplane('seen', name, { 'kuma.io/service': name }));
    }
  });
  afterAll(() => own.close());

  it('for as long as it holds a poll, and for a while after it', async () => {
    await ask(own, 'poller');
    const leave = new AbortController();
    const poll = fetch(`${own.app.address}/meshes/seen/dataplanes/poller/_trust-bundle?wait=300s`, {
      headers: { 'if-none-match': '"1"' },
      signal: leave.signal,
    }).catch(() => {});
    await expect
      .poll(async () => (await own.ok('GET', '/meshes/seen/dataplanes/poller/_overview')).text)
      .toContain('subscriptions');
    offset = 290_000;
    await ask(own, 'asker');
    offset = 310_000;
    expect([await isOnline(own, 'poller'), await isOnline(own, 'asker')]).toEqual([true, true]);
    offset = 600_000;
    expect([await isOnline(own, 'poller'), await isOnline(own, 'asker')]).toEqual([true, false]);
    leave.abort();
    await poll;
    await expect
      .poll(async () => {
        offset += 301_000;
        return isOnline(own, 'poller');
      })
      .toBe(false);
  });

  it('also when what it asks for is refused', async () => {
    await ask(own, 'asker');
    offset += 1_000_000;
    expect(await isOnline(own, 'asker')).toBe(false);
    const { status } = await own.request('POST', '/meshes/seen/dataplanes/asker/_certificate', { csr: 'garbage' });
    expect([status, await isOnline(own, 'asker')]).toEqual([400, true]);
  });
});
