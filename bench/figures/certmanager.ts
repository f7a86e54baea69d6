import { setTimeout as sleep } from 'node:timers/promises';
import { startCertManagerController, TEST_ISSUER } from '../../test/fakes/kubernetes/cert-manager-controller.ts';
import { createClusterClient } from '../../test/fakes/kubernetes/cluster-client.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../../test/fakes/kubernetes/fake-kubernetes.ts';
import type { Fault } from '../../test/fakes/kubernetes/faults.ts';
import { SYSTEM_NAMESPACE } from '../../test/fakes/kubernetes/test-cluster.ts';
import { type Asked, askForCertificates, runCallers } from '../ask.ts';
import type { Bench } from '../bench.ts';
import { type Figure, type Measurement, shareOf } from '../figure.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putMesh } from '../meshes.ts';

const CALLERS = 32;
const CONF = { issuerRef: { name: TEST_ISSUER, kind: 'Issuer', group: 'cert-manager.io' } };
/** One of these strikes every twentieth call of mesh-ca: 5 % of them. */
const FAULTS: readonly Fault[] = [
  { kind: 'too-many-requests', retryAfterSeconds: 1 },
  { kind: 'internal-error' },
  { kind: 'reset' },
  { kind: 'lost-answer' },
  { kind: 'truncated' },
];
/** Each of the five strikes every 96th call that reaches it: together 5 %. */
const EVERY = 96;
/** As every figure has it: with the first certificate alone mesh-ca loads client-node, for about a second. */
const WARM_UP = 200;
const CLEAN_WITHIN_MS = 60_000;

/**
 * CertificateRequests through mesh-ca against the same calls made directly, on the behaving API server and the controller of the tests, which run in
 * this process on the client's core; then as many requests as `effort.requests` while 5 % of all calls fail and mesh-ca is killed once.
 */
export async function measureCertManager(bench: Bench): Promise<Figure> {
  const kube = await startFakeKubernetes();
  bench.cleanup.add(kube.close);
  const controller = await startCertManagerController({ cluster: kube });
  bench.cleanup.add(controller.close);
  const { requests } = bench.effort;
  bench.say('CertificateRequests made directly');
  const direct = await askDirectly(kube, bench.csrs, Math.ceil(requests / 5));
  const dataDir = await bench.makeFolder();
  const kubeconfig = await kube.kubeconfigFor('mesh-ca');
  // The identity of a Pod: a container that is started again finds what it left behind at once.
  const env = { KUBECONFIG: kubeconfig };
  const flags = ['--pod-name', 'mesh-ca-0', '--pod-uid', '6f9d2c1e-3b1f-4d3a-9f52-0f1f6c1b7a10'];
  const start = () => startMeshCa(bench, dataDir, { env, flags });
  let meshCa = await start();
  await putMesh(meshCa, 'inventory', { type: 'certmanager', conf: CONF });

  bench.say('the same through mesh-ca');
  const ask = (mesh: string, count: number, onIssued?: (sofar: number) => void): Promise<Asked> =>
    askForCertificates({
      address: () => meshCa.address,
      ...{ mesh, count, callers: CALLERS, tries: 50 },
      csrs: [],
      ...(onIssued === undefined ? {} : { onIssued }),
    });
  await ask('inventory', WARM_UP);
  const before = await kube.counts();
  const through = await ask('inventory', Math.ceil(requests / 5));
  const after = await kube.counts();

  bench.say(`${requests} requests, 5 % faults, one crash`);
  await putMesh(meshCa, 'broken', { type: 'certmanager', conf: CONF });
  const undo = FAULTS.map((fault) => kube.faults.add({ fault, every: EVERY }));
  let crash: Promise<void> | undefined;
  const hurt = await ask('broken', requests, (sofar) => {
    if (sofar >= requests / 2) crash ??= restart();
  });
  await crash;
  const struck = kube.faults.struck;
  for (const one of undo) one();
  const leftover = await waitUntilClean(kube);
  await meshCa.stop();
  await controller.close();
  await kube.close();

  async function restart(): Promise<void> {
    await meshCa.kill();
    meshCa = await start();
  }

  const calls = (['create', 'get', 'list', 'delete'] as const).map(
    (verb) => [verb, (after.requests[verb] - before.requests[verb]) / through.issued] as const,
  );
  return {
    name: 'certmanager',
    measurements: [
      measurementOf('CertificateRequests made directly', direct),
      {
        ...measurementOf('the same through mesh-ca', through),
        details: { callsPerCertificate: Object.fromEntries(calls) },
      },
      { ...measurementOf('with 5 % faults and one crash', hurt), details: { ...hurt, struck, leftover } },
    ],
    comparisons: [
      ...shareOf('certmanager of direct calls', rate(through), rate(direct)),
      { name: 'certificates a second', value: rate(through), unit: '/s', target: { over: 50 } },
      {
        name: `issued of ${requests} with faults`,
        value: (100 * hurt.issued) / requests,
        unit: '%',
        target: { over: 99.99 },
      },
      { name: 'objects left over', value: leftover, unit: '', target: { under: 1 } },
    ],
  };
}

const rate = ({ issued, seconds }: Pick<Asked, 'issued' | 'seconds'>): number => issued / seconds;

function measurementOf(name: string, asked: Asked): Measurement {
  return { name, certificatesPerSecond: rate(asked), p50Ms: asked.p50Ms, p99Ms: asked.p99Ms };
}

/** Create, wait for the watch to tell that it is ready, delete: what any client of cert-manager does for one certificate. */
async function askDirectly(kube: FakeKubernetes, csrs: readonly string[], count: number): Promise<Asked> {
  const client = await createClusterClient(await kube.kubeconfigFor('admin'), SYSTEM_NAMESPACE);
  const ready = new Map<string, () => void>();
  const ending = new AbortController();
  const { resourceVersion } = await client.listAll();
  const watching = client
    .watchAll(
      resourceVersion,
      ({ object }) => {
        if (object.status?.certificate !== undefined) ready.get(object.metadata.name ?? '')?.();
      },
      ending.signal,
    )
    .catch(() => {});
  const asked = await runCallers({ count, callers: CALLERS }, async (index, note) => {
    const name = `direct-${index}`;
    const sentAt = performance.now();
    const isReady = new Promise<void>((resolve) => ready.set(name, resolve));
    await client.create({
      metadata: { name },
      spec: {
        request: Buffer.from(csrs[index % csrs.length] ?? '').toString('base64'),
        issuerRef: CONF.issuerRef,
        duration: '86400s',
        usages: ['digital signature', 'key encipherment', 'server auth', 'client auth'],
      },
    });
    await isReady;
    ready.delete(name);
    note.issued(sentAt);
    await client.delete(name);
  });
  ending.abort();
  await watching;
  client.close();
  return asked;
}

/** How many objects are there after a while in which nobody asks for anything. */
async function waitUntilClean(kube: FakeKubernetes): Promise<number> {
  const endsAt = performance.now() + CLEAN_WITHIN_MS;
  for (;;) {
    const left = (await kube.admin.list()).length;
    if (left === 0 || performance.now() > endsAt) return left;
    await sleep(250);
  }
}
