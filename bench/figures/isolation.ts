import { startTcpProxy } from '../../test/support/tcp-proxy.ts';
import { type AskedAtRate, askAtRate, spreadOf } from '../ask-at-rate.ts';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import type { Comparison, Figure, Measurement } from '../figure.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putVaultMesh } from '../meshes.ts';
import { percentile } from '../percentile.ts';
import { startSlowFront } from '../slow-front.ts';
import { setUpSign } from '../vault-mounts.ts';

const HEALTHY = 18;
/** Of all healthy meshes together: a third of what the machine can do, so that waiting shows and saturation does not. */
const PER_SECOND = 100;
/** Of each of the two others: callers that do not care when they are told to come again. */
const OTHERS_PER_SECOND = 25;
const SLOW_MS = 1_000;
const MOST_ADDED_MS = 5;
const TAGS = { 'kuma.io/service': 'backend', version: 'v1' };
const ANY_MESH = { allowed_uri_sans: ['spiffe://*', 'kuma://*'] };

const WELL = ['well-1', 'well-2'];

/** Which two others are asked in a window, and what that is called. */
const WINDOWS = [
  { name: `${HEALTHY} meshes, ${PER_SECOND}/s, beside two that are well`, others: WELL },
  { name: 'the same beside a dead and a slow Vault', others: ['dead', 'slow'] },
  { name: 'the same beside a dead and a slow mount of their Vault', others: ['dead-mount', 'slow-mount'] },
] as const;

/**
 * What 18 healthy meshes notice when two others are not: one gets no answers, and answers of the other take a second. In windows in which the two are
 * well, in which they are at addresses of their own, and in which they are at the very Vault of the healthy ones, so that all share a queue. The same is
 * asked in all. The windows take turns, so that all kinds see the same machine; the median of the windows' p99 counts, so that one disturbed window does
 * not.
 */
export async function measureIsolation(bench: Bench, bao: Bao): Promise<Figure> {
  const { meshCa, healthy } = await setUp(bench, bao);
  const { rounds, measureMs } = bench.effort;
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
  const seen = WINDOWS.map((kind) => ({ ...kind, latencies: [] as (readonly number[])[], ofOthers: {} as Counts }));
  for (let round = 1; round <= rounds; round += 1) {
    for (const { name, others, latencies, ofOthers } of seen) {
      bench.say(`isolation: round ${round} of ${rounds}, ${name}`);
      const beside = others.map((mesh) => ask([mesh], OTHERS_PER_SECOND, measureMs));
      const { outcomes, latenciesMs } = await ask(healthy, PER_SECOND, measureMs);
      if (Object.keys(outcomes).some((outcome) => outcome !== 'issued'))
        throw new Error(`healthy meshes were answered ${JSON.stringify(outcomes)}`);
      latencies.push(latenciesMs);
      for (const one of await Promise.all(beside)) add(ofOthers, one.outcomes);
    }
  }
  await meshCa.stop();
  const measurements = seen.map(measurementOf);
  const [quiet, ...troubled] = measurements;
  return {
    name: 'isolation',
    measurements,
    comparisons: troubled.map(
      ({ name, p99Ms = 0 }): Comparison => ({
        name: `added to their p99 ${name.replace('the same ', '')}`,
        value: p99Ms - (quiet?.p99Ms ?? 0),
        unit: 'ms',
        target: { under: MOST_ADDED_MS },
      }),
    ),
  };
}

async function setUp(bench: Bench, bao: Bao) {
  const pki = await setUpSign(bao, { mount: 'isolation', roleChanges: ANY_MESH });
  const [deadMount, slowMount] = ['isolation-dead', 'isolation-slow'] as const;
  const mounts = [deadMount, slowMount].map((mount) => setUpSign(bao, { mount, roleChanges: ANY_MESH }));
  const [deadPki, slowPki] = await Promise.all(mounts);
  if (deadPki === undefined || slowPki === undefined) throw new Error('two mounts are needed');
  const { hostname: host, port } = new URL(bao.address);
  const startProxy = async () => {
    const proxy = await startTcpProxy({ host, port: Number(port) });
    bench.cleanup.add(proxy.close);
    return { ...proxy, address: `http://${proxy.host}:${proxy.port}` };
  };
  const [dead, slow] = [await startProxy(), await startProxy()];
  const { address, slowDown, close } = await startSlowFront(bao.address);
  bench.cleanup.add(close);
  const meshCa = await startMeshCa(bench, await bench.makeFolder());
  const healthy = Array.from({ length: HEALTHY }, (_, index) => `healthy-${index}`);
  for (const mesh of [...healthy, ...WELL]) await putVaultMesh(meshCa, mesh, { ...pki, address });
  await putVaultMesh(meshCa, 'dead', { ...pki, address: dead.address });
  await putVaultMesh(meshCa, 'slow', { ...pki, address: slow.address });
  await putVaultMesh(meshCa, 'dead-mount', { ...deadPki, address });
  await putVaultMesh(meshCa, 'slow-mount', { ...slowPki, address });
  await dead.set({ kind: 'half-open' });
  await slow.set({ kind: 'slow', latencyMs: SLOW_MS / 2 });
  slowDown(`/v1/${deadMount}/`, Number.POSITIVE_INFINITY);
  slowDown(`/v1/${slowMount}/`, SLOW_MS);
  return { meshCa, healthy };
}

type Counts = Record<string, number>;

interface Seen {
  readonly name: string;
  readonly latencies: readonly (readonly number[])[];
  readonly ofOthers: Counts;
}

function measurementOf({ name, latencies, ofOthers }: Seen): Measurement {
  const spreads = latencies.map(spreadOf);
  const median = (values: readonly number[]) =>
    percentile(
      [...values].sort((one, other) => one - other),
      0.5,
    );
  return {
    name,
    p50Ms: median(spreads.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(spreads.map(({ p99Ms }) => p99Ms)),
    details: {
      p99MsByWindow: spreads.map(({ p99Ms }) => p99Ms),
      maxMs: Math.max(...spreads.map(({ maxMs }) => maxMs)),
      requests: latencies.flat().length,
      ofOthers,
    },
  };
}

function add(counts: Counts, more: Readonly<Counts>): void {
  for (const [outcome, count] of Object.entries(more)) counts[outcome] = (counts[outcome] ?? 0) + count;
}
