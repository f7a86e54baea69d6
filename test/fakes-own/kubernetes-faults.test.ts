import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { type ClusterClient, createClusterClient, type WatchEvent } from '../fakes/kubernetes/cluster-client.ts';
import {
  type FakeKubernetes,
  type FakeKubernetesOptions,
  startFakeKubernetes,
} from '../fakes/kubernetes/fake-kubernetes.ts';
import type { Fault } from '../fakes/kubernetes/faults.ts';
import { textAt } from '../fakes/kubernetes/json.ts';
import { SYSTEM_NAMESPACE } from '../fakes/kubernetes/test-cluster.ts';

const COLLECTION = `/apis/cert-manager.io/v1/namespaces/${SYSTEM_NAMESPACE}/certificaterequests`;

const csr = createCsr(await generateKeyPair('EC-P256'), {
  uriSans: ['spiffe://default/web'],
  dnsNames: [],
  commonName: '',
});
const request = Buffer.from(encodePem('CERTIFICATE REQUEST', csr)).toString('base64');
const wish = (name: string, changes: object = {}) => ({
  apiVersion: 'cert-manager.io/v1',
  kind: 'CertificateRequest',
  metadata: { name },
  spec: { request, issuerRef: { name: 'ca' }, ...changes },
});

interface Started {
  readonly cluster: FakeKubernetes;
  /** The user under test. */
  readonly mesh: ClusterClient;
}

async function start(options?: FakeKubernetesOptions): Promise<Started> {
  const cluster = await startFakeKubernetes(options);
  const mesh = await createClusterClient(await cluster.kubeconfigFor('mesh-ca'), SYSTEM_NAMESPACE);
  onTestFinished(async () => {
    mesh.close();
    await cluster.close();
  });
  return { cluster, mesh };
}

/** What the user under test sees of creating `name`, and whether the object is there. */
async function attempt({ cluster, mesh }: Started, name: string): Promise<[status: unknown, exists: boolean]> {
  const seen = await mesh.request('POST', COLLECTION, wish(name)).then(
    ({ status, body }) => (status === 200 ? body : status),
    (error: unknown) => textAt(error, 'code'),
  );
  const exists = (await cluster.admin.list({ fieldSelector: `metadata.name=${name}` })).length === 1;
  return [seen, exists];
}

describe('faults of the fake API server', () => {
  it('strike the user under test as often as they are told, and nobody else', async () => {
    const started = await start();
    const cases: readonly (readonly [fault: Fault, seen: unknown, exists: boolean])[] = [
      [{ kind: 'too-many-requests', retryAfterSeconds: 7 }, 429, false],
      [{ kind: 'internal-error' }, 500, false],
      [{ kind: 'unavailable' }, 503, false],
      [{ kind: 'webhook-failure' }, 500, false],
      [{ kind: 'webhook-denial' }, 403, false],
      [{ kind: 'gone' }, 410, false],
      [{ kind: 'conflict' }, 409, false],
      [{ kind: 'reset' }, 'ECONNRESET', false],
      [{ kind: 'lost-answer' }, 'ECONNRESET', true],
      [{ kind: 'truncated' }, 'ECONNRESET', true],
      [{ kind: 'garbage' }, expect.stringContaining('It works!'), false],
      [{ kind: 'slow', ms: 5 }, 201, true],
    ];
    for (const [i, [fault, seen, exists]] of cases.entries()) {
      started.cluster.faults.add({ fault, verbs: ['create'], times: 1 });
      expect(await attempt(started, `struck-${i}`), fault.kind).toEqual([seen, exists]);
      expect(await attempt(started, `after-${i}`), `after ${fault.kind}`).toEqual([201, true]);
    }
    expect(started.cluster.faults.struck).toBe(cases.length);
  });

  it('say with 429 when to come again', async () => {
    const { cluster, mesh } = await start();
    const takeAway = cluster.faults.add({ fault: { kind: 'too-many-requests', retryAfterSeconds: 7 } });
    expect(await mesh.request('GET', COLLECTION)).toMatchObject({ status: 429, headers: { 'retry-after': '7' } });
    takeAway();
    expect((await mesh.request('GET', COLLECTION)).status).toBe(200);
  });

  it('strike every k-th request', async () => {
    const started = await start();
    started.cluster.faults.add({ fault: { kind: 'unavailable' }, every: 3 });
    const seen: unknown[] = [];
    for (let i = 0; i < 6; i++) seen.push((await started.mesh.request('GET', COLLECTION)).status);
    expect(seen).toEqual([200, 200, 503, 200, 200, 503]);
  });

  it('revoke and restore a token', async () => {
    const { cluster, mesh } = await start();
    cluster.faults.revokeToken('mesh-ca');
    expect((await mesh.request('GET', COLLECTION)).status).toBe(401);
    expect((await cluster.admin.request('GET', COLLECTION)).status).toBe(200);
    cluster.faults.restoreToken('mesh-ca');
    expect((await mesh.request('GET', COLLECTION)).status).toBe(200);
  });

  it('put the clock wrong, in headers and in objects', async () => {
    const { cluster, mesh } = await start({ now: () => new Date('2026-09-01T12:00:00Z') });
    cluster.faults.clockOffsetMs = 600_000;
    const reply = await mesh.request('POST', COLLECTION, wish('late'));
    expect(reply.headers.date).toBe('Tue, 01 Sep 2026 12:10:00 GMT');
    expect(reply.body).toMatchObject({ metadata: { creationTimestamp: '2026-09-01T12:10:00Z' } });
    cluster.faults.clear();
    expect((await mesh.request('GET', COLLECTION)).headers.date).toBe('Tue, 01 Sep 2026 12:00:00 GMT');
  });

  it.each(['end', 'reset', 'expired'] as const)('drop every watch of the user under test by %s', async (how) => {
    const { cluster, mesh } = await start();
    const { lines, ended } = await openWatch(mesh, 0);
    expect((await cluster.counts()).watchesOpen).toBe(1);
    expect(cluster.faults.dropWatches(how)).toBe(1);
    await ended;
    expect(lines.map(({ type }) => type)).toEqual(how === 'expired' ? ['ERROR'] : []);
    expect((await cluster.counts()).watchesOpen).toBe(0);
    expect(cluster.faults.watchesOpened).toBe(1);
  });

  it('forget the history, so that an older version is too old and a present one is not', async () => {
    const { cluster, mesh } = await start();
    await mesh.create(wish('first'));
    const { resourceVersion } = await cluster.admin.listAll();
    await mesh.create(wish('second'));
    cluster.faults.compact();
    expect((await openWatch(mesh, Number(resourceVersion))).lines).toMatchObject([
      { type: 'ERROR', object: { code: 410 } },
    ]);
    expect((await openWatch(mesh, Number(resourceVersion) + 1)).lines).toEqual([]);
  });

  it('reset every connection of the user under test', async () => {
    const { cluster, mesh } = await start();
    await mesh.list();
    const { open } = cluster.faults.connections();
    expect(cluster.faults.resetConnections()).toBe(1);
    await sleep(20);
    expect(cluster.faults.connections().open).toBe(open - 1);
    expect(await mesh.list()).toEqual([]);
  });
});

