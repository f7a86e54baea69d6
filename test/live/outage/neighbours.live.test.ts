import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { ask, askAgainAndAgain, makeCsr, namesOf, useVault } from './ask-service.ts';
import { startWatchedVault, type WatchedVault } from './watched-vault.ts';

const LASTS_MS = 3_000;
/** More than the rate limit below allows at once. */
const WANTED = 24;

let vault: WatchedVault;
let slow: TcpProxy;
let test: TestApp;
let service: { address: string };
let csr: string;
beforeAll(async () => {
  [vault, test, csr] = await Promise.all([
    startWatchedVault(),
    startTestApp({ backoffBase: '300ms', backoffMax: '900ms' }),
    makeCsr(),
  ]);
  service = { address: test.app.address };
  slow = await startTcpProxy({ host: vault.proxy.host, port: vault.proxy.port });
  for (const mesh of ['good', 'better', 'bad']) await (await useVault(service, vault, mesh))('48h');
  await (await useVault(service, vault, 'slow', `http://${slow.host}:${slow.port}`))('48h');
  for (const mesh of ['good', 'better', 'bad', 'slow'])
    expect([await ask(service, mesh, 'warm', { csr }), test.log.join('')]).toMatchObject([{ status: 201 }, {}]);
});
afterAll(async () => {
  await test?.close();
  await slow?.close();
  await vault?.close();
});

describe('one mesh of a shared Vault is broken, and one is slow', () => {
  it('the others are served as if nothing were', async () => {
    await vault.bao.must('DELETE', 'pki-bad/roles/dataplane-proxies');
    await slow.set({ kind: 'slow', latencyMs: 400 });
    const startMs = performance.now();
    const goesOn = () => performance.now() - startMs < LASTS_MS;
    const outcomes = new Map<string, number>();
    let count = 0;
    const askFresh = (mesh: string) => async () => {
      const { json } = await ask(service, mesh, `fresh-${count++}`, { csr });
      const outcome = `${mesh} ${json.outcome ?? json.code}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    };
    await Promise.all([
      askAgainAndAgain(namesOf('bad', 60), (name) => ask(service, 'bad', name, { csr }), goesOn, 12),
      askAgainAndAgain(['slow'], askFresh('slow'), goesOn, 12),
      askAgainAndAgain(['good'], askFresh('good'), goesOn, 2),
      askAgainAndAgain(['better'], askFresh('better'), goesOn, 2),
    ]);
    const bad = vault.issuing(startMs).filter(({ mount }) => mount === 'pki-bad').length;
    process.stdout.write(`${JSON.stringify({ bad, ...Object.fromEntries(outcomes) })}\n`);
    expect([...outcomes.keys()].sort()).toEqual(['better issued', 'good issued', 'slow issued']);
    for (const mesh of ['good', 'better']) expect(outcomes.get(`${mesh} issued`)).toBeGreaterThanOrEqual(4);
    expect(bad).toBeLessThanOrEqual(30);
  });

  it('names what is broken', async () => {
    // One of them may be the one that tries whether it is well again.
    await ask(service, 'bad', 'new-1', { csr });
    const { status, json } = await ask(service, 'bad', 'new-2', { csr });
    expect([status, json.code, json.cause?.code]).toEqual([502, 'ERR_ISSUER_DENIED', 'ERR_ISSUER_DENIED']);
    expect(String(json.detail)).toMatch(/breaker .*no such role: dataplane-proxies/);
    expect(String(json.fix)).toContain('pki-bad/roles/dataplane-proxies');
  });
});

describe('a mount has a rate limit', () => {
  const refused: { name: string; answeredMs: number; retryAfterSeconds: number }[] = [];
  let startMs: number;

  it('serves everybody in the end; the mount beside it is served meanwhile', async () => {
    await vault.bao.must('POST', 'sys/quotas/config', { enable_rate_limit_response_headers: true });
    await vault.bao.must('POST', 'sys/quotas/rate-limit/good', { path: 'pki-good', rate: 8, interval: '3s' });
    startMs = performance.now();
    const served = new Set<string>();
    let beside = 0;
    const goesOn = () => served.size < WANTED && performance.now() - startMs < 20_000;
    const askOne = async (name: string) => {
      const { json, headers } = await ask(service, 'good', name, { csr });
      if (json.outcome !== undefined) served.add(name);
      else {
        expect([json.code, headers.get('retry-after')]).toEqual([
          'ERR_ISSUER_RATE_LIMITED',
          String(json.retryAfterSeconds),
        ]);
        refused.push({ name, answeredMs: performance.now(), retryAfterSeconds: Number(json.retryAfterSeconds) });
      }
    };
    const askBeside = async () => {
      expect((await ask(service, 'better', `beside-${beside++}`, { csr })).status).toBe(201);
    };
    await Promise.all([
      askAgainAndAgain(namesOf('quota', WANTED), askOne, goesOn, 12),
      askAgainAndAgain(['better'], askBeside, goesOn, 1),
    ]);
    const calls = vault.issuing(startMs).filter(({ mount }) => mount === 'pki-good');
    const after = performance.now() - startMs;
    process.stdout.write(`${JSON.stringify({ calls: calls.length, refused: refused.length, beside, after })}\n`);
    expect(served.size).toBe(WANTED);
    expect(beside).toBeGreaterThan(10);
    expect(refused.length).toBeGreaterThan(0);
    // One that is refused comes again: those of the first moment, and a few who come a part of a second too early.
    expect(calls.length).toBeLessThan(WANTED * 2.5);
  });

  it('is not asked before the time that it said', () => {
    const calls = vault.issuing(startMs).filter(({ mount }) => mount === 'pki-good');
    for (const { name, answeredMs, retryAfterSeconds } of refused) {
      const refusedMs =
        calls.findLast(({ service, atMs }) => service === name && atMs < answeredMs)?.atMs ?? Number.NaN;
      const pauseMs = retryAfterSeconds * 1000;
      // Those that were under way when it said so may pass the wire a moment later.
      const early = calls.filter(
        ({ atMs }) => atMs > refusedMs + pauseMs / 2 && atMs < refusedMs + pauseMs && atMs > answeredMs,
      );
      expect(early.map(({ service, atMs }) => `${service} ${atMs - refusedMs}`)).toEqual([]);
    }
  });
});
