import { join } from 'node:path';
import Database from 'libsql';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createFakeIssuer } from '../fakes/fake-issuer.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

/** What a writer waits for a lock of somebody else, and more than the first wait after that. */
const PATIENCE_MS = 10_100;
const NEXT_TRY_MS = 1_100;

let dir: TempDir;
let test: TestApp;
let lock: Database.Database;
let csr: string;
/** Certificates that the backend was asked for. */
let asked: number;
/** Milliseconds that the monotonic clock is ahead. */
let aheadMs: number;
beforeEach(async () => {
  asked = 0;
  aheadMs = 0;
  dir = await makeTempDir();
  const fake = await createFakeIssuer();
  fake.backend.onCall = (call) => {
    if (call === 'abilities') asked += 1;
  };
  const path = join(dir.path, 'store.db');
  test = await startTestApp(
    { store: `sqlite:${path}` },
    {
      adapters: { ...ADAPTERS, fake: async () => fake.module },
      clock: { ...systemClock, monotonicMs: () => systemClock.monotonicMs() + aheadMs },
    },
  );
  csr = encodePem(
    'CERTIFICATE REQUEST',
    createCsr(await generateKeyPair('EC-P256'), { uriSans: [], dnsNames: [], commonName: '' }),
  );
  const backends = [{ name: 'ext', type: 'fake', conf: {} }];
  const mesh = builtinMesh('default', { enabledBackend: 'ext', backends, skipValidation: true });
  await test.ok('PUT', '/meshes/default', mesh);
  lock = new Database(path);
});
afterEach(async () => {
  lock.close();
  await test.close();
  await dir.remove();
});

const issue = (name: string, body: object = {}) =>
  test.request('POST', `/meshes/default/dataplanes/${name}/_certificate`, {
    ...{ csr, tags: { 'kuma.io/service': 'web' } },
    ...body,
  });

/** Waits for the answer with a clock that hurries once the backend was asked. */
async function fail(name: string, body: object = {}) {
  const before = asked;
  const answer = issue(name, body);
  while (asked === before) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 50));
  aheadMs += PATIENCE_MS;
  return answer;
}

describe('certificates that cannot be stored', () => {
  it('are made for one request at a time; who holds one goes on with it, and all hear whose fault it is', async () => {
    const issued = await issue('web');
    lock.exec('BEGIN IMMEDIATE');
    const stale = await fail('web', { force: true });
    expect([stale.status, stale.json.outcome, stale.json.serialNumber]).toEqual([
      200,
      'stale',
      issued.json.serialNumber,
    ]);
    expect([stale.json.breaker, stale.json.cause?.code]).toEqual(['closed', 'ERR_STORE_UNAVAILABLE']);
    expect(stale.json.retryAfterSeconds).toBe(1);

    const before = asked;
    const others = await Promise.all(Array.from({ length: 20 }, (_, index) => issue(`new-${index}`)));
    for (const { status, json } of others) {
      expect([status, json.code, json.retry, json.retryAfterSeconds]).toEqual([503, 'ERR_STORE_UNAVAILABLE', true, 1]);
      expect([json.breaker, json.cause?.code]).toEqual(['closed', 'ERR_STORE_UNAVAILABLE']);
      expect(json.detail).toContain('another process has held the lock of the store');
    }
    expect((await issue('web', { force: true })).json.outcome).toBe('stale');
    expect(asked).toBe(before);

    // The next try, and a longer wait after it.
    aheadMs += NEXT_TRY_MS;
    expect((await fail('new-0')).json.code).toBe('ERR_STORE_UNAVAILABLE');
    expect(asked).toBe(before + 1);
    expect((await issue('new-1')).json.retryAfterSeconds).toBe(2);

    lock.exec('ROLLBACK');
    aheadMs += 2 * NEXT_TRY_MS;
    for (let index = 0; index < 3; index += 1) expect((await issue(`new-${index}`)).status).toBe(201);
  });

  it('take nothing from a data plane whose own certificate stands', async () => {
    const { json } = await issue('web');
    await test.ok('DELETE', '/meshes/default');
    await test.ok(
      'PUT',
      '/meshes/default',
      builtinMesh('default', {
        enabledBackend: 'ext',
        backends: [{ name: 'ext', type: 'fake', conf: {} }],
        skipValidation: true,
      }),
    );
    await test.ok('GET', '/meshes/default/_trust-bundle');
    lock.exec('BEGIN IMMEDIATE');
    const asking = issue('web', { current: json.certificate });
    await new Promise((resolve) => setTimeout(resolve, 100));
    aheadMs += PATIENCE_MS;
    expect((await asking).json.outcome).toBe('kept');
    lock.exec('ROLLBACK');
  });
});
