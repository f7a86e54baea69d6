import { acquireCluster, type Cluster } from '../../adapters/certmanager/cluster.ts';
import { module } from '../../adapters/certmanager/module.ts';
import type { IssuedCertificate, Issuer } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps, type TestDepsOptions } from '../conformance/issuer-deps.ts';
import {
  type CertManagerController,
  type CertManagerControllerOptions,
  startCertManagerController,
  TEST_ISSUER,
} from '../fakes/kubernetes/cert-manager-controller.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../fakes/kubernetes/fake-kubernetes.ts';

const CONTEXT = { mesh: 'default', backend: 'ca-1' };

const WHO = { mesh: 'default', dataplane: 'web-1', tags: new Map([['kuma.io/service', ['web']]]) };

export interface Replica {
  readonly issuer: Issuer;
  readonly deps: TestDeps<typeof systemClock>;
  /** What all backends of this replica share. */
  readonly cluster: Cluster;
  sign(requestId?: string, options?: { signal?: AbortSignal; ttlSeconds?: number }): Promise<IssuedCertificate>;
  close(): Promise<void>;
}

export interface TestBackend extends Replica {
  readonly kube: FakeKubernetes;
  readonly controller: CertManagerController;
  /** Another mesh-ca, or another backend of this one (`shared`). */
  startReplica(options?: ReplicaOptions): Promise<Replica>;
  /** Names of the objects that are there, once deletions behind the callers' backs are done. */
  leftovers(): Promise<readonly string[]>;
}

export interface ReplicaOptions extends Pick<TestDepsOptions<typeof systemClock>, 'settings' | 'shared'> {
  readonly conf?: object;
}

/** A certmanager backend on the fake API server, by the real clock. KUBECONFIG names the fake until the test ends. */
export async function startBackend(
  onTestFinished: (end: () => Promise<void>) => void,
  options: ReplicaOptions & { readonly controller?: Omit<CertManagerControllerOptions, 'cluster'> } = {},
): Promise<TestBackend> {
  const kube = await startFakeKubernetes();
  const controller = await startCertManagerController({ cluster: kube, ...options.controller });
  const former = process.env.KUBECONFIG;
  process.env.KUBECONFIG = await kube.kubeconfigFor('mesh-ca');
  const replicas: Replica[] = [];
  onTestFinished(async () => {
    for (const replica of replicas) await replica.close();
    await controller.close();
    await kube.close();
    if (former === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = former;
  });

  async function startReplica({ conf, settings, shared }: ReplicaOptions = {}): Promise<Replica> {
    const deps = createTestDeps({
      clock: systemClock,
      shared: shared ?? createSharedResources(),
      ...(settings && { settings }),
    });
    const issuer = module.create(
      CONTEXT,
      module.parseConf({ issuerRef: { name: TEST_ISSUER }, ...conf }, CONTEXT),
      deps,
    );
    const lease = acquireCluster(deps);
    const identity = { ...WHO, uriSans: ['spiffe://default/web'], ...issuer.subject(WHO) };
    const replica: Replica = {
      issuer,
      deps,
      cluster: lease.value,
      async sign(requestId = 'request-1', { signal = live().signal, ttlSeconds = 3600 } = {}) {
        return issuer.sign(await requestFor(identity, 'EC-P256', ttlSeconds, requestId), { signal });
      },
      async close() {
        await issuer.close();
        await lease.release();
      },
    };
    replicas.push(replica);
    return replica;
  }

  return {
    ...(await startReplica(options)),
    kube,
    controller,
    startReplica,
    async leftovers() {
      const isIdle = () => replicas.every(({ cluster }) => cluster.deletions.size === 0);
      for (let tries = 0; tries < 200 && !isIdle(); tries += 1) await systemClock.sleep(20);
      return (await kube.admin.list()).map(({ metadata }) => metadata.name);
    },
  };
}

export async function waitUntil(what: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (await what()) return;
    await systemClock.sleep(10);
  }
  throw new Error('waited in vain');
}
