import { describe, expect, it, onTestFinished } from 'vitest';
import { module as acmpca } from '../../adapters/acmpca/module.ts';
import { module as certmanager } from '../../adapters/certmanager/module.ts';
import { module as vault } from '../../adapters/vault/module.ts';
import { createEndpointQueues, type QueuedBackend } from '../../src/issuance/queue/endpoint-queues.ts';
import { IssuerTimeoutError } from '../../src/issuer/errors.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { startFakeVault } from '../fakes/fake-vault.ts';
import { startCertManagerController, TEST_ISSUER } from '../fakes/kubernetes/cert-manager-controller.ts';
import { startFakeKubernetes } from '../fakes/kubernetes/fake-kubernetes.ts';
import { confFor, GRANTS } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';
import { confOf, depsOf, startFake } from './acmpca-setup.ts';

const CONTEXT = { mesh: 'default', backend: 'ca-1' };
/** Real time, in which what is waited for once nothing is answered comes so many times sooner. */
const TIMES = 40;

interface Started {
  readonly issuer: Issuer;
  /** From now on nothing is answered. */
  hang(): void;
}

async function startVault(clock: Clock): Promise<Started> {
  const fake = await startFakeVault({ now: clock.now });
  for (const grant of ['sign', 'readRole'] as const) fake.grants.set(...GRANTS[grant]);
  onTestFinished(fake.close);
  return {
    issuer: vault.create(CONTEXT, vault.parseConf(confFor(fake), CONTEXT), createTestDeps({ clock })),
    hang() {
      fake.fault = () => 'hang';
    },
  };
}

async function startAcmPca(clock: Clock): Promise<Started> {
  const fake = await startFake();
  return {
    issuer: acmpca.create(CONTEXT, acmpca.parseConf(confOf(fake), CONTEXT), depsOf(fake, { clock })),
    hang() {
      fake.fault = () => 'hang';
    },
  };
}

async function startCertManager(clock: Clock): Promise<Started> {
  const kube = await startFakeKubernetes();
  const controller = await startCertManagerController({ cluster: kube });
  const former = process.env.KUBECONFIG;
  process.env.KUBECONFIG = await kube.kubeconfigFor('mesh-ca');
  onTestFinished(async () => {
    await controller.close();
    await kube.close();
    if (former === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = former;
  });
  const conf = certmanager.parseConf({ issuerRef: { name: TEST_ISSUER } }, CONTEXT);
  return {
    issuer: certmanager.create(CONTEXT, conf, createTestDeps({ clock })),
    hang: () => void kube.faults.add({ fault: { kind: 'hang' }, verbs: ['create'] }),
  };
}

describe('a backend that does not answer any more', () => {
  it.each([
    ['vault', startVault],
    ['acmpca', startAcmPca],
    ['certmanager', startCertManager],
  ])('of type %s has half as many places after its own time-out', async (_type, start) => {
    let times = 1;
    const clock: Clock = {
      ...systemClock,
      sleep: (ms, signal) => systemClock.sleep(ms / times, signal),
      deadline: (ms, parent) => systemClock.deadline(ms / times, parent),
    };
    const { issuer, hang } = await start(clock);
    onTestFinished(() => issuer.close());
    const identity = { ...IDENTITY, ...issuer.subject(IDENTITY) };
    const queues = createEndpointQueues({ clock });
    onTestFinished(() => queues.close());
    const backend: QueuedBackend = {
      ...{ mesh: 'default', name: 'ca-1', endpoint: 'there', local: false, metrics: undefined },
      concurrency: { start: 8, max: 8, targetDelayMs: 50 },
    };
    const signed = async (requestId: string) => {
      const request = await requestFor(identity, 'EC-P256', 3600, requestId);
      return queues.run(backend, 'first', (call) => issuer.sign(request, call), live());
    };
    await signed('request-1');
    expect(queues.load(backend).limit).toBe(8);
    hang();
    times = TIMES;
    await expect(signed('request-2')).rejects.toThrow(IssuerTimeoutError);
    expect(queues.load(backend).limit).toBe(4);
  });
});
