import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { makeServerCertificate } from '../../../testcontainers/server-certificate.ts';
import { makeTempDir } from '../../support/temp-dir.ts';
import { createCounts } from './api-counts.ts';
import { createApiListener } from './api-listener.ts';
import { createClusterClient } from './cluster-client.ts';
import { createFaultRules, isMeant } from './fault-rules.ts';
import type { ClusterFaults } from './faults.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { type Allows, createRbac, loadPolicy } from './rbac.ts';
import { createRequestStore } from './request-store.ts';
import { tooOld } from './status.ts';
import { type ClusterUser, SYSTEM_NAMESPACE, type TestCluster, USERS } from './test-cluster.ts';
import type { OpenWatch } from './watches.ts';

export interface FakeKubernetesOptions {
  /** Default: the real time. */
  readonly now?: () => Date;
  /** Roles and bindings as YAML documents. Default: those of policies/kubernetes. */
  readonly rbac?: string;
  /** Changes that a watch can begin before. Default 10,000. */
  readonly historySize?: number;
  /** Default 60 s, as a real server's about one a minute. */
  readonly bookmarkIntervalMs?: number;
}

export interface FakeKubernetes extends TestCluster {
  readonly kind: 'fake';
  readonly faults: ClusterFaults;
}

const TOKEN_BYTES = 24;

/** Made by three calls of openssl: once for all fakes of a process. */
let serverCertificate: ReturnType<typeof makeCertificate> | undefined;

async function makeCertificate(): Promise<{ cert: Buffer; key: Buffer; caCertPem: string }> {
  const folder = await makeTempDir();
  try {
    const files = await makeServerCertificate(folder.path, ['IP:127.0.0.1', 'DNS:localhost']);
    const [cert, key, ca] = await Promise.all([
      readFile(files.certFile),
      readFile(files.keyFile),
      readFile(files.caCertFile),
    ]);
    return { cert, key, caCertPem: ca.toString('utf8') };
  } finally {
    await folder.remove();
  }
}

/** A behaving API server over HTTPS, with a CA of its own, on a free port of 127.0.0.1. */
export async function startFakeKubernetes(options: FakeKubernetesOptions = {}): Promise<FakeKubernetes> {
  const { now = () => new Date(), historySize = 10_000, bookmarkIntervalMs = 60_000 } = options;
  const folder = await makeTempDir();
  serverCertificate ??= makeCertificate();
  const { cert, key, caCertPem } = await serverCertificate;
  const tokens = new Map(USERS.map((user) => [user.name, randomBytes(TOKEN_BYTES).toString('base64url')]));
  const usersByToken = new Map(USERS.map((user) => [tokens.get(user.name) ?? '', user]));
  const revoked = new Set<string>();
  const connections = createConnections();
  const rules = createFaultRules();
  const counts = createCounts();
  const watches = new Set<OpenWatch>();
  const store = createRequestStore(historySize);
  let clockOffsetMs = 0;

  const parts = {
    store,
    rules,
    counts,
    watches,
    bookmarkIntervalMs,
    now: () => new Date(now().getTime() + clockOffsetMs),
    allows: createRbac(options.rbac ?? (await loadPolicy())) as Allows,
    userOf(token: string): ClusterUser | undefined {
      const user = usersByToken.get(token);
      return user !== undefined && revoked.has(user.name) ? undefined : user;
    },
    onUser: (request: http.IncomingMessage, user: ClusterUser) => connections.belongsTo(request, user),
    reset: (request: http.IncomingMessage) => connections.reset(request),
  };
  const listener = createApiListener(parts);
  let server: https.Server | undefined;
  let port = 0;

  async function start(): Promise<void> {
    const started = https.createServer({ cert, key, keepAlive: true }, listener);
    started.keepAliveTimeout = 0;
    started.on('connection', connections.add).listen(port, '127.0.0.1');
    await once(started, 'listening');
    const address = started.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    port = address.port;
    server = started;
  }

  async function stop(): Promise<void> {
    const ending = server;
    if (ending === undefined) return;
    server = undefined;
    const closed = once(ending, 'close');
    ending.close();
    connections.resetAll(() => true);
    for (const watch of [...watches]) watch.end();
    await closed;
    admin.close();
  }

  const faults: ClusterFaults = {
    add: rules.add,
    get struck() {
      return rules.struck;
    },
    dropWatches(how = 'end', users) {
      const chosen = [...watches].filter(({ user }) => isMeant(user, users));
      for (const watch of chosen) {
        if (how === 'reset') watch.reset();
        else watch.end(how === 'expired' ? tooOld(1, store.version) : undefined);
      }
      return chosen.length;
    },
    resetConnections: (users) => connections.resetAll((user) => isMeant(user, users)),
    compact: () => store.forgetHistory(),
    revokeToken: (user) => void revoked.add(user),
    restoreToken: (user) => void revoked.delete(user),
    get clockOffsetMs() {
      return clockOffsetMs;
    },
    set clockOffsetMs(ms: number) {
      clockOffsetMs = ms;
    },
    clear() {
      rules.clear();
      revoked.clear();
      clockOffsetMs = 0;
    },
    connections: connections.count,
    get watchesOpened() {
      return counts.watchesOpened;
    },
  };

  await start();
  const address = `https://127.0.0.1:${port}`;
  const kubeconfigFor: TestCluster['kubeconfigFor'] = (user, via = address) =>
    writeKubeconfig(folder.path, user, { address: via, caCertPem, token: tokens.get(user) ?? '' }, SYSTEM_NAMESPACE);
  const admin = await createClusterClient(await kubeconfigFor('admin'), SYSTEM_NAMESPACE);
  let closed: Promise<void> | undefined;
  return {
    kind: 'fake',
    address,
    kubeconfigFor,
    admin,
    faults,
    async setRbac(yaml) {
      parts.allows = createRbac(yaml);
    },
    async counts() {
      const watchesOpen = [...watches].filter(({ user }) => isMeant(user, undefined)).length;
      return { requests: { ...counts.requests }, watchesOpen };
    },
    stop,
    async restart() {
      await stop();
      await start();
    },
    close() {
      closed ??= stop().then(() => {
        admin.close();
        return folder.remove();
      });
      return closed;
    },
  };
}

/** The TCP connections, and who speaks on each: TLS hides the socket that can be reset. */
function createConnections() {
  const open = new Map<string, { readonly socket: Socket; user: ClusterUser | undefined }>();
  let opened = 0;
  const keyOf = (socket: Socket) => `${socket.remoteAddress}:${socket.remotePort}`;
  const entryOf = (request: http.IncomingMessage) => open.get(keyOf(request.socket));
  return {
    add(socket: Socket): void {
      const key = keyOf(socket);
      opened += 1;
      open.set(key, { socket, user: undefined });
      socket.on('error', () => {}).once('close', () => open.delete(key));
    },
    belongsTo(request: http.IncomingMessage, user: ClusterUser): void {
      const entry = entryOf(request);
      if (entry !== undefined) entry.user = user;
    },
    reset: (request: http.IncomingMessage) => void entryOf(request)?.socket.resetAndDestroy(),
    /** Returns how many. */
    resetAll(isMeantUser: (user: ClusterUser | undefined) => boolean): number {
      const chosen = [...open.values()].filter(({ user }) => isMeantUser(user));
      for (const { socket } of chosen) socket.resetAndDestroy();
      return chosen.length;
    },
    count: () => ({ opened, open: open.size }),
  };
}
