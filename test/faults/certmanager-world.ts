import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCsr } from '../../src/x509/csr.ts';
import { decodePem } from '../../src/x509/pem.ts';
import {
  type CertManagerController,
  type Outcome,
  startCertManagerController,
  TEST_ISSUER,
} from '../fakes/kubernetes/cert-manager-controller.ts';
import type { CertificateRequest } from '../fakes/kubernetes/certificate-request.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../fakes/kubernetes/fake-kubernetes.ts';
import type { Fault } from '../fakes/kubernetes/faults.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { makeTempDir } from '../support/temp-dir.ts';
import { type Calls, CLOCK_OFF_MS, type FaultWorld, flip, type ServerFault, serviceOf } from './fault-world.ts';

/** The fake API server over HTTPS and the controller that plays cert-manager. The proxy sees TLS, so the server counts. */
export async function startCertManagerWorld(): Promise<FaultWorld> {
  const kube = await startFakeKubernetes();
  let controllerOffsetMs = 0;
  const controller = await startCertManagerController({
    cluster: kube,
    now: () => new Date(Date.now() + controllerOffsetMs),
  });
  const { hostname, port } = new URL(kube.address);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  const folder = await makeTempDir();
  const kubeconfig = await readFile(await kube.kubeconfigFor('mesh-ca'), 'utf8');
  const file = join(folder.path, 'kubeconfig');
  await writeFile(file, kubeconfig.replaceAll(kube.address, `https://${proxy.host}:${proxy.port}`), { mode: 0o600 });
  const formerKubeconfig = process.env.KUBECONFIG;
  process.env.KUBECONFIG = file;
  const objects = countObjects(controller);
  let closed: Promise<void> | undefined;

  const restart = (meanwhile: () => Promise<void>): ServerFault => ({
    async begin() {
      await proxy.set({ kind: 'refuse' });
      await kube.stop();
    },
    async end() {
      await meanwhile();
      await kube.restart();
    },
  });
  const outcome = (name: Outcome): ServerFault => ({
    begin: async () => objects.set(name),
    end: async () => objects.set('issue'),
  });
  const clock = (offsetMs: number) =>
    flip((isOn) => {
      controllerOffsetMs = isOn ? offsetMs : 0;
      kube.faults.clockOffsetMs = controllerOffsetMs;
    });

  return {
    type: 'certmanager',
    server: 'fake API server',
    proxy,
    conf: { issuerRef: { name: TEST_ISSUER, kind: 'Issuer', group: 'cert-manager.io' } },
    secrets: () => new Map(),
    faults: {
      'wrong key': outcome('wrong-key'),
      'foreign root': outcome('foreign-root'),
      'expired CA': outcome('expired-ca'),
      'clock ahead': clock(CLOCK_OFF_MS),
      'clock behind': clock(-CLOCK_OFF_MS),
      throttled: answering(kube, { kind: 'too-many-requests', retryAfterSeconds: 1 }),
      'credentials revoked': {
        begin: async () => kube.faults.revokeToken('mesh-ca'),
        end: async () => kube.faults.restoreToken('mesh-ca'),
      },
      'restarted, same CA': restart(async () => {}),
      'restarted, new CA': restart(() => controller.rotateCa()),
      unwell: answering(kube, { kind: 'internal-error' }),
      'answer lost': answering(kube, { kind: 'lost-answer' }),
      'answer truncated': answering(kube, { kind: 'truncated' }),
      'answer is a page': answering(kube, { kind: 'garbage' }),
    },
    async calls(): Promise<Calls> {
      const { requests } = await kube.counts();
      const all = Object.values(requests).reduce((sum, count) => sum + count, 0);
      return { issuing: requests.create, all, byService: objects.byService() };
    },
    sensitive: () => (/token: *"?([^\s"]+)/.exec(kubeconfig)?.slice(1, 2) ?? []).filter((token) => token !== ''),
    async leftovers() {
      return (await kube.admin.list()).map(({ metadata }) => metadata.name);
    },
    close() {
      closed ??= closeAll();
      return closed;
    },
  };

  async function closeAll(): Promise<void> {
    if (formerKubeconfig === undefined) delete process.env.KUBECONFIG;
    else process.env.KUBECONFIG = formerKubeconfig;
    await proxy.close();
    await controller.close();
    await kube.close();
    await folder.remove();
  }
}

/** Answers of the server to mesh-ca alone, as long as the fault lasts. */
function answering(kube: FakeKubernetes, fault: Fault): ServerFault {
  let takeAway = () => {};
  return {
    begin: async () => {
      takeAway = kube.faults.add({ fault });
      // A watch that is open would hide it.
      kube.faults.dropWatches();
    },
    end: async () => takeAway(),
  };
}

/** Sees each new object once, by the question that the controller asks for its outcome. */
function countObjects(controller: CertManagerController) {
  const counts = new Map<string, Set<string>>();
  let current: Outcome = 'issue';
  controller.outcome = (request) => {
    const service = serviceIn(request);
    counts.set(service, (counts.get(service) ?? new Set()).add(request.metadata.uid));
    return current;
  };
  return {
    set(outcome: Outcome) {
      current = outcome;
    },
    byService: () => new Map([...counts].map(([service, uids]) => [service, uids.size])),
  };
}

function serviceIn({ spec }: CertificateRequest): string {
  const [block] = decodePem(Buffer.from(spec.request, 'base64').toString('latin1'));
  return serviceOf(parseCsr(block?.der ?? Buffer.alloc(0)).uriSans) ?? '';
}
