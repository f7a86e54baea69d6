import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { Backends } from '../../src/backends/backends.ts';
import { Certificates } from '../../src/issuance/certificates.ts';
import { createBackendGuards } from '../../src/issuance/guards/backend-guards.ts';
import { createLastSeen } from '../../src/issuance/last-seen.ts';
import { createKeyMaker } from '../../src/issuance/make-key.ts';
import { createEndpointQueues } from '../../src/issuance/queue/endpoint-queues.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { createListeners } from '../../src/runtime/listeners.ts';
import { createMetrics } from '../../src/runtime/metrics.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import type { Secret } from '../../src/sds/protocol.ts';
import { createSdsServer, type SdsServerOptions } from '../../src/sds/sds-server.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import { createDataplaneTokens } from '../../src/tokens/dataplane-tokens.ts';
import { createHolders } from '../../src/trust/holders.ts';
import { TrustBundles } from '../../src/trust/trust-bundles.ts';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { createFakeClock, createTestDeps } from '../conformance/issuer-deps.ts';
import { createFakeCa, createFakeIssuer } from '../fakes/fake-issuer.ts';
import { createListLog, type LogLine } from '../support/list-log.ts';
import { passTime, settle } from '../support/pass-time.ts';
import { dataplane } from '../support/test-app.ts';
import { createSdsClient, type SdsClient } from './sds-client.ts';

const DAY_MS = 86_400_000;

export type WorldSettings = Partial<SdsServerOptions['settings']>;

/**
 * A mesh `default` with the fake backend `ca-1` (`ca-2` is another CA), its data planes, and the Secret Discovery Service over real gRPC. Time is a clock that the test turns;
 * what goes over sockets takes the time it takes.
 */
