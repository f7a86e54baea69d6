import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { ask, askAgainAndAgain, forAll, makeCsr, namesOf, until, useVault } from './ask-service.ts';
import { startWatchedVault, type WatchedVault } from './watched-vault.ts';

const RULES = { backoffBase: '500ms', backoffMax: '2s', recoverySpread: '1s', requestTimeout: '1500ms' };
/** A busy machine makes Vault miss the deadline of `RULES`. */
const SET_UP_WITHIN_MS = 30_000;
const MESH = 'default';
const due = namesOf('due', 80);
const fresh = namesOf('fresh', 30);
const all = [...due, ...fresh];

let vault: WatchedVault;
let test: TestApp;
let service: { address: string };
let csr: string;
beforeAll(async () => {
  [vault, test, csr] = await Promise.all([startWatchedVault(), startTestApp(RULES), makeCsr()]);
  service = { address: test.app.address };
  const store = await useVault(service, vault, MESH);
  await store('48h');
  const hasCertificate = async (name: string) => (await ask(service, MESH, name, { csr })).status === 201;
  await forAll(due, (name) => until(`certificate of ${name}`, () => hasCertificate(name), SET_UP_WITHIN_MS));
  await store('47h');
  await until('certificate of warm', () => hasCertificate('warm'), SET_UP_WITHIN_MS);
});
afterAll(async () => {
  await test?.close();
  await vault?.close();
});

describe('a Vault that gives no answer', () => {
  it('has as many calls open as it has places, hears of the outage by a few dozen, and serves all when it answers again', async () => {
    await vault.proxy.set({ kind: 'half-open' });
    const startMs = performance.now();
    const outcomes = new Map<string, number>();
    const askOne = async (name: string) => {
      const { json } = await ask(service, MESH, name, { csr });
      const outcome = `${name.split('-')[0]} ${json.outcome ?? json.code}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    };
    // All at the same moment, and then again and again.
    await Promise.all(all.map(askOne));
    const firstRound = vault.issuing(startMs).length;
    await askAgainAndAgain(all, askOne, () => performance.now() - startMs < 4_000);
    const inAll = vault.issuing(startMs).length;
    await vault.proxy.set({ kind: 'forward' });
    const mendedMs = performance.now();
    const served = new Set<string>();
    await askAgainAndAgain(
      all,
      async (name) => {
        if (served.has(name)) return;
        const { json } = await ask(service, MESH, name, { csr });
        if (['issued', 'reused'].includes(String(json.outcome))) served.add(name);
      },
      () => served.size < all.length && performance.now() - mendedMs < 20_000,
    );
    process.stdout.write(
      `${JSON.stringify({ firstRound, inAll, servedAfter: performance.now() - mendedMs, ...Object.fromEntries(outcomes) })}\n`,
    );
    expect([...outcomes.keys()].sort()).toEqual(['due stale', 'fresh ERR_ISSUER_UNAVAILABLE']);
    expect(firstRound).toBeLessThanOrEqual(40);
    expect(inAll).toBeLessThanOrEqual(firstRound + 8);
    expect(served.size).toBe(all.length);
  });
});
