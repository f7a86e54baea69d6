import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { ask, askAgainAndAgain, forAll, makeCsr, namesOf, until, useVault } from './ask-service.ts';
import { seriesValue } from './metrics-text.ts';
import { startWatchedVault, type WatchedVault, type WireCall } from './watched-vault.ts';

const SPREAD_MS = 4_000;
const RULES = { backoffBase: '300ms', backoffMax: '1s', recoverySpread: `${SPREAD_MS}ms` };
const MESH = 'default';

/** By the time that is left to them: the first must not wait for the others. */
const PER_GROUP = 30;
const GROUPS = ['first', 'second', 'third'] as const;
const due = GROUPS.flatMap((group) => namesOf(group, PER_GROUP));
const fresh = namesOf('fresh', 20);
const all = [...due, ...fresh];
/** Between two slots. */
const SERVED: ReadonlySet<string> = new Set(['issued', 'reused']);
const SLOT_MS = SPREAD_MS / due.length;

let vault: WatchedVault;
let test: TestApp;
let service: { address: string };
let csr: string;
beforeAll(async () => {
  [vault, test, csr] = await Promise.all([startWatchedVault(), startTestApp(RULES), makeCsr()]);
  service = { address: test.app.address };
  const store = await useVault(service, vault, MESH);
  for (const [index, group] of GROUPS.entries()) {
    await store(`${24 + index}h`);
    await forAll(namesOf(group, PER_GROUP), async (name) =>
      expect((await ask(service, MESH, name, { csr })).status).toBe(201),
    );
  }
  // Another lifetime makes them all due.
  await store('240h');
  expect((await ask(service, MESH, 'warm', { csr })).status).toBe(201);
});
afterAll(async () => {
  await test?.close();
  await vault?.close();
});

interface Asked {
  readonly name: string;
  readonly sentMs: number;
  readonly answeredMs: number;
  /** Of the answer, or the code of the error. */
  readonly outcome: string;
  readonly breaker: string;
  readonly cause: string;
  readonly retryAfterSeconds: number;
}

describe('a Vault that was sealed under load is unsealed', () => {
  const answers: Asked[] = [];
  /** When the request that tried whether it is well again passed the wire, and whose it was. */
  let trial: WireCall | undefined;
  /** When it was answered: from then on everybody knows. */
  let closedMs = Number.NaN;

  it('serves everybody in the end, though nobody waits as told', async () => {
    await vault.bao.seal();
    const refusals = new Map<string, number>();
    const served = new Set<string>();
    const askOne = async (name: string) => {
      if (served.has(name)) return;
      const sentMs = performance.now();
      const { status, json } = await ask(service, MESH, name, { csr });
      const { breaker, cause, retryAfterSeconds } = json;
      answers.push({
        ...{ name, sentMs, answeredMs: performance.now(), outcome: String(json.outcome ?? json.code) },
        ...{
          breaker: String(breaker),
          cause: `${cause?.code} ${cause?.detail}`,
          retryAfterSeconds: Number(retryAfterSeconds),
        },
      });
      // Another one may have asked for it at the same time.
      if (SERVED.has(String(json.outcome))) served.add(name);
      else {
        expect([name, status]).toEqual([name, name.startsWith('fresh') ? 503 : 200]);
        refusals.set(name, (refusals.get(name) ?? 0) + 1);
      }
    };
    const isKnown = (name: string) => (refusals.get(name) ?? 0) >= 2;
    let unsealedMs = Number.NaN;
    const unsealing = until('all were refused', () => all.every(isKnown), 15_000).then(async () => {
      await vault.bao.unseal();
      unsealedMs = performance.now();
    });
    const endsMs = performance.now() + 24_000;
    await askAgainAndAgain(all, askOne, () => served.size < all.length && performance.now() < endsMs);
    await unsealing;
    expect(served.size).toBe(all.length);

    const first = answers.find(({ outcome }) => outcome === 'issued');
    trial = vault.issuing().findLast(({ service, atMs }) => service === first?.name && atMs < (first?.answeredMs ?? 0));
    closedMs = first?.answeredMs ?? Number.NaN;
    process.stdout.write(`${JSON.stringify({ trialAfter: closedMs - unsealedMs })}\n`);
  });

  it('those without a certificate at once', () => {
    const late = answers.filter(
      ({ name, sentMs, outcome }) => name.startsWith('fresh') && sentMs > closedMs && outcome.startsWith('ERR_'),
    );
    expect(late).toEqual([]);
  });

  it('the others over the time of recovery, those first whose certificates end first', () => {
    const startMs = trial?.atMs ?? Number.NaN;
    const callsOf = (prefix: string) =>
      vault
        .issuing(startMs)
        .filter(({ service }) => service?.startsWith(`${prefix}-`) && service !== trial?.service)
        .map(({ atMs }) => atMs - startMs);
    const halves = ['fresh', ...GROUPS].map((group) => [group, inHalfSeconds(callsOf(group))]);
    process.stdout.write(`${JSON.stringify(Object.fromEntries(halves))}\n`);
    for (const [index, group] of GROUPS.entries()) {
      const calls = callsOf(group);
      expect(calls.length).toBeGreaterThanOrEqual(PER_GROUP - 1);
      expect(Math.min(...calls)).toBeGreaterThanOrEqual((index / GROUPS.length) * SPREAD_MS - SLOT_MS);
    }
    // Its slots, not all at its end.
    const inAll = inHalfSeconds(GROUPS.flatMap(callsOf));
    expect(Math.max(...inAll)).toBeLessThan(due.length * 0.75);
  });

  it('tells those that have to wait for their slot so', () => {
    const waiting = answers.filter(({ sentMs, outcome }) => sentMs > closedMs && outcome === 'stale');
    expect(waiting.length).toBeGreaterThan(0);
    for (const { breaker, cause, retryAfterSeconds } of waiting) {
      expect(breaker).toBe('closed');
      expect(cause).toMatch(
        /^ERR_ISSUER_UNAVAILABLE issuer\(vault vault-1\): is well again, renewals are spread; .*sealed/,
      );
      expect([1, 2, 3, 4]).toContain(retryAfterSeconds);
    }
  });

  it('holds nobody after that', async () => {
    const later = answers.filter(({ sentMs, outcome }) => sentMs > closedMs + SPREAD_MS && !SERVED.has(outcome));
    expect(later).toEqual([]);
    for (const name of due.slice(0, 20)) expect((await ask(service, MESH, name, { csr })).json.outcome).toBe('reused');
    const { text } = await test.ok('GET', '/metrics');
    expect(seriesValue(text, 'mesh_ca_backend_held_dataplanes', MESH)).toBe(0);
    expect(seriesValue(text, 'mesh_ca_backend_breaker_state', MESH)).toBe(0);
  });
});

function inHalfSeconds(times: readonly number[]): number[] {
  const counts: number[] = [];
  for (const ms of times) counts[Math.floor(ms / 500)] = (counts[Math.floor(ms / 500)] ?? 0) + 1;
  return Array.from(counts, (count) => count ?? 0);
}
