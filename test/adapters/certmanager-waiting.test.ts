import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/runtime/clock.ts';
import { startBackend, type TestBackend, waitUntil } from './certmanager-backend.ts';

/** Asks for a certificate and returns when its object is there, and cert-manager does not work on it. */
async function startWaiting(backend: TestBackend) {
  backend.controller.pause();
  const signed = backend.sign('waiting');
  signed.catch(() => {});
  await waitUntil(async () => (await backend.kube.admin.list()).length > 0);
  // In an object: an async function would wait for a promise that it returns.
  return { signed };
}

describe('a waiting request', () => {
  it.each(['end', 'reset', 'expired'] as const)('is not lost when the watch ends: %s', async (how) => {
    const backend = await startBackend(onTestFinished);
    const { signed } = await startWaiting(backend);
    expect(backend.kube.faults.dropWatches(how)).toBe(1);
    backend.controller.resume();
    await signed;
    expect((await backend.kube.counts()).requests.create).toBe(1);
    expect(await backend.leftovers()).toEqual([]);
  });

  it('is not lost when the history of the watch is gone', async () => {
    const backend = await startBackend(onTestFinished);
    const { signed } = await startWaiting(backend);
    const takeAway = backend.kube.faults.add({ fault: { kind: 'unavailable' }, verbs: ['watch'] });
    backend.kube.faults.dropWatches('reset');
    backend.controller.resume();
    await waitUntil(() => backend.controller.finished === 1);
    backend.kube.faults.compact();
    takeAway();
    await signed;
  });

  it('is not lost when the API server starts again', async () => {
    const backend = await startBackend(onTestFinished);
    const { signed } = await startWaiting(backend);
    await backend.kube.stop();
    await systemClock.sleep(300);
    await backend.kube.restart();
    backend.controller.resume();
    await signed;
    await backend.sign('after');
    expect(await backend.leftovers()).toEqual([]);
  });

  it('is told when somebody else deletes its object', async () => {
    const backend = await startBackend(onTestFinished);
    const { signed } = await startWaiting(backend);
    const [object] = await backend.kube.admin.list();
    await backend.kube.admin.delete(object?.metadata.name ?? '');
    await expect(signed).rejects.toThrow('was deleted before it was signed');
  });

  it('ends with its issuer, and its object with it', async () => {
    const backend = await startBackend(onTestFinished);
    const { signed } = await startWaiting(backend);
    await backend.close();
    await expect(signed).rejects.toThrow('is closed');
    expect(await backend.kube.admin.list()).toEqual([]);
    await waitUntil(() => backend.kube.faults.connections().open <= CONNECTIONS_OF_THE_TEST);
  });
});

/** The controller's and the administrator's own. */
const CONNECTIONS_OF_THE_TEST = 6;
