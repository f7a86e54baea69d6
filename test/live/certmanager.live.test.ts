import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { module } from '../../adapters/certmanager/module.ts';
import { createEndpointQueues, type QueuedBackend } from '../../src/issuance/queue/endpoint-queues.ts';
import {
  type CaError,
  IssuancePendingError,
  IssuerDeniedError,
  IssuerResponseError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import type { IssuedCertificate, Issuer, IssuerContext, SharedResources } from '../../src/issuer/issuer.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createSharedResources } from '../../src/runtime/shared-resources.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { startKubernetes } from '../../testcontainers/kubernetes.ts';
import { pollUntil } from '../../testcontainers/server-process.ts';
import { live, requestFor, testIssuer } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import {
  type CertManagerController,
  type Outcome,
  startCertManagerController,
  TEST_ISSUER,
} from '../fakes/kubernetes/cert-manager-controller.ts';
import { startFakeKubernetes } from '../fakes/kubernetes/fake-kubernetes.ts';
import { loadPolicy } from '../fakes/kubernetes/rbac.ts';
import type { TestCluster } from '../fakes/kubernetes/test-cluster.ts';
import { caErrorOf } from '../support/ca-error-of.ts';
import { inspectFailed } from '../support/inspect-all.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { dataplane, startTestApp } from '../support/test-app.ts';

const print = (line: string) => void process.stdout.write(`${line}\n`);
const CONTEXT: IssuerContext = { mesh: 'default', backend: 'cm-1' };
const CONF = { issuerRef: { name: TEST_ISSUER } };
const OURS = { labelSelector: 'app.kubernetes.io/managed-by=mesh-ca' };
const GONE_WITHIN_MS = 8_000;
const SLOW_MS = 90_000;

const formerKubeconfig = process.env.KUBECONFIG;
afterAll(() => {
  if (formerKubeconfig === undefined) delete process.env.KUBECONFIG;
  else process.env.KUBECONFIG = formerKubeconfig;
});

/** An issuer that ends with the test. */
function issuerOn(shared: SharedResources = createSharedResources(), context = CONTEXT, conf: object = CONF): Issuer {
  const deps = createTestDeps({ clock: systemClock, shared });
  const issuer = module.create(context, module.parseConf(conf, context), deps);
  onTestFinished(() => issuer.close());
  return issuer;
}

/** A backend of this mesh, as the queue before all of them sees it. */
function queuedOf(mesh: string): QueuedBackend {
  const { endpoint, concurrency } = module;
  if (endpoint === undefined || concurrency === undefined) throw new TypeError('it has a queue');
  const conf = module.parseConf(CONF, CONTEXT);
  return { mesh, name: 'cm-1', local: false, endpoint: endpoint(conf), concurrency, metrics: undefined };
}

let count = 0;
async function sign(issuer: Issuer, options = live(), mesh = CONTEXT.mesh): Promise<IssuedCertificate> {
  count += 1;
  const tags = createTags([['kuma.io/service', ['web']]]);
  const uriSans = [`spiffe://${mesh}/web`, 'kuma://kuma.io/service/web'];
  const identity = { mesh, dataplane: `web-${count}`, tags, uriSans, dnsNames: [], commonName: '' };
  return issuer.sign(await requestFor(identity, 'EC-P256', 3600, `request-${count}`), options);
}

async function expectGood({ leaf, chain, roots }: IssuedCertificate): Promise<void> {
  expect(await opensslVerify({ leaf, chain, roots, at: new Date(), purpose: 'sslserver' })).toBe('OK');
}

/** The whole suite on one API server; whatever cert-manager does is played by the controller, in every cluster the same one. */
function testCertManager(name: string, start: () => Promise<TestCluster>, hasFaults: boolean): void {
  describe(`certmanager on ${name}`, () => {
    let cluster: TestCluster;
    let controller: CertManagerController;
    let proxy: TcpProxy;
    beforeAll(async () => {
      cluster = await start();
      controller = await startCertManagerController({ cluster });
      const { hostname, port } = new URL(cluster.address);
      proxy = await startTcpProxy({ host: hostname, port: Number(port) });
      process.env.KUBECONFIG = await cluster.kubeconfigFor('mesh-ca', `https://${proxy.host}:${proxy.port}`);
    });
    afterAll(async () => {
      // Every issuer is closed: mesh-ca has no connection left.
      await pollUntil(GONE_WITHIN_MS, async () => (proxy?.counters().open ?? 0) === 0);
      await controller?.close();
      await proxy?.close();
      await cluster?.close();
    });

    const leftovers = async () => (await cluster.admin.list(OURS)).map(({ metadata }) => metadata.name);
    afterEach(async () => {
      controller.outcome = () => 'issue';
      controller.resume();
      cluster.faults?.clear();
      await pollUntil(GONE_WITHIN_MS, async () => (await leftovers()).length === 0).catch(() => {});
      expect(await leftovers()).toEqual([]);
    });

    testIssuer(`certmanager, ${name}`, () => ({
      module,
      conf: { ...CONF, caCert: { inlineString: controller.rootPem } },
      context: CONTEXT,
      deps: createTestDeps({ clock: systemClock }),
      keyTypes: ['EC-P256', 'EC-P384', 'RSA-2048'],
    }));

    it('gives certificates over HTTP through the whole service', async () => {
      const app = await startTestApp();
      onTestFinished(() => app.close());
      const backends = [{ name: 'cm-1', type: 'certmanager', conf: CONF }];
      await app.ok('PUT', '/meshes/default', {
        type: 'Mesh',
        name: 'default',
        mtls: { enabledBackend: 'cm-1', backends },
      });
      await app.ok(
        'PUT',
        '/meshes/default/dataplanes/web-1',
        dataplane('default', 'web-1', { 'kuma.io/service': 'web' }),
      );
      const { json, status } = await app.request('POST', '/meshes/default/dataplanes/web-1/_certificate', {});
      expect(status).toBe(201);
      expect(String(json.certificate)).toContain('BEGIN CERTIFICATE');
      const bundle = await app.ok('GET', '/meshes/default/_trust-bundle');
      expect(bundle.text.replaceAll('\n', '')).toContain(controller.rootPem.replaceAll('\n', ''));
    });

    describe('with the rights of policies/kubernetes', () => {
      it('finds nothing wrong', async () => {
        expect(await inspectFailed(issuerOn())).toEqual([]);
      });

      it.each(['create', 'get', 'list', 'watch', 'delete'])(
        'without %s, says which right is missing and how to give it',
        async (verb) => {
          const policy = await loadPolicy();
          onTestFinished(() => cluster.setRbac(policy));
          await cluster.setRbac(policy.replace(`"${verb}"`, '"none"'));
          const failing = await inspectFailed(issuerOn());
          expect(failing).toMatchObject([
            { name: 'certmanager.rights', fix: expect.stringContaining('policies/kubernetes') },
          ]);
          expect(failing[0]?.message).toMatch(new RegExp(`\\b${verb}\\b`));
          if (verb === 'get' || verb === 'delete') return;
          const error = await caErrorOf(sign(issuerOn()));
          expect(error).toBeInstanceOf(IssuerDeniedError);
          expect(error.message).toMatch(new RegExp(`\\b${verb} certificaterequests`));
        },
      );
    });

    const outcomes: readonly (readonly [Outcome, new (...args: never[]) => CaError, RegExp])[] = [
      ['deny', IssuerDeniedError, /denied the CertificateRequest: /],
      ['fail', IssuerDeniedError, /failed to sign: .*the signer said no/],
      ['invalid', RequestInvalidError, /the CSR names what it may not/],
      ['wrong-key', IssuerResponseError, /key/],
      ['foreign-root', IssuerResponseError, /./],
      ['expired-ca', IssuerResponseError, /./],
      ['garbage', IssuerResponseError, /./],
    ];
    it.each(outcomes)('tells "%s" by its own error, after one object', async (outcome, kind, message) => {
      let asked = 0;
      controller.outcome = () => {
        asked += 1;
        return outcome;
      };
      const error = await caErrorOf(sign(issuerOn()));
      expect(error).toBeInstanceOf(kind);
      expect(error.message).toMatch(message);
      expect(error.fix).toBeTruthy();
      expect(asked).toBe(1);
    });

    it.each(['odd-order', 'issue'] as const)('takes a chain as "%s" gives it', async (outcome) => {
      controller.outcome = () => outcome;
      await expectGood(await sign(issuerOn()));
    });

    it('needs caCert where the issuer leaves status.ca empty, and says so', async () => {
      controller.outcome = () => 'no-ca';
      expect((await caErrorOf(sign(issuerOn()))).fix).toMatch(/caCert/);
      const conf = { ...CONF, caCert: { inlineString: controller.rootPem } };
      await expectGood(await sign(issuerOn(undefined, CONTEXT, conf)));
    });

    it.each(['ignore', 'pending', 'no-issuer'] as const)(
      'gives up at the deadline while cert-manager says "%s"',
      async (outcome) => {
        controller.outcome = () => outcome;
        const deadline = systemClock.deadline(400);
        const error = await caErrorOf(sign(issuerOn(), { signal: deadline.signal }));
        deadline.clear();
        expect(error).toBeInstanceOf(IssuancePendingError);
        expect(error.retryAfterMs).toBeGreaterThan(0);
      },
    );

    it('removes the object of a caller who hangs up', async () => {
      controller.outcome = () => 'pending';
      const caller = new AbortController();
      const signing = sign(issuerOn(), { signal: caller.signal });
      await pollUntil(GONE_WITHIN_MS, async () => (await leftovers()).length === 1);
      caller.abort(new Error('hung up'));
      await expect(signing).rejects.toThrow('hung up');
    });

    it('follows a rotated CA', async () => {
      const issuer = issuerOn();
      await sign(issuer);
      await controller.rotateCa();
      const issued = await sign(issuer);
      await expectGood(issued);
      expect((await issuer.trustBundle(live())).roots).toEqual(issued.roots);
    });

    it('keeps one watch for 200 requests of two meshes, and none when all are closed', {
      timeout: SLOW_MS,
    }, async () => {
      const shared = createSharedResources();
      const before = await cluster.counts();
      const meshes = ['one', 'two'];
      const issuers = meshes.map((mesh) => issuerOn(shared, { mesh, backend: 'cm-1' }));
      const queues = createEndpointQueues({ clock: systemClock });
      onTestFinished(() => queues.close());
      const signing = Array.from({ length: 200 }, (_, i) => {
        const [issuer, mesh] = [issuers[i % 2], meshes[i % 2]];
        if (issuer === undefined || mesh === undefined) throw new TypeError('two issuers');
        return queues.run(queuedOf(mesh), 'first', (options) => sign(issuer, options, mesh), live());
      });
      const open: number[] = [];
      for (const one of signing) {
        await one;
        if (open.length < 20) open.push((await cluster.counts()).watchesOpen);
      }
      expect(Math.max(...open)).toBe(1);
      expect(new Set((await Promise.all(signing)).map(({ leaf }) => parseCertificate(leaf).serialNumber)).size).toBe(
        200,
      );
      // A create that a busy machine does not answer within a second is sent again.
      const creates = (await cluster.counts()).requests.create - before.requests.create;
      expect(creates).toBeGreaterThanOrEqual(200);
      expect(creates).toBeLessThan(300);
      for (const issuer of issuers) await issuer.close();
      await pollUntil(GONE_WITHIN_MS, async () => (await cluster.counts()).watchesOpen === 0);
      await pollUntil(GONE_WITHIN_MS, async () => proxy.counters().open === 0);
    });

    /** 50 requests that all wait for cert-manager; what happens meanwhile must cost none of them. */
    async function while50Wait(disturb: () => Promise<void>): Promise<void> {
      controller.pause();
      const issuer = issuerOn();
      const signing = Array.from({ length: 50 }, () => sign(issuer));
      const settled = Promise.allSettled(signing);
      await pollUntil(GONE_WITHIN_MS, async () => (await leftovers()).length >= 5);
      await disturb();
      controller.resume();
      const failed = (await settled).filter(({ status }) => status === 'rejected');
      expect(failed).toEqual([]);
    }

    it('loses no request when every connection is reset while 50 wait', async () => {
      await while50Wait(async () => proxy.resetAll());
    });

    it('loses no request when the API server restarts while 50 wait', async () => {
      await while50Wait(() => cluster.restart());
    });

    if (hasFaults) {
      const faultsOf = () => {
        if (cluster.faults === undefined) throw new TypeError('a server without switches');
        return cluster.faults;
      };

      it.each(['end', 'reset', 'expired'] as const)(
        'loses no request when its watch is dropped by %s while 50 wait',
        async (how) => {
          await while50Wait(async () => expect(faultsOf().dropWatches(how)).toBe(1));
        },
      );

      it('lists anew when the history it would go on from is gone', async () => {
        await while50Wait(async () => {
          const lists = (await cluster.counts()).requests.list;
          for (const name of await leftovers()) await cluster.admin.patchStatus(name, { ca: 'AAAA' });
          faultsOf().compact();
          faultsOf().dropWatches('reset');
          await pollUntil(GONE_WITHIN_MS, async () => (await cluster.counts()).requests.list > lists);
        });
      });

      it('waits as long as a throttling server says, and asks once more', async () => {
        const before = (await cluster.counts()).requests.create;
        faultsOf().add({ fault: { kind: 'too-many-requests', retryAfterSeconds: 1 }, verbs: ['create'], times: 1 });
        const startedMs = performance.now();
        await expectGood(await sign(issuerOn()));
        expect(performance.now() - startedMs).toBeGreaterThan(990);
        expect((await cluster.counts()).requests.create - before).toBe(2);
      });

      it('finds the object of a creation whose answer was lost, instead of making a second', async () => {
        const finished = controller.finished;
        faultsOf().add({ fault: { kind: 'lost-answer' }, verbs: ['create'], times: 1 });
        await expectGood(await sign(issuerOn()));
        expect(controller.finished - finished).toBe(1);
      });

      it('makes at most three objects for one certificate, however often the server fails', async () => {
        const before = (await cluster.counts()).requests.create;
        faultsOf().add({ fault: { kind: 'internal-error' }, verbs: ['create'] });
        expect((await caErrorOf(sign(issuerOn()))).retry).toBe(true);
        expect((await cluster.counts()).requests.create - before).toBeLessThanOrEqual(3);
      });
    }

    it("sweeps what a crashed mesh-ca left behind, and leaves another replica's live objects alone", async () => {
      const { spec } = await signedSpec();
      const left = (instance: string, expiresInMs: number) => ({
        metadata: {
          generateName: `mesh-ca-${instance}-`,
          labels: { 'app.kubernetes.io/managed-by': 'mesh-ca', 'mesh-ca/instance': instance },
          annotations: { 'mesh-ca/expires-at': new Date(Date.now() + expiresInMs).toISOString() },
        },
        spec,
      });
      controller.outcome = () => 'pending';
      const dead = await cluster.admin.create(left('dead', -1_000));
      const alive = await cluster.admin.create(left('alive', 60_000));
      onTestFinished(() => cluster.admin.delete(alive.metadata.name).catch(() => {}));
      controller.outcome = () => 'issue';
      await sign(issuerOn());
      // Also the object of the certificate itself, which is deleted behind its caller's back.
      await pollUntil(GONE_WITHIN_MS, async () => (await leftovers()).length === 1);
      expect(await leftovers()).toEqual([alive.metadata.name]);
      await expect(cluster.admin.get(dead.metadata.name)).rejects.toMatchObject({ status: 404 });
      await cluster.admin.delete(alive.metadata.name);
    });

    /** A spec as the adapter writes it, seen on the way. */
    async function signedSpec() {
      controller.outcome = () => 'pending';
      const deadline = systemClock.deadline(5_000);
      const signing = sign(issuerOn(), { signal: deadline.signal }).catch(() => {});
      await pollUntil(GONE_WITHIN_MS, async () => (await leftovers()).length === 1);
      const [request] = await cluster.admin.list(OURS);
      deadline.clear();
      if (request === undefined) throw new Error('no object');
      await cluster.admin.delete(request.metadata.name);
      await signing;
      const { issuerRef, duration = '', usages = [], request: csr } = request.spec;
      return { spec: { issuerRef, duration, usages, request: csr } };
    }
  });
}

testCertManager('a fake API server', () => startFakeKubernetes(), true);
describe.runIf(process.env.KUBEBUILDER_ASSETS)('with KUBEBUILDER_ASSETS', () => {
  testCertManager('kube-apiserver', () => startKubernetes({ print }), false);
});

/**
 * A cluster with a real cert-manager, which we do not have: nobody has run this part yet. `MESH_CA_TEST_KUBECONFIG` names a kubeconfig with the
 * rights of policies/kubernetes, `MESH_CA_TEST_ISSUER` (and `MESH_CA_TEST_ISSUER_KIND`) a ready CA issuer.
 */
const givenKubeconfig = process.env.MESH_CA_TEST_KUBECONFIG;
describe.runIf(givenKubeconfig)('with MESH_CA_TEST_KUBECONFIG', () => {
  const { MESH_CA_TEST_ISSUER: issuer = TEST_ISSUER, MESH_CA_TEST_ISSUER_KIND: kind = 'Issuer' } = process.env;
  const conf = { issuerRef: { name: issuer, kind } };
  beforeAll(() => {
    process.env.KUBECONFIG = givenKubeconfig;
  });

  testIssuer('certmanager, a real cert-manager', async () => {
    // The root comes with the first certificate; the suite asks for it before.
    const { roots } = await sign(issuerOn(undefined, CONTEXT, conf));
    const inlineString = roots.map((root) => encodePem('CERTIFICATE', root)).join('');
    const deps = createTestDeps({ clock: systemClock });
    return { module, conf: { ...conf, caCert: { inlineString } }, context: CONTEXT, deps };
  });

  it('gives up at the deadline when there is no such issuer', async () => {
    const deadline = systemClock.deadline(3_000);
    const absent = { issuerRef: { name: 'mesh-ca-absent', kind } };
    const error = await caErrorOf(sign(issuerOn(undefined, CONTEXT, absent), { signal: deadline.signal }));
    deadline.clear();
    expect(error).toBeInstanceOf(IssuancePendingError);
  });
});
