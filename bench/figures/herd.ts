import { askAtRate, spreadOf } from '../ask-at-rate.ts';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import { countVault, ISSUING } from '../counted-vault.ts';
import type { Figure } from '../figure.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putVaultMesh } from '../meshes.ts';
import { setUpSign } from '../vault-mounts.ts';

const WITHIN_SECONDS = 10;
const TAGS = { 'kuma.io/service': 'backend', version: 'v1' };
const LINES_AT_ONCE = 1000;

/**
 * mesh-ca is killed and started again, and all its data planes ask within ten seconds: half with the certificate that they hold, half with their CSR. Every
 * request that reaches Vault from then on is counted on the wire.
 */
export async function measureHerd(bench: Bench, bao: Bao): Promise<Figure> {
  const { herd } = bench.effort;
  const pki = await setUpSign(bao, { mount: 'herd' });
  const vault = await countVault(bench, bao);
  const dataDir = await bench.makeFolder();
  let meshCa = await startMeshCa(bench, dataDir);
  await putVaultMesh(meshCa, 'default', { ...pki, address: vault.address });
  bench.say(`herd: ${herd} certificates`);
  const held: string[] = [];
  for (let from = 0; from < herd; from += LINES_AT_ONCE) {
    const lines = Array.from({ length: Math.min(LINES_AT_ONCE, herd - from) }, (_, i) =>
      JSON.stringify({ dataplane: `dp-${from + i}`, tags: TAGS, csr: bench.csrs[from + i] }),
    );
    const text = await meshCa.must('POST', '/meshes/default/_certificates', lines.join('\n'), 'application/x-ndjson');
    for (const line of text.trim().split('\n')) {
      const { dataplane, certificate } = JSON.parse(line) as { dataplane: string; certificate: string };
      held[Number(dataplane.slice(3))] = certificate;
    }
  }
  await meshCa.kill();
  vault.calls.length = 0;
  bench.say(`herd: killed, started again, ${herd} requests in ${WITHIN_SECONDS} s`);
  meshCa = await startMeshCa(bench, dataDir);
  const { outcomes, latenciesMs, seconds } = await askAtRate({
    ...{ address: meshCa.address, perSecond: herd / WITHIN_SECONDS, count: herd },
    request: (index) => ({
      path: `/meshes/default/dataplanes/dp-${index}/_certificate`,
      body: JSON.stringify(
        index % 2 === 0 ? { tags: TAGS, current: held[index] } : { tags: TAGS, csr: bench.csrs[index] },
      ),
    }),
  });
  const requests = vault.calls.map(({ method, path }) => `${method} ${path}`);
  await meshCa.stop();
  const { p50Ms, p99Ms, maxMs } = spreadOf(latenciesMs);
  const counted: Record<string, number> = {};
  for (const path of requests) counted[path] = (counted[path] ?? 0) + 1;
  const served = (outcomes.kept ?? 0) + (outcomes.reused ?? 0);
  return {
    name: 'herd',
    measurements: [
      {
        name: `${herd.toLocaleString('en')} data planes after a restart`,
        p50Ms,
        p99Ms,
        details: { outcomes, seconds, maxMs, requestsToVault: counted },
      },
    ],
    comparisons: [
      {
        name: `certificates asked of Vault for ${herd}`,
        value: requests.filter((path) => ISSUING.test(path)).length,
        unit: '',
        target: { under: 1 },
      },
      { name: 'other requests to Vault', value: requests.filter((path) => !ISSUING.test(path)).length, unit: '' },
      { name: 'served without Vault', value: (100 * served) / herd, unit: '%', target: { over: 99.99 } },
    ],
  };
}
