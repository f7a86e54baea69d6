import { createPublicKey, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair, type KeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

const NOBODY = { uriSans: [], dnsNames: [], commonName: '' };
const WEB = { 'kuma.io/service': 'web', version: 'v1' };

let test: TestApp;
let key: KeyPair;
let csr: string;
beforeAll(async () => {
  test = await startTestApp();
  await test.ok('PUT', '/meshes/default', builtinMesh('default'));
  key = await generateKeyPair('EC-P256');
  csr = encodePem('CERTIFICATE REQUEST', createCsr(key, NOBODY));
});
afterAll(() => test.close());

const issue = (name: string, body?: object, mesh = 'default') =>
  test.request('POST', `/meshes/${mesh}/dataplanes/${name}/_certificate`, body);

describe('a certificate for a CSR', () => {
  it('carries the identity of the tags, whatever the CSR says, and the key of the CSR', async () => {
    const liar = encodePem(
      'CERTIFICATE REQUEST',
      createCsr(key, { uriSans: ['spiffe://default/admin'], dnsNames: ['admin'], commonName: 'admin' }),
    );
    const { status, json } = await issue('web-1', {
      csr: liar,
      tags: { ...WEB, 'kuma.io/service': ['web', 'web-api'] },
    });
    expect(status).toBe(201);
    expect(json).toMatchObject({
      mesh: 'default',
      dataplane: 'web-1',
      backend: 'ca-1',
      type: 'builtin',
      outcome: 'issued',
      caChain: [],
      commonName: '',
      uriSans: [
        'spiffe://default/web',
        'spiffe://default/web-api',
        'kuma://kuma.io/service/web',
        'kuma://kuma.io/service/web-api',
        'kuma://version/v1',
      ],
    });
    expect(json.privateKey).toBeUndefined();
    const leaf = new X509Certificate(String(json.certificate));
    expect(leaf.subject).toBeFalsy();
    expect(leaf.publicKey.equals(createPublicKey({ key: key.spkiDer, format: 'der', type: 'spki' }))).toBe(true);
    const root = new X509Certificate(String(json.trustBundle?.pem));
    expect(leaf.checkIssued(root) && leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.serialNumber.toLowerCase()).toBe(json.serialNumber);
  });

  it('is the same one again while it stands', async () => {
    const first = await issue('same', { csr, tags: WEB });
    const second = await issue('same', { csr, tags: WEB });
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(second.json).toEqual({ ...first.json, outcome: 'reused' });
  });

  it.each([
    { why: 'the tags changed', change: { tags: { ...WEB, version: 'v2' } } },
    { why: 'force is set', change: { force: true } },
    { why: 'the key changed', change: { csr: 'other' } },
  ])('is a new one when $why', async ({ why, change }) => {
    const name = `new-${why.replaceAll(' ', '-')}`;
    const other = encodePem('CERTIFICATE REQUEST', createCsr(await generateKeyPair('EC-P256'), NOBODY));
    const first = await issue(name, { csr, tags: WEB });
    const second = await issue(name, {
      csr,
      tags: WEB,
      ...change,
      ...(change.csr === undefined ? {} : { csr: other }),
    });
    expect(second.status).toBe(201);
    expect(second.json.serialNumber).not.toBe(first.json.serialNumber);
  });

  it('is made once for equal requests at the same time', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => issue('joined', { csr, tags: WEB })));
    expect(new Set(answers.map(({ json }) => json.serialNumber)).size).toBe(1);
  });

  it.each(['RSA-2048', 'EC-P384'] as const)('takes a key of type %s', async (type) => {
    const pair = await generateKeyPair(type);
    const { status, json } = await issue(`key-${type.toLowerCase()}`, {
      csr: encodePem('CERTIFICATE REQUEST', createCsr(pair, NOBODY)),
      tags: WEB,
    });
    expect([status, json.outcome]).toEqual([201, 'issued']);
  });
});

