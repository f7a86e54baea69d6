import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ClusterClient, createClusterClient } from '../test/fakes/kubernetes/cluster-client.ts';
import { writeKubeconfig } from '../test/fakes/kubernetes/kubeconfig.ts';
import { loadPolicy } from '../test/fakes/kubernetes/rbac.ts';
import { SYSTEM_NAMESPACE, type TestCluster, USERS } from '../test/fakes/kubernetes/test-cluster.ts';
import { installResources, readCounts, replaceRbac } from './kubernetes-setup.ts';
import { onProcessEnd } from './process-end.ts';
import { makeServerCertificate } from './server-certificate.ts';
import { findFreePort, type ServerProcess, startServerProcess } from './server-process.ts';

export interface KubernetesOptions {
  /** Told what is used. Default: nobody. */
  print?(line: string): void;
}

const READY_WITHIN_MS = 60_000;
const PORT_TRIES = 3;
const TOKEN_BYTES = 24;

/**
 * A real kube-apiserver and etcd of the folder that `KUBEBUILDER_ASSETS` names, as Kubernetes' own envtest starts them: no controllers, no
 * nodes. CertificateRequests, the namespaces and the shipped access document are there; everything else comes through the API.
 * @throws Error when the variable is not set, or with a program's last lines when it does not start
 */
export async function startKubernetes(options: KubernetesOptions = {}): Promise<TestCluster> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (!assets)
    throw new Error('no kube-apiserver here: set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver');
  for (let attempt = 1; ; attempt++) {
    try {
      const cluster = await startPrograms(assets);
      options.print?.(`kubernetes: kube-apiserver at ${cluster.address} (KUBEBUILDER_ASSETS)`);
      return cluster;
    } catch (error) {
      const portWasTaken = error instanceof Error && error.message.includes('address already in use');
      if (!portWasTaken || attempt === PORT_TRIES) throw error;
    }
  }
}

async function startPrograms(assets: string): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-kubernetes-'));
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  const forgetFolder = onProcessEnd(removeFolder);
  const started: ServerProcess[] = [];
  try {
    return await startInFolder(assets, folder, started, async () => {
      forgetFolder();
      await rm(folder, { recursive: true, force: true });
    });
  } catch (error) {
    for (const server of started) await server.stop();
    forgetFolder();
    removeFolder();
    throw error;
  }
}

async function startInFolder(
  assets: string,
  folder: string,
  started: ServerProcess[],
  removeFolder: () => Promise<void>,
): Promise<TestCluster> {
  const [port, etcdPort, etcdPeerPort] = [await findFreePort(), await findFreePort(), await findFreePort()];
  const address = `https://127.0.0.1:${port}`;
  const certificate = await makeServerCertificate(folder, ['IP:127.0.0.1', 'DNS:localhost']);
  const caCertPem = await readFile(certificate.caCertFile, 'utf8');
  const tokens = new Map(USERS.map(({ name }) => [name, randomBytes(TOKEN_BYTES).toString('base64url')]));
  const tokenFile = join(folder, 'tokens.csv');
  const lines = USERS.map(
    ({ name, username, groups }) => `${tokens.get(name)},${username},${name},"${groups.join(',')}"\n`,
  );
  await writeFile(tokenFile, lines.join(''), { mode: 0o600 });
  const accountKeyFile = join(folder, 'service-account.key');
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFile(accountKeyFile, privateKey.export({ type: 'sec1', format: 'pem' }), { mode: 0o600 });

  const run = async (program: string, args: readonly string[], isReady: () => Promise<boolean>) => {
    const server = await startServerProcess({
      command: [join(assets, program), ...args],
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder },
      readyWithinMs: READY_WITHIN_MS,
      isReady,
    });
    started.push(server);
    return server;
  };
  const etcdAddress = `http://127.0.0.1:${etcdPort}`;
  const etcd = await run(
    'etcd',
    [
      `--data-dir=${join(folder, 'etcd')}`,
      `--listen-client-urls=${etcdAddress}`,
      `--advertise-client-urls=${etcdAddress}`,
      `--listen-peer-urls=http://127.0.0.1:${etcdPeerPort}`,
    ],
    async () => (await fetch(`${etcdAddress}/health`)).ok,
  );

  const kubeconfigFor: TestCluster['kubeconfigFor'] = (user, via = address) =>
    writeKubeconfig(folder, user, { address: via, caCertPem, token: tokens.get(user) ?? '' }, SYSTEM_NAMESPACE);
  const admin: ClusterClient = await createClusterClient(await kubeconfigFor('admin'), SYSTEM_NAMESPACE);
  const startApiServer = () =>
    run(
      'kube-apiserver',
      [
        `--etcd-servers=${etcdAddress}`,
        '--bind-address=127.0.0.1',
        '--advertise-address=127.0.0.1',
        '--endpoint-reconciler-type=none',
        `--secure-port=${port}`,
        `--tls-cert-file=${certificate.certFile}`,
        `--tls-private-key-file=${certificate.keyFile}`,
        `--token-auth-file=${tokenFile}`,
        '--authorization-mode=RBAC',
        '--service-account-issuer=https://127.0.0.1',
        `--service-account-key-file=${accountKeyFile}`,
        `--service-account-signing-key-file=${accountKeyFile}`,
        '--service-cluster-ip-range=10.0.0.0/24',
        '--disable-admission-plugins=ServiceAccount',
        `--cert-dir=${join(folder, 'certs')}`,
      ],
      async () => (await admin.request('GET', '/readyz')).status === 200,
    );
  let apiServer: ServerProcess | undefined = await startApiServer();
  await installResources(admin);
  const mesh = await createClusterClient(await kubeconfigFor('mesh-ca'), SYSTEM_NAMESPACE);
  const rbac = replaceRbac(admin, mesh);
  await rbac(await loadPolicy());

  const stop = async () => {
    const ending = apiServer;
    apiServer = undefined;
    // It keeps nothing but its connections, and asked kindly it would wait for the watches: 5 s.
    if (ending !== undefined) process.kill(ending.pid, 'SIGKILL');
    await ending?.stop();
    // Their connections are dead.
    admin.close();
    mesh.close();
  };
  let closed: Promise<void> | undefined;
  return {
    kind: 'real',
    address,
    kubeconfigFor,
    admin,
    setRbac: rbac,
    counts: () => readCounts(admin),
    stop,
    async restart() {
      await stop();
      apiServer = await startApiServer();
    },
    close() {
      closed ??= (async () => {
        await stop();
        await etcd.stop();
        await removeFolder();
      })();
      return closed;
    },
  };
}
