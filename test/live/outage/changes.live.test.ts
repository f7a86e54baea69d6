import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createToken } from '../../../testcontainers/vault-pki.ts';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { ask, makeCsr, namesOf, ok, putToken, useVault } from './ask-service.ts';
import { seriesValue } from './metrics-text.ts';
import { startWatchedVault, type WatchedVault } from './watched-vault.ts';

const RULES = { backoffBase: '1s', backoffMax: '4s', recoverySpread: '1s' };
/** Let go before the tenth failure is heard, and then one at a time. */
const MOST_AT_ONCE = 40;

let vault: WatchedVault;
let test: TestApp;
let service: { address: string };
let csr: string;
beforeAll(async () => {
  [vault, test, csr] = await Promise.all([startWatchedVault(), startTestApp(RULES), makeCsr()]);
  service = { address: test.app.address };
});
afterAll(async () => {
  await test?.close();
  await vault?.close();
});

async function start(mesh: string) {
  const store = await useVault(service, vault, mesh);
  expect((await store('48h')).status).toBeLessThan(300);
  expect((await ask(service, mesh, 'warm', { csr })).status).toBe(201);
  return store;
}
/** All calls that a mesh made, whatever for. */
const callsOf = (mesh: string, fromMs: number) =>
  vault.issuing(fromMs).filter(({ mount }) => mount === `pki-${mesh}`).length;
const breakerOf = async (mesh: string) =>
  seriesValue((await test.ok('GET', '/metrics')).text, 'mesh_ca_backend_breaker_state', mesh);
const askAll = (mesh: string, names: readonly string[]) =>
  Promise.all(names.map((name) => ask(service, mesh, name, { csr })));

describe('while a backend is held back', () => {
  const names = namesOf('web', 30);

  it('a changed Mesh is tried, and held back as the one before', async () => {
    const mesh = 'changed';
    const store = await start(mesh);
    await vault.bao.seal();
    await askAll(mesh, names);
    expect(await breakerOf(mesh)).toBeGreaterThan(0);
    const startMs = performance.now();
    expect((await store('47h')).status).toBe(200);
    for (let round = 0; round < 5; round += 1) await askAll(mesh, names);
    expect(await breakerOf(mesh)).toBeGreaterThan(0);
    expect(callsOf(mesh, startMs)).toBeLessThanOrEqual(MOST_AT_ONCE);
    await vault.bao.unseal();
    expect((await store('46h')).status).toBe(200);
    expect(await breakerOf(mesh)).toBe(0);
    for (const { json } of await askAll(mesh, names))
      expect([json.outcome, json.detail]).toEqual(['issued', undefined]);
  });

  it('a changed secret is tried by one data plane, not by all', async () => {
    const mesh = 'secret';
    await start(mesh);
    const fresh = await createToken(vault.bao, [`kmesh-default-dataplane-proxies-sign-pki-${mesh}-dataplane-proxies`]);
    await vault.bao.seal();
    await askAll(mesh, names);
    const startMs = performance.now();
    await putToken(service, mesh, fresh);
    for (let round = 0; round < 5; round += 1) await askAll(mesh, names);
    const heard = vault.calls.filter(({ atMs }) => atMs >= startMs).length;
    process.stdout.write(`${JSON.stringify({ afterSecret: heard })}\n`);
    expect(heard).toBeLessThanOrEqual(10);
    await vault.bao.unseal();
    await putToken(service, mesh, fresh);
    // One tries; then all are let through.
    await ask(service, mesh, 'web-0', { csr });
    for (const { status } of await askAll(mesh, names.slice(1))) expect(status).toBe(201);
  });

  it('a mesh that is deleted takes that along, and leaves its neighbour of the same backend name alone', async () => {
    await start('gone');
    await start('stays');
    await vault.bao.seal();
    await Promise.all([askAll('gone', names), askAll('stays', names)]);
    expect([await breakerOf('gone'), await breakerOf('stays')]).not.toContain(0);
    await ok(service, 'DELETE', '/meshes/gone');
    await vault.bao.unseal();
    const store = await useVault(service, vault, 'gone');
    await store('48h');
    for (const { status } of await askAll('gone', names)) expect(status).toBe(201);
    expect(await breakerOf('gone')).toBe(0);
    expect(await breakerOf('stays')).toBeGreaterThan(0);
  });
});
