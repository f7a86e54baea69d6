import { describe, expect, it } from 'vitest';
import { createToken } from '../../../testcontainers/vault-pki.ts';
import { ask, namesOf, ok, putToken, useVault } from './ask-service.ts';
import { createStage } from './stage.ts';

/** Let go before the tenth failure is heard, and then one at a time. */
const MOST_AT_ONCE = 40;

const stage = createStage();
const { start, callsOf, breakerOf, askAll } = stage;

describe('while a backend is held back', () => {
  const names = namesOf('web', 30);

  it('a changed Mesh is tried, and held back as the one before', async () => {
    const mesh = 'changed';
    const store = await start(mesh);
    await stage.vault.bao.seal();
    await askAll(mesh, names);
    expect(await breakerOf(mesh)).toBeGreaterThan(0);
    const startMs = performance.now();
    expect((await store('47h')).status).toBe(200);
    for (let round = 0; round < 5; round += 1) await askAll(mesh, names);
    expect(await breakerOf(mesh)).toBeGreaterThan(0);
    expect(callsOf(mesh, startMs)).toBeLessThanOrEqual(MOST_AT_ONCE);
    await stage.vault.bao.unseal();
    expect((await store('46h')).status).toBe(200);
    expect(await breakerOf(mesh)).toBe(0);
    for (const { json } of await askAll(mesh, names))
      expect([json.outcome, json.detail]).toEqual(['issued', undefined]);
  });

  it('a changed secret is tried by one data plane, not by all', async () => {
    const mesh = 'secret';
    await start(mesh);
    const fresh = await createToken(stage.vault.bao, [
      `kmesh-default-dataplane-proxies-sign-pki-${mesh}-dataplane-proxies`,
    ]);
    await stage.vault.bao.seal();
    await askAll(mesh, names);
    const startMs = performance.now();
    await putToken(stage.service, mesh, fresh);
    for (let round = 0; round < 5; round += 1) await askAll(mesh, names);
    const heard = stage.vault.calls.filter(({ atMs }) => atMs >= startMs).length;
    process.stdout.write(`${JSON.stringify({ afterSecret: heard })}\n`);
    expect(heard).toBeLessThanOrEqual(10);
    await stage.vault.bao.unseal();
    await putToken(stage.service, mesh, fresh);
    // One tries; then all are let through.
    await ask(stage.service, mesh, 'web-0', { csr: stage.csr });
    for (const { status } of await askAll(mesh, names.slice(1))) expect(status).toBe(201);
  });

  it('a mesh that is deleted takes that along, and leaves its neighbour of the same backend name alone', async () => {
    await start('gone');
    await start('stays');
    await stage.vault.bao.seal();
    await Promise.all([askAll('gone', names), askAll('stays', names)]);
    expect([await breakerOf('gone'), await breakerOf('stays')]).not.toContain(0);
    await ok(stage.service, 'DELETE', '/meshes/gone');
    await stage.vault.bao.unseal();
    const store = await useVault(stage.service, stage.vault, 'gone');
    await store('48h');
    for (const { status } of await askAll('gone', names)) expect(status).toBe(201);
    expect(await breakerOf('gone')).toBe(0);
    expect(await breakerOf('stays')).toBeGreaterThan(0);
  });
});
