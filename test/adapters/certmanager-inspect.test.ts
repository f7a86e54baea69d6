import { describe, expect, it, onTestFinished } from 'vitest';
import { module } from '../../adapters/certmanager/module.ts';
import { countRequest, withRequestCount } from '../../src/backends/count-requests.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { TEST_START } from '../conformance/issuer-deps.ts';
import { makeCa } from '../conformance/make-ca.ts';
import { TEST_ISSUER } from '../fakes/kubernetes/cert-manager-controller.ts';
import { loadPolicy } from '../fakes/kubernetes/rbac.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll } from '../support/inspect-all.ts';
import { type Replica, startBackend, waitUntil } from './certmanager-backend.ts';

const CONTEXT = { mesh: 'default', backend: 'ca-1' };
const DAY_MS = 86_400_000;

/** How each check ended. */
const statesOf = async ({ issuer }: Pick<Replica, 'issuer'>) =>
  Object.fromEntries((await inspectAll(issuer)).map(({ name, status }) => [name.replace('certmanager.', ''), status]));
const found = async ({ issuer }: Pick<Replica, 'issuer'>) =>
  (await inspectAll(issuer)).filter(({ status }) => status === 'warning' || status === 'failed');

describe('an inspection', () => {
  it('finds out where it ends, and whether that may pass', async () => {
    const backend = await startBackend(onTestFinished);
    await backend.sign();
    await backend.leftovers();
    expect(await statesOf(backend)).toEqual(
      Object.fromEntries(module.checks.map(({ name }) => [name.replace('certmanager.', ''), 'passed'])),
    );
    backend.kube.faults.revokeToken('mesh-ca');
    expect(await statesOf(backend)).toEqual({
      ...{ 'kubeconfig-loaded': 'passed', 'address-reachable': 'passed', clock: 'passed' },
      ...{ 'credentials-accepted': 'failed', 'root-known': 'passed', 'ca-valid': 'passed' },
    });
    await backend.kube.stop();
    expect(await found(backend)).toMatchObject([
      { name: 'certmanager.address-reachable', status: 'failed', retry: true },
    ]);
    process.env.KUBECONFIG = '/nowhere/kubeconfig';
    const lost = await backend.startReplica({ shared: createSharedResources() });
    expect((await found(lost))[0]).toMatchObject({
      name: 'certmanager.kubeconfig-loaded',
      status: 'failed',
      retry: false,
    });
  });

  it('does not look at a root that only the first certificate tells', async () => {
    const backend = await startBackend(onTestFinished);
    expect(await found(backend)).toEqual([]);
    expect(await statesOf(backend)).toMatchObject({ 'root-known': 'skipped', 'ca-valid': 'skipped' });
  });

  const CLOCKS: readonly [offsetMs: number, status: string][] = [
    [-600_000, 'failed'],
    [-20_000, 'warning'],
    [600_000, 'failed'],
    [8_000, 'failed'],
  ];
  it.each(CLOCKS)('tells a clock that is off by %i ms: %s', async (offsetMs, status) => {
    const backend = await startBackend(onTestFinished);
    backend.kube.faults.clockOffsetMs = offsetMs;
    const { clock } = await statesOf(backend);
    expect(clock).toBe(status);
    expect((await found(backend)).find(({ name }) => name === 'certmanager.clock')?.fix).toContain('NTP');
  });

  it('tells the rights that are missing by their verbs', async () => {
    const backend = await startBackend(onTestFinished);
    await backend.kube.setRbac((await loadPolicy()).replace('"create", "get", "list", "watch"', '"get", "list"'));
    expect(await found(backend)).toMatchObject([
      { name: 'certmanager.rights', status: 'failed', message: expect.stringContaining('lacks create, watch on') },
    ]);
  });

  it('warns when the API server does not tell the rights', async () => {
    const backend = await startBackend(onTestFinished);
    // A list and a look at the namespace come before the five reviews.
    backend.kube.faults.add({ fault: { kind: 'internal-error' }, every: 3 });
    expect(await found(backend)).toMatchObject([
      { name: 'certmanager.rights', status: 'warning', message: expect.stringContaining('could not be found out') },
    ]);
  });

  it('finds a namespace that is not there, for a user who may look', async () => {
    const systemNamespace = 'elsewhere';
    const backend = await startBackend(onTestFinished, { settings: { systemNamespace } });
    await backend.kube.setRbac(CLUSTER_WIDE);
    expect(await found(backend)).toMatchObject([
      {
        name: 'certmanager.namespace',
        status: 'failed',
        message: expect.stringContaining('has no such namespace'),
        fix: expect.stringContaining('kubectl create namespace elsewhere'),
      },
    ]);
  });

  it('judges the root of caCert that is alive, and tells the end of the last one', async () => {
    const backend = await startBackend(onTestFinished);
    const today = Math.ceil((Date.now() - TEST_START.getTime()) / DAY_MS);
    const old = await makeCa({ name: 'old', fromDay: today - 20, toDay: today - 10 });
    const ending = await makeCa({ name: 'ending', fromDay: today - 20, toDay: today + 10 });
    const inspect = async (...pems: string[]) =>
      found(await backend.startReplica({ conf: { caCert: { inlineString: pems.join('') } } }));
    const name = 'certmanager.ca-valid';
    expect(await inspect(backend.controller.rootPem, old.certPem)).toEqual([]);
    expect(await inspect(ending.certPem, old.certPem)).toMatchObject([{ name, status: 'warning' }]);
    expect(await inspect(old.certPem)).toMatchObject([{ name, status: 'failed' }]);
  });
});

