import { describe, expect, it, onTestFinished } from 'vitest';
import { EXPIRES_AT, LABELS } from '../../adapters/certmanager/request-object.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { startBackend, waitUntil } from './certmanager-backend.ts';

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

  it.each([
    { name: 'is refused', fault: { kind: 'webhook-denial' }, stays: 1 },
    { name: 'is done, and loses its answer', fault: { kind: 'lost-answer' }, stays: 0 },
  ] as const)('that $name is told by its outcome', async ({ fault, stays }) => {
    const { sign, kube, cluster } = await startBackend(onTestFinished);
    kube.faults.add({ fault, verbs: ['delete'], ...(stays === 0 && { times: 1 }) });
    await sign();
    const left = await cluster.deletions.settled(live().signal);
    expect(left).toHaveLength(stays);
    expect((await kube.admin.list()).map(({ metadata }) => metadata.name)).toEqual(left);
  });

  it.each([1, 6])(
    'that gets no answer is asked for again before mesh-ca ends, and holds up no other of %i',
    async (count) => {
      const { sign, kube, close } = await startBackend(onTestFinished);
      kube.faults.add({ fault: { kind: 'reset' }, verbs: ['delete'], times: count - 1 });
      kube.faults.add({ fault: { kind: 'hang' }, verbs: ['delete'], times: 1 });
      await Promise.all(Array.from({ length: count }, (_, index) => sign(`request-${index}`)));
      await waitUntil(() => kube.faults.struck === count);
      await close();
      expect(await kube.admin.list()).toEqual([]);
    },
  );

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

  it('is looked for once a minute, however many requests come one after the other', async () => {
    const { sign, kube, leftovers } = await startBackend(onTestFinished);
    for (const request of ['one', 'two', 'three', 'four']) {
      await sign(request);
      await leftovers();
    }
    // One for the watch to begin with, one for the sweep.
    expect((await kube.counts()).requests.list).toBe(2);
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
