import { describe, expect, it, onTestFinished } from 'vitest';
import { live } from '../conformance/issuer.ts';
import { startBackend, type TestBackend } from './certmanager-backend.ts';

describe('an inspection', () => {
  const statesOf = async ({ issuer }: Pick<TestBackend, 'issuer'>) =>
    Object.fromEntries((await issuer.inspect(live())).map(({ name, ok }) => [name, ok]));

  it('finds out where it ends', async () => {
    const backend = await startBackend(onTestFinished);
    expect(Object.values(await statesOf(backend))).not.toContain(false);
    backend.kube.faults.revokeToken('mesh-ca');
    expect(await statesOf(backend)).toMatchObject({
      'certmanager.address-reachable': true,
      'certmanager.credentials-accepted': false,
    });
    await backend.kube.stop();
    expect(await statesOf(backend)).toMatchObject({
      'certmanager.kubeconfig-loaded': true,
      'certmanager.address-reachable': false,
    });
    process.env.KUBECONFIG = '/nowhere/kubeconfig';
    const lost = await backend.startReplica();
    expect(await statesOf(lost)).toMatchObject({ 'certmanager.kubeconfig-loaded': false });
  });

  it('tells a clock that is off', async () => {
    const backend = await startBackend(onTestFinished);
    backend.kube.faults.clockOffsetMs = -600_000;
    expect(await statesOf(backend)).toMatchObject({ 'certmanager.clock': false });
  });
});
