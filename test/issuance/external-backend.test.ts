import { createPublicKey } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import {
  ConfigError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair, type KeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createFakeCa, createFakeIssuer, type FakeBackend } from '../fakes/fake-issuer.ts';
import { builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

const NOBODY = { uriSans: [], dnsNames: [], commonName: '' };
const TAGS = { 'kuma.io/service': 'web' };
const FAKE = { name: 'ext', type: 'fake', conf: {} };

let test: TestApp;
let backend: FakeBackend;
let key: KeyPair;
let csr: string;
beforeEach(async () => {
  const fake = await createFakeIssuer();
  backend = fake.backend;
  test = await startTestApp({ requestTimeout: '1s' }, { adapters: { ...ADAPTERS, fake: async () => fake.module } });
  key = await generateKeyPair('EC-P256');
  csr = encodePem('CERTIFICATE REQUEST', createCsr(key, NOBODY));
  await useBackends(FAKE);
});
afterEach(() => test.close());

const useBackends = (...backends: object[]) =>
  test.ok('PUT', '/meshes/default', builtinMesh('default', { enabledBackend: 'ext', backends, skipValidation: true }));
const issue = (name: string, body: object = {}) =>
  test.request('POST', `/meshes/default/dataplanes/${name}/_certificate`, { csr, tags: TAGS, ...body });
const down = (retryAfterMs?: number) =>
  new IssuerUnavailableError('is down', retryAfterMs === undefined ? {} : { retryAfterMs });

describe('calls to the backend', () => {
  it('are made once for equal requests at the same time, and never for a certificate that stands', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => issue('web')));
    expect(new Set(answers.map(({ json }) => json.serialNumber)).size).toBe(1);
    await Promise.all(Array.from({ length: 30 }, () => issue('web')));
    expect(backend.signs).toBe(1);
  });

  it('are one for one certificate, also when it fails', async () => {
    backend.gate = Promise.resolve();
    backend.bend = () => {
      throw down();
    };
    expect((await issue('web')).status).toBe(503);
    expect(backend.signs).toBe(1);
  });

  it('are two when the first taught which key the backend wants', async () => {
    // Making an RSA key counts into the deadline, and takes its time.
    await useBackends({ ...FAKE, dpCert: { rotation: { expiration: '1d' }, requestTimeout: '20s' } });
    backend.onlyKeyType = 'RSA-2048';
    const { status, json } = await issue('web', { csr: undefined });
    expect([status, createPublicKey(String(json.privateKey)).asymmetricKeyType, backend.signs]).toEqual([
      201,
      'rsa',
      2,
    ]);
    expect((await issue('web-2', { csr: undefined })).status).toBe(201);
    expect(backend.signs).toBe(3);
  });

  it('are one for a CSR whose key the backend does not take', async () => {
    backend.onlyKeyType = 'RSA-2048';
    expect((await issue('web')).status).toBe(400);
    expect(backend.signs).toBe(1);
  });

  it('end at the deadline, and the caller is told to try again', async () => {
    backend.gate = new Promise(() => {});
    const { status, json } = await issue('web');
    expect([status, json.code, json.retry]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE', true]);
    expect(json.detail).toBe('issuer(fake ext): no answer within 1000 ms');
  });

  it('of a mesh with requestTimeout end at that', async () => {
    await useBackends({ ...FAKE, dpCert: { rotation: { expiration: '1d' }, requestTimeout: '0.2s' } });
    backend.gate = new Promise(() => {});
    expect((await issue('web')).json.detail).toBe('issuer(fake ext): no answer within 200 ms');
  });

  it('are not given up when one of several callers leaves', async () => {
    let open: () => void = () => {};
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    const leaver = new AbortController();
    const left = fetch(`${test.app.address}/meshes/default/dataplanes/web/_certificate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ csr, tags: TAGS }),
      signal: leaver.signal,
    }).catch(() => 'left');
    await until(() => backend.signs === 1);
    const stayer = issue('web');
    leaver.abort();
    open();
    expect(await left).toBe('left');
    // 200 when the second caller came so late that the certificate was recorded already.
    expect([200, 201]).toContain((await stayer).status);
    expect(backend.signs).toBe(1);
  });
});

describe('while the backend fails', () => {
  it('a certificate that is due is served stale, if it is for the same holder and key', async () => {
    const first = await issue('web');
    backend.failure = down(7_000);
    const { status, json } = await issue('web', { force: true });
    expect([status, json.outcome, json.serialNumber, json.retryAfterSeconds]).toEqual([
      200,
      'stale',
      first.json.serialNumber,
      7,
    ]);
  });

  it.each([
    { name: 'another identity', body: { tags: { 'kuma.io/service': 'other' } } },
    { name: 'no CSR: the key is not stored', body: { csr: undefined } },
  ])('nothing stale is served for $name', async ({ body }) => {
    await issue('web');
    backend.failure = down();
    const { status, json } = await issue('web', { force: true, ...body });
    expect([status, json.code, json.retry]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE', true]);
  });

  it.each([
    { name: 'refuses our credentials', failure: new IssuerDeniedError('refuses') },
    { name: 'lost its secret', failure: new ConfigError('could not load data') },
    { name: 'talks nonsense', failure: new IssuerResponseError('is garbage') },
  ])('a certificate is served stale also when it $name', async ({ failure }) => {
    await issue('web');
    backend.failure = failure;
    expect((await issue('web', { force: true })).json.outcome).toBe('stale');
  });

  it('nothing stale is served for a mistake of the caller', async () => {
    await issue('web');
    backend.failure = new RequestInvalidError('takes no such key');
    expect((await issue('web', { force: true })).status).toBe(400);
  });

  it('who may try again is told when', async () => {
    backend.failure = down();
    const { headers, json } = await issue('nobody');
    expect([json.retry, headers.get('retry-after')]).toEqual([true, String(json.retryAfterSeconds)]);
    expect([4, 5]).toContain(json.retryAfterSeconds);
  });

  it('Retry-After is passed on', async () => {
    await issue('web');
    backend.failure = new RateLimitedError('throttles', { retryAfterMs: 1_500 });
    const { status, headers, json } = await issue('other');
    expect([status, headers.get('retry-after'), json.retryAfterSeconds]).toEqual([429, '2', 2]);
  });

  it('what it said unexpectedly is not told to callers', async () => {
    await issue('web');
    backend.failure = new Error('token hvs.CAESIJ0123456789abcdefghij at /secret/path');
    const { status, text, json } = await issue('other');
    expect([status, json.detail]).toEqual([500, 'Internal Server Error']);
    expect(text).not.toMatch(/hvs\.|secret/);
    expect(test.log.join('')).not.toContain('hvs.CAESIJ0123456789abcdefghij');
    expect(test.log.join('')).toContain(String(json.instance));
  });
});

describe('an answer of the backend that no proxy would accept', () => {
  const WRONG: readonly { name: string; says: RegExp; make(): Promise<void> | void }[] = [
    {
      name: 'is for another key',
      says: /key/,
      async make() {
        const other = await generateKeyPair('EC-P256');
        backend.twist = () => ({ spkiDer: other.spkiDer });
      },
    },
    {
      name: 'has one SAN more',
      says: /SAN|URI/,
      make() {
        backend.twist = ({ identity }) => ({
          identity: { ...identity, uriSans: [...identity.uriSans, 'spiffe://default/admin'] },
        });
      },
    },
    {
      name: 'has a common name that nobody asked for',
      says: /common name/,
      make() {
        backend.twist = ({ identity }) => ({ identity: { ...identity, commonName: 'admin' } });
      },
    },
    {
      name: 'is signed by a CA that is not its root',
      says: /./,
      async make() {
        const foreign = await createFakeCa('fake root');
        backend.bend = (issued) => ({ ...issued, roots: [foreign.certificate.der] });
      },
    },
    {
      name: 'is garbage',
      says: /cannot be read/,
      make() {
        backend.bend = (issued) => ({ ...issued, leaf: Buffer.from('garbage') });
      },
    },
    {
      name: 'has expired',
      says: /^issuer\(fake ext\): .*ended at/,
      make() {
        backend.twist = () => ({ ttlSeconds: 10 });
      },
    },
    {
      name: 'is a CA',
      says: /CA/,
      make() {
        backend.bend = (issued) => ({ ...issued, leaf: backend.ca.certificate.der });
      },
    },
  ];

  it.each(WRONG)('because it $name is refused and not stored', async ({ says, make }) => {
    await make();
    const { status, json } = await issue('web');
    expect([status, json.code]).toEqual([502, 'ERR_ISSUER_RESPONSE']);
    expect(String(json.detail)).toMatch(says);
    await test.ok('PUT', '/meshes/default/dataplanes/web', dataplane('default', 'web', TAGS));
    expect(
      (await test.ok('GET', '/meshes/default/dataplanes/web/_overview')).json.dataplaneInsight?.mTLS,
    ).toBeUndefined();
  });
});

describe('the trust bundle', () => {
  const roots = async () => {
    const { json } = await test.request('GET', '/meshes/default/_trust-bundle', undefined, {
      accept: 'application/json',
    });
    return {
      version: json.version,
      count: [json.roots?.[0], json.roots?.[1], json.roots?.[2]].filter((root) => root !== undefined).length,
    };
  };

  it('holds a new root of the backend before a certificate under it is given out, and the old one while it is needed', async () => {
    const first = await issue('web');
    expect(await roots()).toEqual({ version: '1', count: 1 });
    backend.ca = await createFakeCa('second root');
    const second = await issue('other');
    expect(second.json.trustBundle?.version).toBe('2');
    const pem = String(second.json.trustBundle?.pem);
    expect(pem).toContain(encodePem('CERTIFICATE', backend.ca.certificate.der));
    expect(pem).toContain(String(first.json.trustBundle?.pem));
    expect((await issue('web')).json.outcome).toBe('reused');
  });

  it('keeps the roots of a backend that does not answer any more, and the others', async () => {
    await useBackends(FAKE, { name: 'ca-2', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } });
    expect(await roots()).toEqual({ version: '1', count: 2 });
    backend.failure = down();
    await useBackends(
      FAKE,
      { name: 'ca-2', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } },
      { name: 'ca-3', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } },
    );
    expect(await roots()).toEqual({ version: '2', count: 3 });
  });

  it('is made of the roots that came with a certificate when the backend tells them in no other way', async () => {
    backend.bundleFailure = down();
    expect((await test.request('GET', '/meshes/default/_trust-bundle')).status).toBe(503);
    const [first, second] = await Promise.all([issue('web'), issue('web-2')]);
    expect([first.status, second.status]).toEqual([201, 201]);
    const bundle = await test.ok('GET', '/meshes/default/_trust-bundle');
    expect(bundle.text).toContain(encodePem('CERTIFICATE', backend.ca.certificate.der).trim());
  });

  it('is the error of the enabled backend when its roots were never seen', async () => {
    backend.failure = down();
    const { status, json } = await test.request('GET', '/meshes/default/_trust-bundle');
    expect([status, json.code, json.detail]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE', 'issuer(fake ext): is down']);
  });
});

describe('an issuer', () => {
  it('is kept while its conf stays, replaced when it changes, and closed at the end of the last call', async () => {
    await issue('web');
    await useBackends({ ...FAKE, mode: 'STRICT' });
    await issue('web-2');
    const before = backend.created - backend.closed;
    expect(before).toBe(1);
    let open: () => void = () => {};
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    const slow = issue('web-3');
    await until(() => backend.signs === 3);
    await useBackends({ ...FAKE, conf: { changed: true } });
    open();
    expect((await slow).status).toBe(201);
    await issue('web-4');
    expect(backend.created - backend.closed).toBe(1);
    await test.app.close();
    expect(backend.created - backend.closed).toBe(0);
  });
});

describe('an issuer that is replaced', () => {
  it('stays open between the calls of one certificate', async () => {
    let isChanged = false;
    backend.onCall = async (call) => {
      if (call !== 'abilities' || isChanged) return;
      isChanged = true;
      await useBackends({ ...FAKE, conf: { changed: true } });
      await issue('web-of-the-new-issuer');
    };
    expect((await issue('web')).status).toBe(201);
    expect([isChanged, backend.signs]).toEqual([true, 2]);
    await until(() => backend.created - backend.closed === 1);
  });
});

describe('a mesh', () => {
  it('that is applied again with its keys in another order changes nothing', async () => {
    const conf = { address: 'x', more: { a: 1, b: [1, 2] } };
    await useBackends({ ...FAKE, conf });
    const first = await issue('web');
    await useBackends({ conf: { more: { b: [1, 2], a: 1 }, address: 'x' }, type: 'fake', name: 'ext' });
    expect((await issue('web')).json.serialNumber).toBe(first.json.serialNumber);
  });

  it('that is deleted closes its issuers, and made again has a new CA and no certificate of the old', async () => {
    await test.ok('PUT', '/meshes/brief', builtinMesh('brief', { enabledBackend: 'ext', backends: [FAKE] }));
    await test.ok('POST', '/meshes/brief/dataplanes/web/_certificate', { csr, tags: TAGS });
    const open = backend.created - backend.closed;
    await test.ok('DELETE', '/meshes/brief');
    await until(() => backend.created - backend.closed === open - 1);
    expect((await test.request('GET', '/metrics')).text).not.toContain('mesh="brief"');
    await test.ok('PUT', '/meshes/brief', builtinMesh('brief', { enabledBackend: 'ext', backends: [FAKE] }));
    const { json } = await test.ok('POST', '/meshes/brief/dataplanes/web/_certificate', { csr, tags: TAGS });
    expect(json.outcome).toBe('issued');
  });
});

describe('a leaf', () => {
  it('is told as it is, not as it was wished: the backend may shorten its life', async () => {
    backend.twist = () => ({ ttlSeconds: 3600 });
    const { json } = await issue('web');
    const leaf = parseCertificate(Buffer.from(String(json.certificate).replace(/-----[^-]+-----|\n/g, ''), 'base64'));
    expect(json.notAfter).toBe(leaf.notAfter.toISOString());
    expect(Date.parse(String(json.renewAt))).toBeLessThan(leaf.notAfter.getTime());
  });
});

async function until(condition: () => boolean): Promise<void> {
  for (let attempt = 0; attempt < 500 && !condition(); attempt += 1)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}