export async function createSdsWorld(settings: WorldSettings = {}, transportClock: Clock = systemClock) {
  const clock = createFakeClock(new Date());
  const random = createSystemRandom();
  const lines: LogLine[] = [];
  const log = createListLog(lines);
  const { backend: fake, module } = await createFakeIssuer();
  const { backend: other, module: second } = await createFakeIssuer();
  other.ca = await createFakeCa('second root');
  const store = createMemoryStore({ clock });
  const backends = new Backends({
    ...{ store, clock, random, log },
    metrics: createMetrics({ clock }),
    adapters: { fake: async () => module, second: async () => ({ ...second, type: 'second' }) },
    fileDirs: [],
    shared: createSharedResources(),
    issuerSettings: createTestDeps().settings,
    defaults: { expirationMs: DAY_MS, issueTimeoutMs: 30_000 },
  });
  const bundles = new TrustBundles({ store, backends, clock, log });
  const limits = { backoffBaseMs: 5_000, backoffMaxMs: 300_000, breakerDataplanes: 10, recoverySpreadMs: 60_000 };
  const guards = createBackendGuards({ store, clock, random, log, limits });
  const queues = createEndpointQueues({ clock });
  const certificates = new Certificates({
    ...{ store, backends, bundles, guards, queues, clock, random, log },
    makeKey: createKeyMaker(),
    profile: 'kuma',
    keyType: 'EC-P256',
  });
  const holders = createHolders({ store, clock, log });
  const lastSeen = createLastSeen(clock);
  const tokens = createDataplaneTokens({ store, clock, random });
  const planListeners = createListeners<string>((error) => log.error({ err: error }, 'listener'));
  const issued: string[] = [];
  const counting: Pick<Certificates, 'issue'> = {
    async issue(request, options) {
      const answer = await certificates.issue(request, options);
      issued.push(`${request.dataplane} ${answer.outcome}`);
      return answer;
    },
  };
  const serverOptions: SdsServerOptions = {
    ...{ certificates: counting, bundles, backends, store, holders, lastSeen, tokens, clock, random, log },
    transportClock,
    settings: {
      ...{ sdsHost: '127.0.0.1', sdsPort: 0, sdsAuth: 'none', sdsIdentityName: 'identity_cert' },
      ...{ sdsTrustName: 'mesh_ca', apiTlsCertFile: undefined, apiTlsKeyFile: undefined, certificateProfile: 'kuma' },
      ...settings,
    },
    rotations: { onChange: planListeners.add },
  };
  let server = createSdsServer(serverOptions);
  let port = (await server.listen()).port;
  const clients: SdsClient[] = [];

  async function putMesh(backend = 'ca-1', names: readonly string[] = ['ca-1'], name = 'default'): Promise<void> {
    const list = names.map((one) => ({ name: one, type: one === 'ca-1' ? 'fake' : 'second', conf: {} }));
    const mtls = { enabledBackend: backend, backends: list };
    await store.putResource({ type: 'Mesh', mesh: '', name, body: JSON.stringify({ mtls }) });
  }
  await putMesh();

  return {
    ...{ clock, fake, store, backends, bundles, certificates, holders, lastSeen, tokens, lines, issued, putMesh },
    get server() {
      return server;
    },
    get port() {
      return port;
    },
    async putDataplane(name: string, tags: Readonly<Record<string, string>>, mesh = 'default') {
      const { networking } = dataplane(mesh, name, tags) as { networking: object };
      await store.putResource({ type: 'Dataplane', mesh, name, body: JSON.stringify({ networking }) });
    },
    /** `address` is that of the server; a client is closed with the world. */
    connect(credentials?: ChannelCredentials, options?: object): SdsClient {
      const client = createSdsClient(`127.0.0.1:${port}`, credentials, options);
      clients.push(client);
      return client;
    },
    /** Closes the clients, and waits until the server has noticed. */
    async disconnect() {
      for (const client of clients.splice(0)) client.close();
      await this.until(() => server.readings().streams === 0, 'no stream left');
    },
    /** Another server on the same store, as after a restart of mesh-ca: nothing that was in memory of the room is left. */
    async restart() {
      await server.close(1000);
      server = createSdsServer(serverOptions);
      port = (await server.listen()).port;
    },
    async putSecret(name: string, data: string | Buffer, mesh = 'default') {
      const body = JSON.stringify({ data: Buffer.from(data).toString('base64') });
      await store.putResource({ type: 'Secret', mesh, name, body });
    },
    /** A rotation says something else about certificates than before. */
    planChanged: () => planListeners.tell('default'),
    pass: (ms: number) => passTime(clock, ms),
    /** Time goes by while the machine sleeps: each timer that is due by then fires once, late. */
    async oversleep(ms: number) {
      clock.advance(ms);
      await settle();
    },
    /** Waits until it is so; sockets and the work behind them go on meanwhile. */
    async until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
      for (let tries = 0; !(await isSo()); tries += 1) {
        if (tries > 1500) throw new Error(`waited in vain: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    },
    /** Time for what should NOT happen. */
    async quiet(): Promise<void> {
      await new Promise((resolve) => setTimeout(resolve, 60));
    },
    async close() {
      for (const client of clients) client.close();
      await server.close(1000);
      tokens.close();
      await certificates.close();
      await queues.close();
      await guards.close();
      await bundles.close();
      await backends.close();
      await store.close();
    },
  };
}

export type SdsWorld = Awaited<ReturnType<typeof createSdsWorld>>;

/** The leaf of an identity secret, after a look whether its key belongs to it. */
export function leafOf(secret: Secret | undefined): Certificate {
  const pem = secret?.tlsCertificate;
  if (pem === undefined) throw new Error(`${secret?.name ?? 'nothing'} is no certificate`);
  const [first] = decodePem(pem.certificateChain.inlineBytes.toString());
  const leaf = parseCertificate(first?.der ?? Buffer.alloc(0));
  const key = createPublicKey(createPrivateKey(pem.privateKey.inlineBytes)).export({ type: 'spki', format: 'der' });
  if (!key.equals(leaf.spkiDer)) throw new Error('the key does not belong to the certificate');
  return leaf;
}

/** The roots of a trust secret. */
export function rootsOf(secret: Secret | undefined): readonly Certificate[] {
  const pem = secret?.validationContext?.trustedCa.inlineBytes.toString();
  if (pem === undefined) throw new Error(`${secret?.name ?? 'nothing'} holds no roots`);
  return decodePem(pem).map(({ der }) => parseCertificate(der));
}