describe('the requests to the API server', () => {
  it('are counted for the backend that they are made for, its deletions with them', async () => {
    const shared = createSharedResources();
    const first = await startBackend(onTestFinished, { shared });
    const second = await first.startReplica({ shared });
    await second.sign('opens-the-watch');
    await first.leftovers();
    const before = [first.deps.requests.count, second.deps.requests.count];
    await second.sign('counted');
    await first.leftovers();
    // One creates and one deletes; the watch stands already.
    expect([first.deps.requests.count, second.deps.requests.count]).toEqual([before[0], (before[1] ?? 0) + 2]);
  });

  it('count a watch that is opened again, for a backend that is still there', async () => {
    const shared = createSharedResources();
    const first = await startBackend(onTestFinished, { shared });
    const second = await first.startReplica({ shared });
    await first.sign();
    await first.leftovers();
    /** Somebody waits, or it would not be opened again. */
    const reopened = async ({ deps, cluster }: Pick<Replica, 'deps' | 'cluster'>) => {
      const release = cluster.hold();
      const before = deps.requests.count;
      await waitUntil(() => {
        first.kube.faults.dropWatches();
        return deps.requests.count > before;
      });
      release();
    };
    await reopened(first);
    await first.close();
    await reopened(second);
    await waitUntil(async () => (await first.kube.counts()).requests.watch >= 3);
  });

  it('count for the certificate that they are made for; watches and deletions for none', async () => {
    const { deps, leftovers } = await startBackend(onTestFinished);
    const conf = module.parseConf({ issuerRef: { name: TEST_ISSUER } }, CONTEXT);
    const issuer = module.create(CONTEXT, conf, { ...deps, onRequest: () => countRequest(undefined) });
    onTestFinished(() => issuer.close());
    let requests = 0;
    await withRequestCount(
      async () => {
        for (const id of ['one', 'two', 'three']) {
          await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 3600, id), live());
          await leftovers();
        }
      },
      (count) => {
        requests = count;
      },
    );
    expect(requests).toBe(3);
  });

  it('leave nothing of a certificate behind', async () => {
    const backend = await startBackend(onTestFinished);
    await backend.sign();
    expect(await backend.leftovers()).toEqual([]);
  });
});

describe('the module', () => {
  it('has one endpoint for all meshes: the cluster', () => {
    const endpointOf = (mesh: string, issuer: string) =>
      module.endpoint?.(module.parseConf({ issuerRef: { name: issuer } }, { mesh, backend: 'ca-1' }));
    expect(endpointOf('a', 'one')).toBe('cluster');
    expect(endpointOf('b', 'two')).toBe('cluster');
  });
});

const CLUSTER_WIDE = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: wide }
rules:
  - { apiGroups: ["cert-manager.io"], resources: ["certificaterequests"], verbs: ["*"] }
  - { apiGroups: [""], resources: ["namespaces"], verbs: ["get"] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: wide }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: wide }
subjects:
  - { kind: ServiceAccount, name: mesh-ca, namespace: kong-mesh-system }
`;
