import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import * as x509 from '@peculiar/x509';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type EchoService, startEchoService } from '../../../demo/rotation/echo-service.ts';
import { startLoad } from '../../../demo/rotation/load.ts';
import { EGRESS, proxyBootstrap, staticSecrets } from '../../../demo/rotation/proxy-bootstrap.ts';
import { type StartedEnvoy, startEnvoy } from '../../../testcontainers/envoy.ts';
import { findFixedPort } from '../../../testcontainers/fixed-port.ts';
import { makeCa, type TestCa } from '../../conformance/make-ca.ts';

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Side {
  readonly name: string;
  readonly spiffeId: string;
  readonly service: EchoService;
  readonly inboundPort: number;
}

async function makeSide(name: string): Promise<Side> {
  const service = await startEchoService(name);
  cleanups.push(service.close);
  return { name, spiffeId: `spiffe://default/${name}`, service, inboundPort: await findFixedPort() };
}

/** The proxy of `side`, with a certificate of `ca`, that trusts `trusted` and talks with `peer` in both directions. */
async function startProxy(side: Side, peer: Side, ca: TestCa, trusted: TestCa = ca): Promise<StartedEnvoy> {
  const uri = new x509.SubjectAlternativeNameExtension([{ type: 'url', value: side.spiffeId }]);
  const leaf = await makeCa({
    name: side.name,
    issuer: ca,
    ca: false,
    keyUsage: x509.KeyUsageFlags.digitalSignature,
    extensions: [uri],
  });
  const envoy = await startEnvoy({
    bootstrap: proxyBootstrap({
      node: { id: side.name, cluster: side.name },
      secrets: staticSecrets({ chain: leaf.certPem, key: leaf.keyPem, roots: trusted.certPem }),
      inboundPort: side.inboundPort,
      servicePort: side.service.port,
      callerIds: [peer.spiffeId],
      peers: [{ name: peer.name, port: peer.inboundPort, spiffeId: peer.spiffeId }],
    }),
  });
  cleanups.push(envoy.close);
  return envoy;
}

async function loadFor(ms: number, sides: readonly [Side, StartedEnvoy, Side][]) {
  const load = startLoad(
    await Promise.all(
      sides.map(async ([{ name, spiffeId }, envoy, to]) => ({
        from: { name, spiffeId, egressPort: await envoy.port(EGRESS) },
        to: to.name,
      })),
    ),
  );
  await sleep(ms);
  await load.stop();
  return load.total().summary();
}

describe('two Envoys in mutual TLS with certificates that do not change', () => {
  it('carry load in both directions without a failure, on kept connections and with a handshake for each request', async () => {
    const [a, b] = [await makeSide('a'), await makeSide('b')];
    const ca = await makeCa({ name: 'root' });
    const [envoyA, envoyB] = [await startProxy(a, b, ca), await startProxy(b, a, ca)];
    const summary = await loadFor(1_500, [
      [a, envoyA, b],
      [b, envoyB, a],
    ]);
    expect(summary.reasons).toEqual([]);
    expect(summary.requests).toBeGreaterThan(40);
    expect(summary.p99Ms).toBeGreaterThanOrEqual(summary.p50Ms);

    const stats = await envoyA.stats('cluster.b-(kept|new).ssl.(handshake|session_reused)$|upstream_rq_total$');
    const newRequests = stats.get('cluster.b-new.upstream_rq_total') ?? 0;
    expect(newRequests).toBeGreaterThan(10);
    expect(stats.get('cluster.b-new.ssl.handshake')).toBeGreaterThanOrEqual(newRequests);
    expect(stats.get('cluster.b-new.ssl.session_reused')).toBe(0);
    // One connection for the requests, one for the answer that does not end.
    expect(stats.get('cluster.b-kept.ssl.handshake')).toBe(2);
  });

  it('fail, with the reason, where the caller does not trust the CA of the other', async () => {
    const [a, b] = [await makeSide('a'), await makeSide('b')];
    const [ca, stranger] = [await makeCa({ name: 'root' }), await makeCa({ name: 'stranger' })];
    const envoyA = await startProxy(a, b, ca, stranger);
    await startProxy(b, a, ca);
    const summary = await loadFor(500, [[a, envoyA, b]]);
    expect(summary.failures).toBe(summary.requests);
    expect(summary.reasons[0]?.reason).toMatch(/a to b, .*CERTIFICATE_VERIFY_FAILED/);
  });

  it('fail where the other is somebody else', async () => {
    const [a, b, c] = [await makeSide('a'), await makeSide('b'), await makeSide('c')];
    const ca = await makeCa({ name: 'root' });
    const envoyA = await startProxy(a, { ...c, inboundPort: b.inboundPort }, ca);
    await startProxy(b, a, ca);
    const summary = await loadFor(500, [[a, envoyA, c]]);
    expect([summary.failures, summary.requests > 0]).toEqual([summary.requests, true]);
  });
});

describe('the started Envoy', () => {
  it('tells what it uses and trusts, its ports and its log', async () => {
    const [a, b] = [await makeSide('a'), await makeSide('b')];
    const ca = await makeCa({ name: 'root' });
    const envoy = await startProxy(a, b, ca);
    const root = new x509.X509Certificate(ca.certPem);
    const contexts = await envoy.certificates();
    expect(contexts).toHaveLength(3);
    for (const { trusted, chain } of contexts) {
      expect(trusted.map(({ serialNumber }) => serialNumber)).toEqual([root.serialNumber.replace(/^0+/, '')]);
      expect(chain.map(({ uriSans }) => uriSans)).toEqual([[a.spiffeId]]);
      expect(chain[0]?.notAfter.getTime()).toBe(root.notAfter.getTime());
    }
    expect(await envoy.port('inbound')).toBe(a.inboundPort);
    await expect(envoy.port('none')).rejects.toThrow('envoy has no listener none');
    expect(JSON.stringify(await envoy.configDump())).not.toContain('PRIVATE KEY');
    await vi.waitFor(async () => expect(await envoy.log()).toContain('loading 3 cluster(s)'), { timeout: 3_000 });
  });

  it('is gone after close, which may be called twice', async () => {
    const [a, b] = [await makeSide('a'), await makeSide('b')];
    const envoy = await startProxy(a, b, await makeCa({ name: 'root' }));
    await Promise.all([envoy.close(), envoy.close()]);
    expect(() => process.kill(envoy.pid, 0)).toThrow('ESRCH');
    await expect(envoy.get('/ready')).rejects.toThrow('ENOENT');
  });

  it('says what Envoy said when it does not take the bootstrap', async () => {
    await expect(startEnvoy({ bootstrap: { static_resources: { listeners: [{ nonsense: true }] } } })).rejects.toThrow(
      /nonsense/,
    );
  });
});
