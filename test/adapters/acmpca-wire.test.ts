import { describe, expect, it, onTestFinished } from 'vitest';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { live } from '../conformance/issuer.ts';
import type { StrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { depsOf, errorOf, hurriedClock, issuerOf, startFake, until, wish } from './acmpca-setup.ts';

interface Wire {
  readonly pca: StrictAcmPca;
  readonly proxy: TcpProxy;
  readonly issuer: Issuer;
  /** Another certificate. */
  readonly sign: () => Promise<unknown>;
  /** Lets time pass for who measures it, without waiting. */
  readonly later: (ms: number) => void;
}

/** The fake behind a proxy, on a clock whose deadlines come ten times sooner. */
async function startWire(): Promise<Wire> {
  const pca = await startFake();
  const { hostname, port } = new URL(pca.endpoint);
  const proxy = await startTcpProxy({ host: hostname, port: Number(port) });
  onTestFinished(() => proxy.close());
  let laterMs = 0;
  const clock: Clock = {
    ...hurriedClock,
    monotonicMs: () => systemClock.monotonicMs() + laterMs,
    deadline: (ms, parent) => systemClock.deadline(ms / 10, parent),
  };
  const issuer = issuerOf(pca, depsOf(pca, { clock }), { endpoint: `http://${proxy.host}:${proxy.port}` });
  let requests = 0;
  return {
    ...{ pca, proxy, issuer },
    later(ms) {
      laterMs += ms;
    },
    async sign() {
      requests += 1;
      return issuer.sign(await wish(issuer, { requestId: `r${requests}` }), live());
    },
  };
}

describe('connections that died without a word', () => {
  it('while they rested: the call is made again over a new one, and issues once', async () => {
    const { pca, proxy, sign, later } = await startWire();
    await sign();
    await proxy.set({ kind: 'half-open' });
    await proxy.set({ kind: 'forward' });
    later(5000);
    await sign();
    expect([pca.issuedCount, pca.counts('IssueCertificate').calls]).toEqual([2, 2]);
  });

  it('under a call: those that start later do not wait for it', async () => {
    const { pca, proxy, sign, later } = await startWire();
    await sign();
    await proxy.set({ kind: 'half-open' });
    const { bytesFromClients } = proxy.counters();
    const stuck = errorOf(sign());
    await until(() => proxy.counters().bytesFromClients > bytesFromClients);
    await proxy.set({ kind: 'forward' });
    later(1000);
    const { accepted } = proxy.counters();
    await sign();
    expect(proxy.counters().accepted).toBeGreaterThan(accepted);
    expect(pca.issuedCount).toBe(2);
    await stuck;
    expect(pca.counts('IssueCertificate').calls).toBe(3);
  });
});

describe('a caller who hangs up', () => {
  it('costs the others no connection', async () => {
    const { pca, proxy, issuer, sign } = await startWire();
    await sign();
    const hungUp = new AbortController();
    pca.fault = (call) => (call.operation === 'IssueCertificate' ? 'hang' : undefined);
    const request = await wish(issuer, { requestId: 'hung-up' });
    const lost = errorOf(issuer.sign(request, { signal: hungUp.signal }));
    await until(() => pca.counts('IssueCertificate').calls === 2);
    hungUp.abort(new Error('enough'));
    await lost;
    pca.fault = () => undefined;
    const { accepted } = proxy.counters();
    await sign();
    expect(proxy.counters().accepted).toBe(accepted);
  });
});

describe('a way to AWS that is broken', () => {
  it.each(['refuse', 'reset', 'garbage'] as const)(
    '(%s) fails the call, and is used again as soon as it is whole',
    async (kind) => {
      const { pca, proxy, sign } = await startWire();
      await sign();
      await proxy.set({ kind });
      expect(await errorOf(sign())).toMatchObject({
        name: expect.stringMatching(/^Issuer(Unavailable|Response)Error$/),
      });
      await proxy.set({ kind: 'forward' });
      await sign();
      expect(pca.issuedCount).toBe(2);
    },
  );

  it('(answers cut in the middle) loses no certificate: the same words get the same one', async () => {
    const { pca, proxy, issuer, sign } = await startWire();
    await sign();
    const request = await wish(issuer, { requestId: 'cut' });
    await proxy.set({ kind: 'cut', shorten: (answer) => answer.subarray(0, answer.length - 20), ending: 'end' });
    expect(await errorOf(issuer.sign(request, live()))).toMatchObject({ name: 'IssuerUnavailableError' });
    await proxy.set({ kind: 'forward' });
    await issuer.sign({ ...request, requestId: 'again' }, live());
    expect(pca.issuedCount).toBe(2);
  });

  it('(slow) is waited for, without another call', async () => {
    const { pca, proxy, sign } = await startWire();
    await sign();
    await proxy.set({ kind: 'slow', latencyMs: 60 });
    await sign();
    expect(pca.counts('IssueCertificate').calls).toBe(2);
  });
});

describe('a server that is there again', () => {
  it('after it was away at the start', async () => {
    const { pca, proxy, sign } = await startWire();
    await proxy.set({ kind: 'refuse' });
    expect(await errorOf(sign())).toMatchObject({ name: 'IssuerUnavailableError' });
    await proxy.set({ kind: 'forward' });
    await sign();
    expect(pca.issuedCount).toBe(1);
  });
});
