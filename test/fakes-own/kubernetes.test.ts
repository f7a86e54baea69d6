import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { startKubernetes } from '../../testcontainers/kubernetes.ts';
import { GROUP_VERSION } from '../fakes/kubernetes/certificate-request.ts';
import {
  ApiError,
  type ApiReply,
  type ClusterClient,
  createClusterClient,
  type NewCertificateRequest,
  type WatchEvent,
} from '../fakes/kubernetes/cluster-client.ts';
import { startFakeKubernetes } from '../fakes/kubernetes/fake-kubernetes.ts';
import { objectAt, textAt } from '../fakes/kubernetes/json.ts';
import { loadPolicy } from '../fakes/kubernetes/rbac.ts';
import { SYSTEM_NAMESPACE, type TestCluster, type UserName } from '../fakes/kubernetes/test-cluster.ts';

const ALL = `/apis/${GROUP_VERSION}/certificaterequests`;
const COLLECTION = `/apis/${GROUP_VERSION}/namespaces/${SYSTEM_NAMESPACE}/certificaterequests`;
const MERGE = { 'content-type': 'application/merge-patch+json' };

const keyPair = await generateKeyPair('EC-P256');
const csr = createCsr(keyPair, { uriSans: ['spiffe://default/web'], dnsNames: [], commonName: '' });
const request = Buffer.from(encodePem('CERTIFICATE REQUEST', csr)).toString('base64');

const wish = (metadata: NewCertificateRequest['metadata'], spec: object = {}): NewCertificateRequest => ({
  metadata,
  spec: { request, issuerRef: { name: 'ca' }, ...spec },
});
const document = (wished: object) => ({ apiVersion: GROUP_VERSION, kind: 'CertificateRequest', ...wished });

