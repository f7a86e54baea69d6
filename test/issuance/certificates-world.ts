import { Backends } from '../../src/backends/backends.ts';
import { Certificates } from '../../src/issuance/certificates.ts';
import { createBackendGuards } from '../../src/issuance/guards/backend-guards.ts';
import { createKeyMaker } from '../../src/issuance/make-key.ts';
import { createEndpointQueues } from '../../src/issuance/queue/endpoint-queues.ts';
import type { ReissuePlans } from '../../src/issuance/reissue-plan.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { createMetrics } from '../../src/runtime/metrics.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { createMemoryStore } from '../../src/store/memory/memory-store.ts';
import { TrustBundles } from '../../src/trust/trust-bundles.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { createFakeIssuer } from '../fakes/fake-issuer.ts';

export type CertificatesWorld = Awaited<ReturnType<typeof createCertificatesWorld>>;

/** The certificates of meshes whose fake backends share one endpoint with one place; it is held until `open`. */
export async function createCertificatesWorld({ plans }: { readonly plans?: ReissuePlans } = {}) {
  const clock = systemClock;
  const [random, log] = [createSystemRandom(), silentLog];
  const { backend: fake, module } = await createFakeIssuer({
    endpoint: () => 'one',
    concurrency: { start: 1, max: 1, targetDelayMs: 50 },
  });
  const order: string[] = [];
  fake.twist = ({ identity }) => {
    order.push(`${identity.mesh}/${identity.dataplane}`);
    return {};
  };
  const store = createMemoryStore({ clock });
  const metrics = createMetrics({ clock });
  const backends = new Backends({
    ...{ store, clock, random, log, metrics },
    adapters: { fake: async () => module },
    fileDirs: [],
    shared: createSharedResources(),
    issuerSettings: createTestDeps().settings,
    defaults: { expirationMs: 86_400_000, issueTimeoutMs: 30_000 },
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
    ...(plans && { plans }),
  });
  const csrPem = encodePem(
    'CERTIFICATE REQUEST',
    createCsr(await generateKeyPair('EC-P256'), { uriSans: [], dnsNames: [], commonName: '' }),
  );

  return {
    ...{ fake, store, certificates, order, csrPem },
    /** Backends `ca` and `new`, the first of them enabled unless told otherwise. */
    async putMesh(name: string, requestTimeout?: string, { enabled = 'ca', without = '' } = {}) {
      const dpCert = requestTimeout === undefined ? {} : { dpCert: { rotation: { expiration: '1d' }, requestTimeout } };
      const backends = ['ca', 'new']
        .filter((each) => each !== without)
        .map((each) => ({ name: each, type: 'fake', conf: {}, ...dpCert }));
      const mtls = { enabledBackend: enabled, backends };
      await store.putResource({ type: 'Mesh', mesh: '', name, body: JSON.stringify({ mtls }) });
    },
    issue(
      mesh: string,
      dataplane: string,
      {
        service = 'web',
        withCsr = true,
        ...more
      }: {
        service?: string;
        withCsr?: boolean;
        force?: boolean;
        currentPem?: string;
        currentDer?: readonly Buffer[];
      } = {},
      signal: AbortSignal = new AbortController().signal,
    ) {
      const tags = createTags([['kuma.io/service', service]]);
      return certificates.issue({ mesh, dataplane, tags, ...(withCsr && { csrPem }), ...more }, { signal });
    },
    async load(mesh: string) {
      const backend = (await backends.get(mesh)).enabled;
      if (backend === undefined) throw new Error(`mesh ${mesh} has no backend`);
      return queues.load(backend);
    },
    async queued(mesh: string, count: number) {
      while ((await this.load(mesh)).queued < count) await clock.sleep(1);
    },
    /** Holds every certificate until the returned function is called. */
    hold(): () => void {
      let open: () => void = () => {};
      fake.gate = new Promise((resolve) => {
        open = resolve;
      });
      return open;
    },
    async close() {
      await certificates.close();
      await queues.close();
      await guards.close();
      await bundles.close();
      await backends.close();
      await store.close();
    },
  };
}