describe('current', () => {
  it('is kept while it stands, with or without a CSR', async () => {
    const { json } = await issue('current', { csr, tags: WEB });
    for (const body of [
      { current: json.certificate, tags: WEB },
      { current: json.certificate, csr, tags: WEB },
    ]) {
      const again = await issue('current', body);
      expect([again.status, again.json.outcome, again.json.serialNumber]).toEqual([200, 'kept', json.serialNumber]);
    }
  });

  it('that mesh-ca has no record of is adopted when it proves itself', async () => {
    const { json } = await issue('adopted', { csr, tags: WEB });
    // The record is of the data plane's name: under another name the certificate is unknown.
    const adopted = await issue('adopted-elsewhere', { current: json.certificate, tags: WEB });
    expect([adopted.status, adopted.json.outcome, adopted.json.serialNumber]).toEqual([200, 'kept', json.serialNumber]);
  });

  it('of another identity, or of another CA, is replaced', async () => {
    const { json } = await issue('mine', { csr, tags: WEB });
    expect(
      (await issue('other', { current: json.certificate, csr, tags: { 'kuma.io/service': 'other' } })).status,
    ).toBe(201);
    await test.ok('PUT', '/meshes/foreign', builtinMesh('foreign'));
    const foreign = await issue('mine', { csr, tags: WEB }, 'foreign');
    expect((await issue('mine-2', { current: foreign.json.certificate, csr, tags: WEB })).json.outcome).toBe('issued');
  });

  it('that is no certificate is refused, not passed over', async () => {
    const { status, json } = await issue('garbage', { current: 'garbage', tags: WEB });
    expect([status, json.code, json.invalid_parameters?.[0]?.field]).toEqual([400, 'ERR_REQUEST_INVALID', 'current']);
  });
});

describe('without a CSR', () => {
  it('a key pair is made, and another one at the next time, because keys are not stored', async () => {
    const first = await issue('keyed', { tags: WEB });
    const second = await issue('keyed', { tags: WEB });
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(first.json.privateKey).toMatch(/^-----BEGIN PRIVATE KEY-----/);
    expect(second.json.privateKey).not.toBe(first.json.privateKey);
    expect(
      new X509Certificate(String(first.json.certificate)).publicKey.equals(
        createPublicKey(String(first.json.privateKey)),
      ),
    ).toBe(true);
    expect(test.log.join('')).not.toContain('PRIVATE KEY');
  });
});

describe('tags', () => {
  it('come from the Dataplane when the request has none, with its zone', async () => {
    await test.ok(
      'PUT',
      '/meshes/default/dataplanes/stored',
      dataplane('default', 'stored', { 'kuma.io/service': 'stored' }),
    );
    const { json } = await issue('stored', { csr });
    expect(json.uriSans).toEqual([
      'spiffe://default/stored',
      'kuma://kuma.io/service/stored',
      'kuma://kuma.io/zone/default',
    ]);
  });

  it('have to come from somewhere', async () => {
    const { status, json } = await issue('nowhere', { csr });
    expect([status, json.code, json.invalid_parameters?.[0]?.field]).toEqual([400, 'ERR_REQUEST_INVALID', 'tags']);
  });
});