describe('the fake API server', () => {
  it('sends bookmarks to who asks for them', async () => {
    const { cluster, mesh } = await start({ bookmarkIntervalMs: 10 });
    const { metadata } = await mesh.create(wish('marked'));
    const { lines } = await openWatch(mesh, Number(metadata.resourceVersion));
    const { resourceVersion } = await cluster.admin.listAll();
    expect(lines.length).toBeGreaterThanOrEqual(2);
    expect(lines).toEqual(lines.map(() => ({ type: 'BOOKMARK', object: bookmarkOf(resourceVersion) })));
  });

  it('remembers as many changes as it is told', async () => {
    const { cluster, mesh } = await start({ historySize: 3 });
    const { resourceVersion } = await cluster.admin.listAll();
    for (let i = 0; i < 5; i++) await mesh.create(wish(`n-${i}`));
    const first = Number(resourceVersion);
    expect((await openWatch(mesh, first + 1)).lines[0]).toMatchObject({ type: 'ERROR' });
    expect((await openWatch(mesh, first + 2)).lines.map(({ type }) => type)).toEqual(['ADDED', 'ADDED', 'ADDED']);
  });

  it.each([
    ['a CSR that is none', { request: Buffer.from('no PEM').toString('base64') }, /spec\.request: Invalid value/],
    ['an issuer without a name', { issuerRef: { name: '' } }, /spec\.issuerRef\.name: Required value/],
  ])("plays cert-manager's webhook: refuses %s", async (_what, spec, message) => {
    const { mesh } = await start();
    const reply = await mesh.request('POST', COLLECTION, wish('refused', spec));
    expect([reply.status, textAt(reply.body, 'message')]).toEqual([403, expect.stringMatching(message)]);
  });

  it("plays cert-manager's webhook: writes down who asked, and lets nobody change a spec", async () => {
    const { cluster, mesh } = await start();
    const made = await mesh.create(wish('fixed'));
    expect(made.spec.username).toBe('system:serviceaccount:kong-mesh-system:mesh-ca');
    const changed = { ...made, spec: { ...made.spec, duration: '1h' } };
    const reply = await cluster.admin.request('PUT', `${COLLECTION}/fixed`, changed);
    expect(textAt(reply.body, 'message')).toMatch(/cannot change spec after creation/);
  });

  it('makes nothing when it is asked for a dry run', async () => {
    const { mesh } = await start();
    expect((await mesh.request('POST', `${COLLECTION}?dryRun=All`, wish('dry'))).status).toBe(201);
    expect(await mesh.list()).toEqual([]);
  });

  it('counts what the user under test asks for, by verb', async () => {
    const { cluster, mesh } = await start();
    await mesh.create(wish('counted'));
    await cluster.admin.list();
    await mesh.delete('counted');
    expect((await cluster.counts()).requests).toMatchObject({ create: 1, delete: 1, list: 0, get: 0 });
  });
});

const bookmarkOf = (resourceVersion: string) => ({
  kind: 'CertificateRequest',
  apiVersion: 'cert-manager.io/v1',
  metadata: { creationTimestamp: null, resourceVersion },
});

const STANDS_MS = 60;

/** Watches the namespace for the rest of the test; resolves when what is there was told. */
async function openWatch(client: ClusterClient, version: number) {
  const lines: WatchEvent[] = [];
  const ending = new AbortController();
  onTestFinished(() => ending.abort());
  const query = new URLSearchParams({ watch: 'true', allowWatchBookmarks: 'true' });
  if (version > 0) query.set('resourceVersion', String(version));
  const ended = client.follow(`${COLLECTION}?${query}`, (event) => void lines.push(event), ending.signal);
  ended.catch(() => {});
  await sleep(STANDS_MS);
  return { lines, ended };
}
