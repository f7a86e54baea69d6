import { afterAll, beforeAll, expect } from 'vitest';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { ask, makeCsr, useVault } from './ask-service.ts';
import { seriesValue } from './metrics-text.ts';
import { startWatchedVault, type WatchedVault } from './watched-vault.ts';

/** Short enough for a test. */
const RULES = { backoffBase: '1s', backoffMax: '4s', recoverySpread: '1s' };

/** A watched Vault and a mesh-ca for the tests of a file, stopped after them. To be called at its top; things are there once the tests run. */
export function createStage(rules: Parameters<typeof startTestApp>[0] = RULES) {
  let vault: WatchedVault;
  let test: TestApp;
  let csr: string;
  beforeAll(async () => {
    [vault, test, csr] = await Promise.all([startWatchedVault(), startTestApp(rules), makeCsr()]);
  });
  afterAll(async () => {
    await test?.close();
    await vault?.close();
  });
  const stage = {
    get vault() {
      return vault;
    },
    get service() {
      return { address: test.app.address };
    },
    get csr() {
      return csr;
    },
    /** A mesh of its own, with one certificate issued. @returns what stores it again, with another lifetime */
    async start(mesh: string) {
      const store = await useVault(stage.service, vault, mesh);
      expect((await store('48h')).status).toBeLessThan(300);
      expect((await ask(stage.service, mesh, 'warm', { csr })).status).toBe(201);
      return store;
    },
    /** All calls that a mesh made, whatever for. */
    callsOf: (mesh: string, fromMs: number) =>
      vault.issuing(fromMs).filter(({ mount }) => mount === `pki-${mesh}`).length,
    breakerOf: async (mesh: string) =>
      seriesValue((await test.ok('GET', '/metrics')).text, 'mesh_ca_backend_breaker_state', mesh),
    askAll: (mesh: string, names: readonly string[]) =>
      Promise.all(names.map((name) => ask(stage.service, mesh, name, { csr }))),
  };
  return stage;
}
