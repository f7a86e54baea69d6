import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ServeProcess, startServe } from '../../support/serve-process.ts';
import { makeTempDir, type TempDir } from '../../support/temp-dir.ts';
import { ask, forAll, makeCsr, namesOf, ok, useVault } from './ask-service.ts';
import { seriesValue } from './metrics-text.ts';
import { startWatchedVault, type WatchedVault } from './watched-vault.ts';

const MESH = 'default';
/** Every one of them is asked for twice. */
const names = namesOf('web', 500);

let vault: WatchedVault;
let dir: TempDir;
let service: ServeProcess;
let csr: string;
beforeAll(async () => {
  [vault, dir, csr] = await Promise.all([startWatchedVault(), makeTempDir(), makeCsr()]);
  service = await startServe(['--data-dir', dir.path, '--canary-interval', '0s']);
  await (await useVault(service, vault, MESH))('48h');
});
afterAll(async () => {
  await service?.end('SIGKILL');
  await Promise.all([vault?.close(), dir?.remove()]);
});

describe('100 identical requests at the same time', () => {
  it('are one call, and get the same certificate', async () => {
    const answers = await Promise.all(namesOf('x', 100).map(() => ask(service, MESH, 'joined', { csr })));
    expect(vault.issuing().length).toBe(1);
    expect(new Set(answers.map(({ json }) => json.serialNumber)).size).toBe(1);
  });
});

describe('after mesh-ca was killed and started again', () => {
  it('500 data planes that ask with their certificate or their CSR cost no call for a certificate', async () => {
    const current = new Map<string, unknown>();
    await forAll(names, async (name) => {
      const { status, json } = await ask(service, MESH, name, { csr });
      expect(status).toBe(201);
      current.set(name, json.certificate);
    });
    expect(vault.issuing().length).toBe(1 + names.length);
    await service.end('SIGKILL');
    service = await startServe(['--data-dir', dir.path, '--canary-interval', '0s']);
    const restartedMs = performance.now();
    const outcomes = new Map<string, number>();
    await forAll(
      names,
      async (name) => {
        const index = names.indexOf(name);
        const body = index % 2 === 0 ? { current: current.get(name) } : { csr };
        const { json } = await ask(service, MESH, name, body);
        const outcome = String(json.outcome ?? json.detail);
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      },
      100,
    );
    expect(Object.fromEntries(outcomes)).toEqual({ kept: 250, reused: 250 });
    expect(vault.issuing(restartedMs)).toEqual([]);
    // The roots of the mount are looked at once.
    const heard = vault.calls.filter(({ atMs }) => atMs >= restartedMs).map(({ path }) => path);
    process.stdout.write(`${JSON.stringify({ heard })}\n`);
    expect(heard.length).toBeLessThanOrEqual(3);
    const { text } = await ok(service, 'GET', '/metrics');
    expect(seriesValue(text, 'mesh_ca_backend_requests_per_certificate_count', MESH)).toBe(0);
  });
});
