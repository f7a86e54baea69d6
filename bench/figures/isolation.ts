import { startTcpProxy } from '../../test/support/tcp-proxy.ts';
import { type AskedAtRate, askAtRate, spreadOf } from '../ask-at-rate.ts';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import type { Figure, Measurement } from '../figure.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putVaultMesh } from '../meshes.ts';
import { setUpSign } from '../vault-mounts.ts';

const HEALTHY = 18;
/** Of all healthy meshes together: a third of what the machine can do, so that waiting shows and saturation does not. */
const PER_SECOND = 100;
/** Of each mesh in trouble: callers that do not care when they are told to come again. */
const TROUBLE_PER_SECOND = 50;
const SLOW_MS = 1_000;
const MOST_ADDED_MS = 5;
const TAGS = { 'kuma.io/service': 'backend', version: 'v1' };

/**
 * What 18 healthy meshes notice of two others, one whose Vault takes connections and never answers, and one whose Vault takes a second for
 * everything: windows with and without requests for the two, in turn, so that both kinds see the same machine.
 */
export async function measureIsolation(bench: Bench, bao: Bao): Promise<Figure> {
  const anyMesh = { allowed_uri_sans: ['spiffe://*', 'kuma://*'] };
  const pki = await setUpSign(bao, { mount: 'isolation', roleChanges: anyMesh });
  const { hostname: host, port } = new URL(bao.address);
  const startProxy = async () => {
    const proxy = await startTcpProxy({ host, port: Number(port) });
    bench.cleanup.add(proxy.close);
    return { ...proxy, address: `http://${proxy.host}:${proxy.port}` };
  };
  const [dead, slow] = [await startProxy(), await startProxy()];
  const meshCa = await startMeshCa(bench, await bench.makeFolder());
  const healthy = Array.from({ length: HEALTHY }, (_, index) => `healthy-${index}`);
  for (const mesh of healthy) await putVaultMesh(meshCa, mesh, { ...pki, address: bao.address });
  await putVaultMesh(meshCa, 'dead', { ...pki, address: dead.address }, { skipValidation: true });
  await putVaultMesh(meshCa, 'slow', { ...pki, address: slow.address });
  await dead.set({ kind: 'half-open' });
  await slow.set({ kind: 'slow', latencyMs: SLOW_MS / 2 });

  const { windows, measureMs } = bench.effort;
  let next = 0;
  const ask = (meshes: readonly string[], perSecond: number, ms: number): Promise<AskedAtRate> => {
    const from = next;
    const count = Math.ceil((perSecond * ms) / 1000);
    next += count;
    return askAtRate({
      ...{ address: meshCa.address, perSecond, count },
      request: (index) => ({
        path: `/meshes/${meshes[index % meshes.length]}/dataplanes/dp-${from + index}/_certificate`,
        body: JSON.stringify({ csr: bench.csrs[(from + index) % bench.csrs.length], tags: TAGS }),
      }),
    });
  };
  bench.say('isolation: warm-up');
  await ask(healthy, PER_SECOND, bench.effort.warmUpMs);
  const seen = { quiet: [] as number[], troubled: [] as number[] };
  const inTrouble: Record<string, number> = {};
  for (let window = 0; window < windows; window += 1) {
    const kind = window % 2 === 0 ? 'quiet' : 'troubled';
    bench.say(`isolation: window ${window + 1} of ${windows}, ${kind}`);
    const trouble = kind === 'quiet' ? [] : ['dead', 'slow'].map((mesh) => ask([mesh], TROUBLE_PER_SECOND, measureMs));
    const { outcomes, latenciesMs } = await ask(healthy, PER_SECOND, measureMs);
    const others = Object.entries(outcomes).filter(([outcome]) => outcome !== 'issued');
    if (others.length > 0) throw new Error(`healthy meshes were answered ${JSON.stringify(outcomes)}`);
    seen[kind].push(...latenciesMs);
    for (const one of await Promise.all(trouble)) {
      for (const [outcome, count] of Object.entries(one.outcomes))
        inTrouble[outcome] = (inTrouble[outcome] ?? 0) + count;
    }
  }
  await meshCa.stop();
  const of = (name: string, latenciesMs: readonly number[], details: object): Measurement => {
    const { p50Ms, p99Ms, maxMs } = spreadOf(latenciesMs);
    return { name, p50Ms, p99Ms, details: { ...details, requests: latenciesMs.length, maxMs } };
  };
  const quiet = of(`${HEALTHY} healthy meshes, ${PER_SECOND}/s`, seen.quiet, {});
  const troubled = of('the same beside a dead and a slow backend', seen.troubled, { inTrouble });
  return {
    name: 'isolation',
    measurements: [quiet, troubled],
    comparisons: [
      {
        name: 'added to the p99 of healthy meshes',
        value: (troubled.p99Ms ?? 0) - (quiet.p99Ms ?? 0),
        unit: 'ms',
        target: { under: MOST_ADDED_MS },
      },
    ],
  };
}
