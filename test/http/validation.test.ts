import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import { IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createFakeIssuer, FAKE_CHECKS, type FakeBackend } from '../fakes/fake-issuer.ts';
import { makeTempDir } from '../support/temp-dir.ts';
import { type Answer, builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

const EXT = { name: 'ext', type: 'fake', conf: {} };
const CA = { name: 'ca-1', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } };
const meshOf = (name: string, enabledBackend: string, ...backends: object[]) =>
  builtinMesh(name, { enabledBackend, backends });

let test: TestApp;
let backend: FakeBackend;
beforeAll(async () => {
  const fake = await createFakeIssuer();
  backend = fake.backend;
  const adapters = { ...ADAPTERS, fake: async () => fake.module };
  test = await startTestApp({ canaryInterval: '0s' }, { adapters });
  await test.ok('PUT', '/meshes/default', meshOf('default', 'ca-1', CA, EXT));
});
beforeEach(() => {
  backend.failure = undefined;
  backend.checks = [...FAKE_CHECKS];
});
afterAll(() => test.close());

const validate = (path: string, body?: object) => test.request('POST', path, body);
const fields = ({ json }: Answer) => JSON.parse(JSON.stringify(json.invalid_parameters ?? []));
const breakToken = () => {
  backend.checks = FAKE_CHECKS.map((check) =>
    check.name === 'fake.token-valid'
      ? { ...check, status: 'failed', message: 'the token is refused', cause: 'it has ended', fix: 'store another' }
      : check,
  );
};

describe('POST /meshes/{mesh}/_backends/{backend}/_validate', () => {
  it.each(['ca-1', 'ext'])('proves %s, which is well', async (name) => {
    const { status, json } = await validate(`/meshes/default/_backends/${name}/_validate`);
    expect([status, json.ok]).toEqual([200, true]);
    expect(json.backends).toMatchObject([{ mesh: 'default', backend: name, ok: true, retry: false }]);
    expect(json.backends).toHaveLength(1);
    const checks = JSON.parse(JSON.stringify(json.backends?.[0]?.checks));
    expect(checks.map((check: { name: string }) => check.name)).toContain('certificate.issued');
  });

  it('answers 200 also when it is not, with what failed and what to do about it', async () => {
    breakToken();
    const { status, json } = await validate('/meshes/default/_backends/ext/_validate');
    expect([status, json.ok, json.backends?.[0]?.ok]).toEqual([200, false, false]);
    expect(json.backends?.[0]?.checks).toEqual(
      expect.arrayContaining([
        {
          ...{ name: 'fake.token-valid', status: 'failed', durationMs: 1, field: 'token' },
          ...{ message: 'the token is refused', cause: 'it has ended', fix: 'store another' },
        },
      ]),
    );
  });

  it.each([
    { path: '/meshes/none/_backends/ca-1/_validate', detail: 'mesh "none" not found', fix: 'mesh-ca get meshes' },
    {
      path: '/meshes/default/_backends/none/_validate',
      detail: 'there is no backend "none" in mesh "default"',
      fix: 'name one of its backends: "ca-1", "ext"',
    },
  ])('$path is 404 and tells what there is', async ({ path, detail, fix }) => {
    const { status, json } = await validate(path);
    expect([status, json.code, json.detail]).toEqual([404, 'ERR_NOT_FOUND', detail]);
    expect(String(json.fix)).toContain(fix);
  });

  it('is given up when the caller is, which is no error of ours', async () => {
    const waiting = new Promise<AbortSignal>((resolve) => {
      backend.onCall = (_call, { signal }) => {
        resolve(signal);
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      };
    });
    const before = test.log.length;
    const caller = new AbortController();
    const url = `${test.app.address}/meshes/default/_backends/ext/_validate`;
    const call = fetch(url, { method: 'POST', signal: caller.signal });
    const signal = await waiting;
    caller.abort();
    await expect(call).rejects.toThrow();
    await expect.poll(() => signal.aborted).toBe(true);
    backend.onCall = () => {};
    await validate('/meshes/default/_backends/ext/_validate');
    expect(test.log.slice(before).join('')).not.toContain('request failed');
  });

  it('tells why a backend cannot even be made', async () => {
    const bad = { name: 'bad', type: 'builtin', conf: { caCert: { keyType: 'EC-P1' } } };
    await test.ok('PUT', '/meshes/skipped', builtinMesh('skipped', { backends: [CA, bad], skipValidation: true }));
    const answer = await validate('/meshes/skipped/_backends/bad/_validate');
    expect([answer.status, answer.json.code]).toEqual([400, 'ERR_CONFIG_INVALID']);
    expect(fields(answer)[0].field).toBe('caCert.keyType');
  });
});

