import { setTimeout as sleep } from 'node:timers/promises';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import { countVault, ISSUING } from '../counted-vault.ts';
import type { Figure } from '../figure.ts';
import { type MeshCa, startMeshCa } from '../mesh-ca.ts';
import { putVaultMesh } from '../meshes.ts';
import { readUsage } from '../process-usage.ts';
import { setUpSign } from '../vault-mounts.ts';

const TAGS = { 'kuma.io/service': 'backend', version: 'v1' };
const AT_ONCE = 32;
const BUCKET_MS = 5_000;
/** Breaker's longest wait here, spread after recovery, and some more. */
const SERVED_WITHIN_MS = 110_000;
/** Ten data planes open the breaker; after that one at a time may try. */
const MOST_TRIED = 40;
/** Over 60 s each 5 s should get a twelfth: as much again is spread still. */
const MOST_OF_BUCKET = 25;

/**
 * Vault is sealed while certificates fall due, and unsealed again: what reaches it meanwhile, and how what was put off is spread afterwards, counted on the
 * wire. The data planes do as they are told: each asks again after `retryAfterSeconds`. All settings are the defaults.
 */
export async function measureOutage(bench: Bench, bao: Bao): Promise<Figure> {
  const { outageDataplanes: count, outageMs } = bench.effort;
  const pki = await setUpSign(bao, { mount: 'outage' });
  const vault = await countVault(bench, bao);
  const { calls } = vault;
  const meshCa = await startMeshCa(bench, await bench.makeFolder());
  await putVaultMesh(meshCa, 'default', { ...pki, address: vault.address });
  const ask = (index: number, more: object) => askFor(meshCa, index, bench.csrs[index % bench.csrs.length], more);
  bench.say(`outage: ${count} certificates`);
  for (let from = 0; from < count; from += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, i) => ask(from + i, {}));
    for (const { outcome } of await Promise.all(some)) if (outcome !== 'issued') throw new Error(outcome);
  }
  const rssMb = readUsage(meshCa.pid)?.rssMb;

  bench.say(`outage: sealed for ${outageMs / 1000} s`);
  const outcomes: Record<string, number> = {};
  await bao.seal();
  const sealedMs = performance.now();
  const renewing = Array.from({ length: count }, async (_, index) => {
    await sleep((outageMs * index) / count);
    while (performance.now() - sealedMs < outageMs + SERVED_WITHIN_MS) {
      const { outcome, retryAfterSeconds } = await ask(index, { force: true });
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      if (outcome === 'issued') return true;
      await sleep(1000 * retryAfterSeconds);
    }
    return false;
  });
  await sleep(outageMs);
  await bao.unseal();
  const unsealedMs = performance.now();
  bench.say('outage: unsealed');
  const served = (await Promise.all(renewing)).filter((isServed) => isServed).length;
  const usage = readUsage(meshCa.pid);
  await meshCa.stop();

  const sealed = calls.filter(({ atMs }) => atMs >= sealedMs && atMs < unsealedMs);
  const signsAtMs = calls.filter(({ atMs, path }) => atMs >= unsealedMs && ISSUING.test(path)).map(({ atMs }) => atMs);
  const buckets: number[] = [];
  for (const atMs of signsAtMs) {
    const bucket = Math.floor((atMs - unsealedMs) / BUCKET_MS);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  const signsBy5s = Array.from(buckets, (signs) => signs ?? 0);
  const well = (outcomes.issued ?? 0) + (outcomes.stale ?? 0);
  const asked = Object.values(outcomes).reduce((sum, one) => sum + one, 0);
  return {
    name: 'outage',
    measurements: [
      {
        name: `Vault sealed for ${outageMs / 1000} s, ${count.toLocaleString('en')} data planes renew`,
        ...(usage === undefined ? {} : { rssMb: usage.rssMb, peakRssMb: usage.peakRssMb }),
        details: { outcomes, requestsWhileSealed: sealed.length, signsBy5s, rssBeforeMb: rssMb, served },
      },
    ],
    comparisons: [
      {
        name: 'certificates asked of the sealed Vault',
        value: sealed.filter(({ path }) => ISSUING.test(path)).length,
        unit: '',
        target: { under: MOST_TRIED },
      },
      { name: 'all requests to the sealed Vault', value: sealed.length, unit: '' },
      {
        name: 'served meanwhile, stale or new',
        value: (100 * well) / Math.max(asked, 1),
        unit: '%',
        target: { over: 99.99 },
      },
      {
        name: 'first certificate after unsealing',
        value: (signsAtMs[0] ?? Number.NaN) - unsealedMs,
        unit: 'ms',
      },
      {
        name: 'most in 5 s of what was renewed then',
        value: (100 * Math.max(0, ...signsBy5s)) / Math.max(signsAtMs.length, 1),
        unit: '%',
        target: { under: MOST_OF_BUCKET },
      },
      { name: 'renewed in the end', value: (100 * served) / count, unit: '%', target: { over: 99.99 } },
    ],
  };
}

interface Answer {
  /** Or the error's code. */
  readonly outcome: string;
  readonly retryAfterSeconds: number;
}

async function askFor(meshCa: MeshCa, index: number, csr: string | undefined, more: object): Promise<Answer> {
  const response = await fetch(`${meshCa.address}/meshes/default/dataplanes/dp-${index}/_certificate`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ csr, tags: TAGS, ...more }),
  });
  const text = await response.text();
  return {
    outcome: /"(?:outcome|code)":"(\w+)"/.exec(text)?.[1] ?? String(response.status),
    retryAfterSeconds: Number(/"retryAfterSeconds":(\d+)/.exec(text)?.[1] ?? 1),
  };
}
