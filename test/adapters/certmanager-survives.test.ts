import { describe, expect, it, onTestFinished } from 'vitest';
import { EXPIRES_AT, LABELS } from '../../adapters/certmanager/request-object.ts';
import { CaError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import type { Fault } from '../fakes/kubernetes/faults.ts';
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

describe('a create call', () => {
  const CASES: readonly [string, Fault, creates: number][] = [
    ['a lost answer', { kind: 'lost-answer' }, 2],
    ['a reset', { kind: 'reset' }, 2],
    ['half an answer', { kind: 'truncated' }, 2],
    ['a page in place of JSON', { kind: 'garbage' }, 2],
    ['an internal error', { kind: 'internal-error' }, 2],
    ['a webhook that is away', { kind: 'webhook-failure' }, 2],
    ['throttling', { kind: 'too-many-requests', retryAfterSeconds: 1 }, 2],
  ];
  it.each(CASES)('survives %s', async (_name, fault, creates) => {
    const { sign, kube, controller, leftovers } = await startBackend(onTestFinished);
    kube.faults.add({ fault, verbs: ['create'], times: 1 });
    await sign();
    expect((await kube.counts()).requests.create).toBeLessThanOrEqual(creates);
    expect(controller.finished).toBe(1);
    expect(await leftovers()).toEqual([]);
  });

  it('is made at most three times, whatever the server answers', async () => {
    const { sign, kube, leftovers } = await startBackend(onTestFinished);
    for (const kind of ['lost-answer', 'internal-error', 'garbage', 'conflict', 'webhook-failure'] as const) {
      await sign(`${kind}-before`);
      const before = (await kube.counts()).requests.create;
      const takeAway = kube.faults.add({ fault: { kind }, verbs: ['create'] });
      const outcome = await sign(kind).catch((error: unknown) => error);
      takeAway();
      // An object that was made after all is found again.
      if (kind !== 'lost-answer') expect(outcome, kind).toBeInstanceOf(CaError);
      expect((await kube.counts()).requests.create - before, kind).toBeLessThanOrEqual(3);
    }
    expect(await leftovers()).toEqual([]);
  });

  it('leaves nothing when it is done after its caller has hung up', async () => {
    const { sign, kube, controller, leftovers } = await startBackend(onTestFinished);
    await sign('before');
    controller.outcome = () => 'pending';
    kube.faults.add({ fault: { kind: 'slow', ms: 300 }, verbs: ['create'], times: 1 });
    const caller = new AbortController();
    const signed = sign('late', { signal: caller.signal });
    signed.catch(() => {});
    await waitUntil(() => kube.faults.struck === 1);
    caller.abort(new Error('hung up'));
    await expect(signed).rejects.toThrow('hung up');
    // The deletion found nothing; the object came after it.
    await waitUntil(async () => (await kube.counts()).requests.delete >= 3);
    expect(await leftovers()).toEqual([]);
  });

  it('is not repeated when a rule of the cluster refuses it', async () => {
    const { sign, kube } = await startBackend(onTestFinished);
    kube.faults.add({ fault: { kind: 'webhook-denial', message: 'no meshes here' }, verbs: ['create'] });
    await expect(sign()).rejects.toMatchObject({
      code: 'ERR_ISSUER_DENIED',
      message: expect.stringContaining('no meshes here'),
    });
    expect((await kube.counts()).requests.create).toBe(1);
  });

  it('says which right is missing, and which document gives it', async () => {
    const { sign, kube, issuer } = await startBackend(onTestFinished);
    await kube.setRbac(rbacFor(['list', 'watch', 'get', 'delete']));
    await expect(sign()).rejects.toMatchObject({
      code: 'ERR_ISSUER_DENIED',
      fix: expect.stringMatching(/right create on certificaterequests.*policies\/kubernetes/),
    });
    expect(await issuer.inspect(live())).toContainEqual(
      expect.objectContaining({
        name: 'certmanager.rights',
        ok: false,
        message: expect.stringContaining('lacks create on'),
      }),
    );
  });
});

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

describe('a deletion', () => {
  it('that the cluster refuses is asked for three times and left to the sweep', async () => {
    const { sign, kube, leftovers } = await startBackend(onTestFinished);
    const refuse = kube.faults.add({ fault: { kind: 'webhook-denial', message: 'stays' }, verbs: ['delete'] });
    await sign('stays');
    const left = await leftovers();
    refuse();
    await sign('goes');
    expect(await leftovers()).toEqual(left);
    expect(left).toHaveLength(1);
    expect((await kube.counts()).requests.delete).toBe(4);
  });

  it('of a server that hangs does not hold up the end of mesh-ca', async () => {
    const { sign, kube, close } = await startBackend(onTestFinished);
    kube.faults.add({ fault: { kind: 'hang' }, verbs: ['delete'] });
    await sign();
    const startedMs = systemClock.monotonicMs();
    await close();
    // Less than what one call may take.
    expect(systemClock.monotonicMs() - startedMs).toBeLessThan(2_900);
  });
});

describe('what a crash left behind', () => {
  const objectOf = async (instance: string, expiresAt: Date) => {
    const { csrDer } = await requestFor(
      {
        mesh: 'default',
        dataplane: 'a',
        tags: new Map(),
        uriSans: ['spiffe://default/a'],
        dnsNames: [],
        commonName: '',
      },
      'EC-P256',
      60,
    );
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${csrDer.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
    return {
      metadata: {
        generateName: 'left-',
        labels: { [LABELS.managedBy]: 'mesh-ca', [LABELS.instance]: instance },
        annotations: { [EXPIRES_AT]: expiresAt.toISOString() },
      },
      spec: {
        request: Buffer.from(pem).toString('base64'),
        issuerRef: { name: 'nobody', kind: 'Issuer', group: 'cert-manager.io' },
      },
    };
  };

  it('is swept, and nothing of another replica that is alive', async () => {
    const { kube, issuer, leftovers } = await startBackend(onTestFinished, {
      settings: { podName: 'mesh-ca-0', podUid: 'pod-uid-0' },
    });
    const inTime = new Date(Date.now() + 60_000);
    const late = new Date(Date.now() - 60_000);
    await kube.admin.create(await objectOf('other-replica', late));
    await kube.admin.create(await objectOf('pod-uid-0', inTime));
    const alive = await kube.admin.create(await objectOf('other-replica', inTime));
    await issuer.trustBundle(live()).catch(() => {});
    await waitUntil(async () => (await leftovers()).length === 1);
    expect(await leftovers()).toEqual([alive.metadata.name]);
  });

  it('is judged by the clock of the cluster, not by ours', async () => {
    const { kube, sign, startReplica, controller, leftovers } = await startBackend(onTestFinished);
    kube.faults.clockOffsetMs = 600_000;
    controller.pause();
    const caller = new AbortController();
    const signed = sign('slow', { signal: caller.signal });
    await waitUntil(async () => (await kube.admin.list()).length === 1);
    const other = await startReplica();
    await other.issuer.trustBundle(live()).catch(() => {});
    await waitUntil(async () => (await kube.counts()).requests.list >= 3);
    expect(await leftovers()).toHaveLength(1);
    caller.abort();
    await expect(signed).rejects.toThrow();
  });
});

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
    expect(await statesOf(backend)).toMatchObject({ 'certmanager.clock-in-step': false });
  });
});

function rbacFor(verbs: readonly string[]): string {
  return `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: some, namespace: kong-mesh-system }
rules:
  - { apiGroups: ["cert-manager.io"], resources: ["certificaterequests"], verbs: ${JSON.stringify(verbs)} }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: some, namespace: kong-mesh-system }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: some }
subjects:
  - { kind: ServiceAccount, name: mesh-ca, namespace: kong-mesh-system }
`;
}