describe('POST /_validate', () => {
  it('proves every backend and stores nothing', async () => {
    const { status, json } = await validate('/_validate', meshOf('tried', 'ca-1', CA, EXT));
    expect([status, json.ok]).toEqual([200, true]);
    expect(json.backends).toMatchObject([
      { mesh: 'tried', backend: 'ca-1', type: 'builtin', ok: true },
      { mesh: 'tried', backend: 'ext', type: 'fake', ok: true },
    ]);
    expect((await test.request('GET', '/meshes/tried')).status).toBe(404);
    expect((await test.ok('GET', '/secrets')).text).not.toContain('tried');
  });

  it('answers 200 with what failed', async () => {
    breakToken();
    const { status, json } = await validate('/_validate', meshOf('tried', 'ext', CA, EXT));
    expect([status, json.ok, json.backends?.[0]?.ok, json.backends?.[1]?.ok]).toEqual([200, false, true, false]);
  });

  const BAD: readonly { name: string; mesh: object }[] = [
    { name: 'a wrong conf', mesh: meshOf('tried', 'x', { ...CA, name: 'x', conf: { caCert: { keyType: 'EC-P1' } } }) },
    { name: 'an unknown type', mesh: meshOf('tried', 'x', { name: 'x', type: 'none' }) },
    { name: 'an enabled backend that is not there', mesh: meshOf('tried', 'x', CA) },
  ];
  it.each(BAD)('refuses $name as PUT does', async ({ mesh }) => {
    const answer = await validate('/_validate', mesh);
    const put = await test.request('PUT', '/meshes/tried', mesh);
    expect([answer.status, put.status]).toEqual([400, 400]);
    expect(fields(answer)).toEqual(fields(put));
    expect(fields(answer).length).toBeGreaterThan(0);
  });

  it.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['another kind', '{"type": "Secret", "name": "tried"}'],
    ['nothing', ''],
  ])('refuses %s', async (_name, body) => {
    const answer = await test.request('POST', '/_validate', body);
    expect([answer.status, typeof answer.json.code]).toEqual([400, 'string']);
  });
});

describe('PUT with dryRun', () => {
  const puts: readonly { kind: string; path: string; body: object }[] = [
    { kind: 'a Mesh', path: '/meshes/dry', body: builtinMesh('dry') },
    {
      kind: 'a Secret',
      path: '/meshes/default/secrets/dry',
      body: { type: 'Secret', mesh: 'default', name: 'dry', data: 'AA==' },
    },
    {
      kind: 'a Dataplane',
      path: '/meshes/default/dataplanes/dry',
      body: dataplane('default', 'dry', { 'kuma.io/service': 'web' }),
    },
  ];
  it.each(puts)('checks $kind and stores nothing', async ({ path, body }) => {
    const { status, json } = await test.request('PUT', `${path}?dryRun=true`, body);
    expect([status, json]).toEqual([200, {}]);
    expect((await test.request('GET', path)).status).toBe(404);
    const secrets = (await test.ok('GET', '/secrets')).text;
    expect(secrets).not.toContain('dry');
  });

  it('refuses what PUT refuses', async () => {
    const body = { type: 'Mesh', name: 'dry', mtls: { enabledBackend: 'none' } };
    const dry = await test.request('PUT', '/meshes/dry?dryRun=true', body);
    const put = await test.request('PUT', '/meshes/dry', body);
    expect([dry.status, dry.json.title, fields(dry)]).toEqual([400, put.json.title, fields(put)]);
  });

  it('of a Mesh whose backend fails tells the failing checks', async () => {
    breakToken();
    const { status, json } = await test.request('PUT', '/meshes/dry?dryRun=true', meshOf('dry', 'ext', EXT));
    expect([status, json.code, json.retry]).toEqual([400, 'ERR_BACKEND_INVALID', false]);
    expect(json.invalid_parameters).toMatchObject([{ field: 'mtls.backends[0].conf.token' }]);
    expect(json.checks).toEqual([
      {
        ...{ backend: 'ext', name: 'fake.token-valid', status: 'failed', durationMs: 1 },
        ...{ message: 'the token is refused', cause: 'it has ended', fix: 'store another' },
      },
    ]);
  });

  it('false stores', async () => {
    const { status } = await test.request('PUT', '/meshes/wet?dryRun=false', { type: 'Mesh', name: 'wet' });
    expect([status, (await test.request('GET', '/meshes/wet')).status]).toEqual([201, 200]);
  });

  it.each(['dryRun=yes', 'dryRun', 'dryRun=True', 'dryRun=true&dryRun=false'])(
    '?%s is refused rather than guessed, and nothing is stored',
    async (query) => {
      const answer = await test.request('PUT', `/meshes/guess?${query}`, { type: 'Mesh', name: 'guess' });
      expect([answer.status, fields(answer)]).toEqual([400, [{ field: 'dryRun', reason: 'has to be true or false' }]]);
      expect((await test.request('GET', '/meshes/guess')).status).toBe(404);
    },
  );
});