describe('the lifetime', () => {
  it('is that of dpCert, and renewal is due between 3/4 and 4/5 of it', async () => {
    const mesh = 'lifetime';
    const spec = {
      name: 'ca-1',
      type: 'builtin',
      dpCert: { rotation: { expiration: '10h' } },
      conf: { caCert: { keyType: 'EC-P256' } },
    };
    await test.ok('PUT', `/meshes/${mesh}`, builtinMesh(mesh, { backends: [spec] }));
    const { json } = await issue('web', { csr, tags: WEB }, mesh);
    const [from, to, due] = [json.notBefore, json.notAfter, json.renewAt].map((text) => Date.parse(String(text)));
    expect((to ?? 0) - (from ?? 0)).toBe(10 * 3600_000 + 10_000);
    expect(due).toBeGreaterThan((from ?? 0) + 10_000 + 7.4 * 3600_000);
    expect(due).toBeLessThanOrEqual((from ?? 0) + 11_000 + 8 * 3600_000);
  });

  it('of a changed dpCert makes a certificate due; another backend, mode or time-out does not', async () => {
    const mesh = 'changes';
    const spec = { name: 'ca-1', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } };
    const put = (...backends: object[]) => test.ok('PUT', `/meshes/${mesh}`, builtinMesh(mesh, { backends }));
    await put(spec);
    const first = await issue('web', { csr, tags: WEB }, mesh);
    await put({ ...spec, mode: 'PERMISSIVE', rootChain: { requestTimeout: '3s' } }, { ...spec, name: 'ca-2' });
    const second = await issue('web', { csr, tags: WEB }, mesh);
    expect([second.json.outcome, second.json.serialNumber]).toEqual(['reused', first.json.serialNumber]);
    expect(Number(second.json.trustBundle?.version)).toBeGreaterThan(Number(first.json.trustBundle?.version));
    await put({ ...spec, dpCert: { rotation: { expiration: '2d' } } }, { ...spec, name: 'ca-2' });
    expect((await issue('web', { csr, tags: WEB }, mesh)).json.outcome).toBe('issued');
  });

  it('starts anew under another enabledBackend', async () => {
    const mesh = 'switch';
    const backends = ['ca-1', 'ca-2'].map((name) => ({
      name,
      type: 'builtin',
      conf: { caCert: { keyType: 'EC-P256' } },
    }));
    await test.ok('PUT', `/meshes/${mesh}`, builtinMesh(mesh, { backends }));
    await issue('web', { csr, tags: WEB }, mesh);
    await test.ok('PUT', `/meshes/${mesh}`, builtinMesh(mesh, { backends, enabledBackend: 'ca-2' }));
    expect((await issue('web', { csr, tags: WEB }, mesh)).json).toMatchObject({ outcome: 'issued', backend: 'ca-2' });
  });
});

describe('many at once', () => {
  it('are answered a line each, mistakes too, in any order', async () => {
    const lines = [
      ...Array.from({ length: 40 }, (_, index) => JSON.stringify({ dataplane: `many-${index}`, csr, tags: WEB })),
      '{"dataplane": "bad", "csr": "x", "tags": {"kuma.io/service": "a"}}',
      'no json',
      '',
      '{"dataplane": "typo", "tagz": {}}',
    ];
    const { status, headers, text } = await test.request('POST', '/meshes/default/_certificates', lines.join('\n'), {
      'content-type': 'application/x-ndjson',
    });
    expect([status, headers.get('content-type')]).toEqual([200, 'application/x-ndjson']);
    const answers = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(answers.filter(({ outcome }) => outcome === 'issued')).toHaveLength(40);
    const errors = answers.filter(({ error }) => error !== undefined);
    expect(errors.map(({ dataplane: name, error }) => [name, error.code]).sort()).toEqual([
      ['', 'ERR_REQUEST_INVALID'],
      ['bad', 'ERR_REQUEST_INVALID'],
      ['typo', 'ERR_REQUEST_INVALID'],
    ]);
  });
});

describe('_identity', () => {
  it('tells what a CSR should carry', async () => {
    const { status, json } = await test.request('POST', '/meshes/default/dataplanes/web/_identity', { tags: WEB });
    expect(status).toBe(200);
    expect(json).toMatchObject({
      uriSans: ['spiffe://default/web', 'kuma://kuma.io/service/web', 'kuma://version/v1'],
      dnsNames: [],
      commonName: '',
      signsCsrAsIs: false,
    });
    expect(json.keyTypes).toContain('EC-P256');
  });
});

describe('mTLS off', () => {
  it('is told as such', async () => {
    await test.ok('PUT', '/meshes/plain', { type: 'Mesh', name: 'plain' });
    const { status, json } = await issue('web', { csr, tags: WEB }, 'plain');
    expect([status, json.code]).toEqual([400, 'ERR_REQUEST_INVALID']);
    expect(json.detail).toBe('mTLS is off in mesh "plain"');
  });
});