/** What an API server does, as far as mesh-ca or the controller relies on it. Whether the fake is one is decided here. */
function describeCluster(name: string, start: () => Promise<TestCluster>): void {
  describe(`an API server: ${name}`, () => {
    let cluster: TestCluster;
    let admin: ClusterClient;
    beforeAll(async () => {
      cluster = await start();
      admin = cluster.admin;
    });
    afterAll(() => cluster?.close());

    const clientFor = async (user: UserName) => {
      const client = await createClusterClient(await cluster.kubeconfigFor(user), SYSTEM_NAMESPACE);
      onTestFinished(() => client.close());
      return client;
    };

    it('gives a new object name, uid, version and time, and drops a status that came with it', async () => {
      const made = await admin.create({
        ...wish({ generateName: 'made-' }),
        status: { ca: '' },
      } as NewCertificateRequest);
      expect(made.metadata.name).toMatch(/^made-[a-z0-9]{5}$/);
      expect(made.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
      expect(Date.parse(made.metadata.creationTimestamp)).not.toBeNaN();
      expect(made.status).toBeUndefined();
      expect(await admin.get(made.metadata.name)).toEqual(made);
    });

    it('keeps spec and status apart: a patch of one leaves the other', async () => {
      const { metadata } = await admin.create(wish({ name: 'apart' }));
      const ready = await admin.patchStatus('apart', {
        conditions: [{ type: 'Ready', status: 'True', reason: 'Issued' }],
      });
      expect(Number(ready.metadata.resourceVersion)).toBeGreaterThan(Number(metadata.resourceVersion));
      const status = { status: { conditions: [] }, metadata: { labels: { a: 'b' } } };
      const labelled = await admin.request('PATCH', `${COLLECTION}/apart`, status, MERGE);
      expect(labelled.body).toMatchObject({ metadata: { labels: { a: 'b' } }, status: ready.status });
    });

    const refusals: readonly (readonly [
      what: string,
      status: number,
      message: RegExp,
      call: () => Promise<ApiReply>,
    ])[] = [
      [
        'a name that is taken',
        409,
        /^certificaterequests\.cert-manager\.io "taken" already exists$/,
        async () => {
          await admin.create(wish({ name: 'taken' }));
          return admin.request('POST', COLLECTION, document(wish({ name: 'taken' })));
        },
      ],
      [
        'an update of what has changed meanwhile',
        409,
        /^Operation cannot be fulfilled on certificaterequests.*object has been modified/,
        async () => {
          const old = await admin.create(wish({ name: 'stale' }));
          await admin.patchStatus('stale', { ca: 'AAAA' });
          return admin.request('PUT', `${COLLECTION}/stale/status`, { ...old, status: { ca: 'BBBB' } });
        },
      ],
      [
        'a deletion of another object of the same name',
        409,
        /the UID in the precondition \(other\) does not match the UID in record/,
        async () => {
          await admin.create(wish({ name: 'precondition' }));
          return admin.request('DELETE', `${COLLECTION}/precondition`, { preconditions: { uid: 'other' } });
        },
      ],
      ['an object that is not there', 404, /"none" not found$/, () => admin.request('GET', `${COLLECTION}/none`)],
      [
        'a namespace that is not there',
        404,
        /^namespaces "none" not found$/,
        () => admin.request('POST', COLLECTION.replace(SYSTEM_NAMESPACE, 'none'), document(wish({ name: 'lost' }))),
      ],
      [
        'a name that is none, a label that is none, a spec without its fields: all of it at once',
        422,
        /metadata\.name.*RFC 1123 subdomain.*metadata\.labels.*spec\.issuerRef: Required value.*spec\.request: Required value/,
        () => admin.request('POST', COLLECTION, document({ metadata: { name: 'A_', labels: { a: '-' } }, spec: {} })),
      ],
      [
        'no CSR at all',
        422,
        /spec\.request in body must be of type byte: ""/,
        () => admin.request('POST', COLLECTION, document(wish({ name: 'empty' }, { request: '' }))),
      ],
      [
        'values that the schema does not allow',
        422,
        /(?=.*spec\.issuerRef\.name in body must be of type string)(?=.*spec\.request in body must be of type byte)(?=.*Unsupported value: "no")/,
        () =>
          admin.request(
            'POST',
            COLLECTION,
            document(wish({ name: 'wrong' }, { issuerRef: { name: 3 }, request: '###', usages: ['no'] })),
          ),
      ],
      [
        'an owner that is not named in full',
        422,
        /metadata\.ownerReferences\.uid/,
        () => admin.request('POST', COLLECTION, document(wish({ name: 'owned', ownerReferences: [{ kind: 'Pod' }] }))),
      ],
      [
        'an object for another namespace',
        400,
        /namespace of the provided object does not match/,
        () => admin.request('POST', COLLECTION, document(wish({ name: 'astray', namespace: 'other' }))),
      ],
      [
        'a selector that is none',
        400,
        /unable to parse requirement/,
        () => admin.request('GET', `${ALL}?labelSelector=a%20b`),
      ],
      [
        'a patch of a kind that custom resources do not have',
        415,
        /accepted media types include: application\/json-patch\+json/,
        () => admin.request('PATCH', `${COLLECTION}/taken`, {}, { 'content-type': 'application/json' }),
      ],
    ];
    it.each(refusals)('refuses %s with %i', async (_what, status, message, call) => {
      const reply = await call();
      expect([reply.status, textAt(reply.body, 'message')]).toEqual([status, expect.stringMatching(message)]);
      expect(reply.body).toMatchObject({ kind: 'Status', status: 'Failure', code: status });
    });

    it('changes a status by a JSON patch, all of it or nothing', async () => {
      await admin.create(wish({ name: 'patched' }));
      const header = { 'content-type': 'application/json-patch+json' };
      const at = `${COLLECTION}/patched/status`;
      const conditions = [{ type: 'Ready', status: 'False' }];
      const made = await admin.request('PATCH', at, [{ op: 'add', path: '/status', value: { conditions } }], header);
      expect(made.body).toMatchObject({ status: { conditions } });
      const operations = [
        { op: 'test', path: '/status/conditions/0/status', value: 'False' },
        { op: 'replace', path: '/status/conditions/0/status', value: 'True' },
        { op: 'add', path: '/status/conditions/-', value: { type: 'Approved', status: 'True' } },
        { op: 'add', path: '/status/ca', value: 'AAAA' },
      ];
      expect((await admin.request('PATCH', at, operations, header)).body).toMatchObject({
        status: { ca: 'AAAA', conditions: [{ status: 'True' }, { type: 'Approved' }] },
      });
      expect((await admin.request('PATCH', at, operations, header)).status).toBeGreaterThanOrEqual(400);
      const removed = await admin.request('PATCH', at, [{ op: 'remove', path: '/status/ca' }], header);
      expect(objectAt(removed.body, 'status')).not.toHaveProperty('ca');
    });

    it('removes a whole selection, and nothing else', async () => {
      for (const name of ['many-1', 'many-2']) await admin.create(wish({ name, labels: { many: 'yes' } }));
      await admin.create(wish({ name: 'many-3', labels: { many: 'no' } }));
      expect((await admin.request('DELETE', `${COLLECTION}?labelSelector=many%3Dyes`)).status).toBe(200);
      expect((await admin.list({ labelSelector: 'many' })).map(({ metadata }) => metadata.name)).toEqual(['many-3']);
    });

    it('removes on demand, once', async () => {
      await admin.create(wish({ name: 'gone' }));
      const reply = await admin.request('DELETE', `${COLLECTION}/gone`);
      expect([reply.status, textAt(reply.body, 'status')]).toEqual([200, 'Success']);
      await expect(admin.delete('gone')).rejects.toMatchObject({ status: 404 });
    });

    const selectors: readonly (readonly [selector: string, names: readonly string[]])[] = [
      ['set=one', ['s-1', 's-2', 's-3']],
      ['set=one,tier==web', ['s-1']],
      ['set=one,tier!=web', ['s-2', 's-3']],
      ['set=one,tier in (web,db)', ['s-1', 's-2']],
      ['set=one,tier notin (web)', ['s-2', 's-3']],
      ['set=one,tier', ['s-1', 's-2']],
      ['set=one,!tier', ['s-3']],
    ];
    describe('lists', () => {
      beforeAll(async () => {
        const labels = { 's-1': { tier: 'web' }, 's-2': { tier: 'db' }, 's-3': {} };
        for (const [name, more] of Object.entries(labels))
          await admin.create(wish({ name, labels: { set: 'one', ...more } }));
      });

      it.each(selectors)('what %s selects', async (labelSelector, names) => {
        expect((await admin.list({ labelSelector })).map(({ metadata }) => metadata.name)).toEqual(names);
      });

      it('one object by its name', async () => {
        expect(await admin.list({ fieldSelector: 'metadata.name=s-2' })).toHaveLength(1);
      });

      it('page by page, each object once', async () => {
        const names: string[] = [];
        let next = '';
        do {
          const query = new URLSearchParams({ labelSelector: 'set=one', limit: '2', ...(next && { continue: next }) });
          const { body } = await admin.request('GET', `${COLLECTION}?${query}`);
          for (const item of objectAt({ body }, 'body').items as unknown[])
            names.push(textAt(objectAt(item, 'metadata'), 'name') ?? '');
          next = textAt(objectAt(body, 'metadata'), 'continue') ?? '';
        } while (next !== '');
        expect(names).toEqual(['s-1', 's-2', 's-3']);
      });

      it('names alone, when no more is asked for', async () => {
        const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';
        const { body } = await admin.request('GET', `${COLLECTION}?labelSelector=set%3Done`, undefined, { accept });
        expect(body).toMatchObject({
          kind: 'PartialObjectMetadataList',
          items: [{ metadata: { name: 's-1' } }, {}, {}],
        });
        expect(JSON.stringify(body)).not.toContain(request);
        const none = await admin.request('GET', `${COLLECTION}?labelSelector=set%3Dnone`, undefined, { accept });
        expect(none.body).toMatchObject({ kind: 'PartialObjectMetadataList', items: null });
        expect((await admin.request('GET', `${COLLECTION}?labelSelector=set%3Dnone`)).body).toMatchObject({
          items: [],
        });
      });
    });

    it('tells a watch every change since the version that it names, in order', async () => {
      const { resourceVersion } = await admin.listAll();
      await admin.create(wish({ name: 'seen' }));
      const seen = watch(admin, resourceVersion, 'seen');
      await admin.patchStatus('seen', { ca: 'AAAA' });
      await admin.delete('seen');
      await seen.until(3);
      expect(seen.events.map(({ type }) => type)).toEqual(['ADDED', 'MODIFIED', 'DELETED']);
      const versions = seen.events.map(({ object }) => Number(object.metadata.resourceVersion));
      expect(versions).toEqual([...versions].sort((a, b) => a - b));
    });

    it('tells a watch of a version long past that it is too old, and ends it', async () => {
      const { body, status } = await admin.request('GET', `${ALL}?watch=true&resourceVersion=1`);
      expect(status).toBe(200);
      expect(body).toMatchObject({ type: 'ERROR', object: { reason: 'Expired', code: 410 } });
    });

    it('ends a watch when its time is over', async () => {
      const { resourceVersion } = await admin.listAll();
      const path = `${ALL}?watch=true&timeoutSeconds=1&resourceVersion=${resourceVersion}`;
      expect((await admin.request('GET', path)).status).toBe(200);
    });

    it.each([
      ['nobody', 'list', 'GET', COLLECTION],
      ['mesh-ca', 'list', 'GET', ALL],
      ['mesh-ca', 'deletecollection', 'DELETE', COLLECTION],
      ['mesh-ca', 'patch', 'PATCH', `${COLLECTION}/s-1/status`],
      ['mesh-ca', 'get', 'GET', `/apis/${GROUP_VERSION}/namespaces/${SYSTEM_NAMESPACE}/issuers/ca`],
    ] as const)('forbids %s to %s what no role gives: %s %s', async (user, verb, method, path) => {
      const client = await clientFor(user);
      const reply = await client.request(method, path, method === 'PATCH' ? {} : undefined, MERGE);
      const what = path.includes('issuers')
        ? 'issuers'
        : `certificaterequests${path.endsWith('/status') ? '/status' : ''}`;
      expect(reply.status).toBe(403);
      expect(textAt(reply.body, 'message')).toMatch(
        new RegExp(
          `is forbidden: User "system:serviceaccount:[a-z:-]+" cannot ${verb} resource "${what}" in API group "cert-manager.io" (in the namespace|at the cluster scope)`,
        ),
      );
    });

    it('tells a user its own rights, and follows a change of its roles', async () => {
      const client = await clientFor('mesh-ca');
      const may = async (verb: string) => {
        const resourceAttributes = {
          namespace: SYSTEM_NAMESPACE,
          verb,
          group: 'cert-manager.io',
          resource: 'certificaterequests',
        };
        const review = {
          apiVersion: 'authorization.k8s.io/v1',
          kind: 'SelfSubjectAccessReview',
          spec: { resourceAttributes },
        };
        const { body } = await client.request('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', review);
        return objectAt(body, 'status').allowed;
      };
      const policy = await loadPolicy();
      expect([await may('delete'), await may('deletecollection')]).toEqual([true, false]);
      await cluster.setRbac(policy.replace('"delete", ', ''));
      expect([await may('delete'), await may('create')]).toEqual([false, true]);
      await cluster.setRbac(policy);
      expect(await may('delete')).toBe(true);
    });

    it('knows nobody by a wrong token, and tells anybody that it is ready', async () => {
      const headers = { authorization: 'Bearer wrong' };
      expect(await admin.request('GET', COLLECTION, undefined, headers)).toMatchObject({
        status: 401,
        body: { message: 'Unauthorized', reason: 'Unauthorized', code: 401 },
      });
      expect((await admin.request('GET', '/readyz')).body).toBe('ok');
    });

    it('keeps its objects and its address over a restart, and watches end', async () => {
      await admin.create(wish({ name: 'kept' }));
      const { resourceVersion } = await admin.listAll();
      const { address } = cluster;
      const seen = watch(admin, resourceVersion, 'kept');
      await sleep(50);
      await cluster.stop();
      await seen.ended;
      await expect(admin.get('kept')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
      await cluster.restart();
      expect(cluster.address).toBe(address);
      expect((await admin.get('kept')).metadata.name).toBe('kept');
    });
  });
}

/** Follows one object by its name until the test ends. */
function watch(client: ClusterClient, resourceVersion: string, name: string) {
  const events: WatchEvent[] = [];
  const ending = new AbortController();
  onTestFinished(() => ending.abort());
  const ended = client
    .watchAll(
      resourceVersion,
      (event) => void (event.object.metadata?.name === name && events.push(event)),
      ending.signal,
    )
    .catch((error: unknown) => {
      if (error instanceof ApiError) throw error;
    });
  return {
    events,
    ended,
    async until(count: number): Promise<void> {
      for (let tries = 0; events.length < count && tries < 200; tries++) await sleep(10);
    },
  };
}

describeCluster('fake', () => startFakeKubernetes());
describe.runIf(process.env.KUBEBUILDER_ASSETS)('with KUBEBUILDER_ASSETS', () => {
  describeCluster('kube-apiserver', () => startKubernetes());
});
