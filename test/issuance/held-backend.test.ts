import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import {
  IssuerDeniedError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair, type KeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createFakeIssuer, type FakeBackend } from '../fakes/fake-issuer.ts';
import { builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

const NOBODY = { uriSans: [], dnsNames: [], commonName: '' };
const TAGS = { 'kuma.io/service': 'web' };
const FAKE = { name: 'ext', type: 'fake', conf: {} };

let backend: FakeBackend;
let parts: Parameters<typeof startTestApp>[1];
let test: TestApp;
let key: KeyPair;
let csr: string;
/** Certificates that the backend was asked for. */
let asked: number;
const csrOf = (pair: KeyPair) => encodePem('CERTIFICATE REQUEST', createCsr(pair, NOBODY));
beforeEach(async () => {
  const fake = await createFakeIssuer();
  backend = fake.backend;
  parts = { adapters: { ...ADAPTERS, fake: async () => fake.module } };
  test = await startTestApp({}, parts);
  key = await generateKeyPair('EC-P256');
  csr = csrOf(key);
  await test.ok('PUT', '/meshes/default', mesh());
  asked = 0;
  backend.onCall = (call) => {
    if (call === 'abilities') asked += 1;
  };
});
afterEach(() => test.close());

const mesh = (more: object = {}) =>
  builtinMesh('default', { enabledBackend: 'ext', backends: [FAKE], skipValidation: true, ...more });
const issue = (name: string, body: object = {}) =>
  test.request('POST', `/meshes/default/dataplanes/${name}/_certificate`, { csr, tags: TAGS, ...body });
const down = () => new IssuerUnavailableError('is sealed', { fix: 'unseal it' });
const fail = async (count: number) => {
  for (let i = 0; i < count; i += 1) await issue(`web-${i}`);
};

describe('a data plane whose certificate failed', () => {
  it('is told when it is tried again, and costs the backend nothing until then', async () => {
    backend.failure = down();
    const first = await issue('web');
    const again = await issue('web');
    expect(asked).toBe(1);
    for (const { status, json, headers } of [first, again]) {
      expect([status, json.code, json.fix]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE', 'unseal it']);
      expect(Number(json.retryAfterSeconds)).toBeGreaterThanOrEqual(3);
      expect(Number(json.retryAfterSeconds)).toBeLessThanOrEqual(5);
      expect(headers.get('retry-after')).toBe(String(json.retryAfterSeconds));
    }
    expect(again.json.detail).toMatch(
      /^issuer\(fake ext\): not asked again for data plane "web" before .* UTC .*: is sealed$/,
    );
    expect([first.json.breaker, first.json.cause]).toEqual(['closed', undefined]);
    expect([again.json.breaker, again.json.cause?.code]).toEqual(['closed', 'ERR_ISSUER_UNAVAILABLE']);
  });

  it('holds back nobody else', async () => {
    backend.failure = down();
    await issue('web');
    backend.failure = undefined;
    expect((await issue('web-2')).status).toBe(201);
    expect((await issue('web')).status).toBe(503);
  });

  it('is tried at once with another request', async () => {
    backend.failure = new RequestInvalidError('takes no such name');
    expect((await issue('web')).status).toBe(400);
    expect((await issue('web')).status).toBe(400);
    expect(asked).toBe(1);
    backend.failure = undefined;
    expect((await issue('web', { csr: csrOf(await generateKeyPair('EC-P256')) })).status).toBe(201);
  });

  it('waits exactly as long as a backend that throttles says', async () => {
    backend.failure = new RateLimitedError('quota exceeded', { retryAfterMs: 17_000 });
    const { status, json } = await issue('web');
    expect([status, json.retryAfterSeconds]).toEqual([429, 17]);
  });
});

describe('the certificate that there is, when its backend fails after a while', () => {
  let failNow: () => void;
  const stored = (service: string) =>
    dataplane('default', 'web', { 'kuma.io/service': service, 'kuma.io/protocol': 'tcp' });
  const renew = () => issue('web', { tags: undefined, force: true });
  const changes: readonly {
    what: string;
    change: () => Promise<unknown>;
    told: readonly [number, string | undefined];
  }[] = [
    { what: 'nothing has changed', change: async () => {}, told: [200, undefined] },
    {
      what: 'its data plane was given another service',
      change: () => test.ok('PUT', '/meshes/default/dataplanes/web', stored('db')),
      told: [503, 'ERR_ISSUER_UNAVAILABLE'],
    },
    {
      what: 'its data plane was deleted',
      change: () => test.ok('DELETE', '/meshes/default/dataplanes/web'),
      told: [400, 'ERR_REQUEST_INVALID'],
    },
  ];
  beforeEach(async () => {
    await test.ok('PUT', '/meshes/default/dataplanes/web', stored('web'));
    await issue('web', { tags: undefined });
    const failing = new Promise<void>((resolve) => {
      failNow = resolve;
    });
    backend.onCall = async () => {
      await failing;
      throw down();
    };
  });

  it.each(changes)('is judged by how things are then: $what', async ({ change, told }) => {
    const renewing = renew();
    await new Promise((resolve) => setTimeout(resolve, 150));
    await change();
    failNow();
    const { status, json } = await renewing;
    expect([status, json.code]).toEqual(told);
    if (status === 200) expect(json.outcome).toBe('stale');
  });
});

describe('a data plane that asks again and again, each time with another CSR', () => {
  it('does not take the turns of the others of its mesh', async () => {
    let openGate = () => {};
    backend.gate = new Promise<void>((resolve) => {
      openGate = resolve;
    });
    const statuses: number[] = [];
    const greedy = Array.from({ length: 40 }, () =>
      issue('greedy', { csr: undefined }).then((answer) => void statuses.push(answer.status)),
    );
    for (let tries = 0; tries < 200 && statuses.length < 40 - 16; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 10));
    expect(statuses).toEqual(Array.from({ length: 40 - 16 }, () => 429));
    const other = issue('other');
    openGate();
    await Promise.all(greedy);
    expect([(await other).status, statuses.filter((status) => status === 201).length]).toEqual([201, 16]);
    expect((await issue('greedy', { csr: undefined })).status).toBe(201);
  });
});

describe('a backend that refuses what some data planes ask for', () => {
  beforeEach(() => {
    backend.failure = new IssuerDeniedError('its role allows no such name', { ofRequest: true });
  });

  it('goes on for all others, however many they are', async () => {
    await fail(25);
    expect(asked).toBe(25);
    backend.failure = undefined;
    expect((await issue('another')).status).toBe(201);
  });

  it('is not asked again and again by one of them', async () => {
    for (let i = 0; i < 5; i += 1) expect((await issue('web')).status).toBe(502);
    expect(asked).toBe(1);
  });

  it('serves the certificate that there is', async () => {
    backend.failure = undefined;
    const issued = await issue('web');
    backend.failure = new IssuerDeniedError('its role allows no such name', { ofRequest: true });
    const { status, json } = await issue('web', { force: true });
    expect([status, json.outcome, json.serialNumber]).toEqual([200, 'stale', issued.json.serialNumber]);
  });
});

describe('a backend that failed for ten data planes', () => {
  it('is asked by nobody, and everybody is told why', async () => {
    backend.failure = down();
    await fail(10);
    expect(asked).toBe(10);
    const { status, json } = await issue('another');
    expect(asked).toBe(10);
    expect([status, json.breaker, json.cause?.code, json.fix]).toEqual([
      503,
      'open',
      'ERR_ISSUER_UNAVAILABLE',
      'unseal it',
    ]);
    expect(json.detail).toContain('is sealed');
    const { text } = await test.ok('GET', '/metrics');
    expect(text).toMatch(/mesh_ca_backend_breaker_state\{[^}]*backend="ext"[^}]*\} 2/);
    expect(text).toMatch(/mesh_ca_backend_held_dataplanes\{[^}]*backend="ext"[^}]*\} 10/);
  });

  it('serves the certificates that there are, with the time left and the cause', async () => {
    const issued = await issue('web');
    backend.failure = down();
    await fail(10);
    const { status, json } = await issue('web', { force: true });
    expect([status, json.outcome, json.serialNumber]).toEqual([200, 'stale', issued.json.serialNumber]);
    expect([json.breaker, json.cause?.code]).toEqual(['open', 'ERR_ISSUER_UNAVAILABLE']);
    const left = (Date.parse(String(json.notAfter)) - Date.now()) / 1000;
    expect(Math.abs(Number(json.validForSeconds) - left)).toBeLessThan(5);
    expect(Number(json.retryAfterSeconds)).toBeGreaterThan(0);
    expect(asked).toBe(11);
  });

  it('is well again when a test certificate says so', async () => {
    backend.failure = down();
    await fail(10);
    backend.failure = undefined;
    expect((await test.ok('POST', '/meshes/default/_backends/ext/_validate')).json.ok).toBe(true);
    expect((await issue('another')).status).toBe(201);
    expect((await issue('web-1')).status).toBe(201);
  });

  it('is asked at once when its conf was corrected', async () => {
    backend.failure = down();
    await fail(10);
    backend.failure = undefined;
    await test.ok('PUT', '/meshes/default', mesh({ backends: [{ ...FAKE, conf: { role: 'right' } }] }));
    expect((await issue('web-1')).status).toBe(201);
  });

  it('harms no other backend', async () => {
    await test.ok('PUT', '/meshes/other', builtinMesh('other'));
    backend.failure = down();
    await fail(10);
    const other = await test.request('POST', '/meshes/other/dataplanes/web/_certificate', { csr, tags: TAGS });
    expect(other.status).toBe(201);
  });
});

describe('after a restart', () => {
  it('a backend that was held back still is, and a data plane, too', async () => {
    const flags = { store: `sqlite:${test.dataDir}/held.db`, dataDir: test.dataDir };
    const before = await startTestApp(flags, parts);
    await before.ok('PUT', '/meshes/default', mesh());
    backend.failure = down();
    const ask = (app: TestApp, name: string) =>
      app.request('POST', `/meshes/default/dataplanes/${name}/_certificate`, { csr, tags: TAGS });
    for (let i = 0; i < 10; i += 1) await ask(before, `web-${i}`);
    await before.app.close();
    const askedBefore = asked;

    const after = await startTestApp(flags, parts);
    try {
      const { json } = await ask(after, 'another');
      expect([json.breaker, json.code, json.fix]).toEqual(['open', 'ERR_ISSUER_UNAVAILABLE', 'unseal it']);
      expect(json.detail).toContain('is sealed');
      expect(asked).toBe(askedBefore);
    } finally {
      await after.app.close();
    }
  });
});
