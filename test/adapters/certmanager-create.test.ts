import { describe, expect, it, onTestFinished } from 'vitest';
import { CaError } from '../../src/issuer/errors.ts';
import type { Fault } from '../fakes/kubernetes/faults.ts';
import { inspectFailed } from '../support/inspect-all.ts';
import { startBackend, waitUntil } from './certmanager-backend.ts';

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

  it('leaves nothing when it is repeated, and the second is done after the object of the first has come and gone', async () => {
    const { sign, kube, controller, leftovers } = await startBackend(onTestFinished);
    controller.pause();
    const signed = sign();
    await waitUntil(async () => (await kube.admin.list()).length === 1);
    const [first] = await kube.admin.list();
    if (first === undefined) throw new TypeError('it is there');
    controller.resume();
    await signed;
    expect(await leftovers()).toEqual([]);
    const { name, labels = {}, annotations = {} } = first.metadata;
    await kube.admin.create({ metadata: { name, labels, annotations }, spec: first.spec });
    await waitUntil(async () => (await kube.admin.list()).length === 0);
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
    expect(await inspectFailed(issuer)).toMatchObject([
      { name: 'certmanager.rights', message: expect.stringContaining('lacks create on') },
    ]);
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