describe('/readyz', () => {
  it('tells the enabled backends that are not proven, and stays 200', async () => {
    await test.ok('PUT', '/meshes/ready', meshOf('ready', 'ext', EXT));
    const isTold = async () => {
      const { status, json } = await test.request('GET', '/readyz');
      expect([status, json.status, typeof json.unprovenTotal]).toEqual([200, 'ok', 'number']);
      const unproven: { mesh: string }[] = JSON.parse(JSON.stringify(json.unproven));
      return unproven.find(({ mesh }) => mesh === 'ready');
    };
    expect(await isTold()).toBeUndefined();
    breakToken();
    await validate('/meshes/ready/_backends/ext/_validate');
    expect(await isTold()).toEqual({ mesh: 'ready', backend: 'ext', type: 'fake', reason: 'fake.token-valid' });
    backend.checks = [...FAKE_CHECKS];
    await validate('/meshes/ready/_backends/ext/_validate');
    expect(await isTold()).toBeUndefined();
  });
});

describe('after a restart', () => {
  it('what a PUT has proven is still known', async () => {
    const dir = await makeTempDir();
    const start = () =>
      startTestApp({ canaryInterval: '0s', store: `sqlite://${dir.path}/store.db`, dataDir: dir.path });
    const first = await start();
    await first.ok('PUT', '/meshes/proven', builtinMesh('proven'));
    await first.ok('PUT', '/meshes/skipped', builtinMesh('skipped', { skipValidation: true }));
    await first.close();
    const second = await start();
    const { json } = await second.ok('GET', '/readyz');
    await second.close();
    await dir.remove();
    expect(json.unproven).toEqual([{ mesh: 'skipped', backend: 'ca-1', type: 'builtin', reason: 'not proven yet' }]);
  });
});

describe('while a backend fails', () => {
  const TAGS = { 'kuma.io/service': 'web' };
  const issue = (name: string, body: object = {}) =>
    test.request('POST', `/meshes/outage/dataplanes/${name}/_certificate`, { tags: TAGS, ...body });
  beforeAll(async () => {
    backend.failure = undefined;
    backend.checks = [...FAKE_CHECKS];
    await test.ok('PUT', '/meshes/outage', meshOf('outage', 'ext', EXT));
  });

  it('who is told to wait is told why, and until when', async () => {
    backend.failure = new IssuerUnavailableError('is sealed', { fix: 'unseal it' });
    expect((await issue('new')).status).toBe(503);
    const signs = backend.signs;
    const { status, json, headers } = await issue('new');
    expect([status, backend.signs - signs, json.retry, json.fix]).toEqual([503, 0, true, 'unseal it']);
    expect([json.breaker, json.cause?.code]).toEqual(['closed', 'ERR_ISSUER_UNAVAILABLE']);
    expect(String(json.cause?.detail)).toContain('is sealed');
    expect(Number(json.retryAfterSeconds)).toBeGreaterThanOrEqual(1);
    expect(headers.get('retry-after')).toBe(String(json.retryAfterSeconds));
  });

  it('an older certificate is served with the time that is left of it, and why', async () => {
    const csr = encodePem(
      'CERTIFICATE REQUEST',
      createCsr(await generateKeyPair('EC-P256'), { uriSans: [], dnsNames: [], commonName: '' }),
    );
    expect((await issue('old', { csr })).status).toBe(201);
    backend.failure = new IssuerUnavailableError('is sealed', { retryAfterMs: 1500 });
    const { status, json } = await issue('old', { csr, force: true });
    expect([status, json.outcome, json.breaker, json.cause?.code]).toEqual([
      200,
      'stale',
      'closed',
      'ERR_ISSUER_UNAVAILABLE',
    ]);
    expect(Object.keys(json.cause ?? {})).toEqual(['code', 'detail']);
    const leftSeconds = (Date.parse(String(json.notAfter)) - Date.now()) / 1000;
    expect(Math.abs(Number(json.validForSeconds) - leftSeconds)).toBeLessThan(60);
    expect(Number.isInteger(json.retryAfterSeconds)).toBe(true);
  });
});
