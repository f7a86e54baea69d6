import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bench } from '../bench.ts';
import type { Comparison, Figure, Measurement } from '../figure.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putBuiltinMesh } from '../meshes.ts';
import { readUsage, type Usage } from '../process-usage.ts';

const IDLE_MS = 1000;
const MOST_READY_MS = 1000;
const MOST_RSS_MB = 120;

/** Time to the ready line and memory of an idle server, on a folder that is empty and on one that is not. */
export async function measureStart(bench: Bench): Promise<Figure> {
  const { records } = bench.effort;
  const filled = await fill(bench, records);
  const measurements = [
    await measure(bench, 'start on an empty folder', async () => bench.makeFolder()),
    await measure(bench, `start with ${records.toLocaleString('en')} records`, async () => {
      const folder = await bench.makeFolder();
      await cp(filled, folder, { recursive: true });
      return folder;
    }),
  ];
  return { name: 'start', measurements, comparisons: measurements.flatMap(targetsOf) };
}

async function measure(bench: Bench, name: string, makeFolder: () => Promise<string>): Promise<Measurement> {
  bench.say(name);
  const readyMs: number[] = [];
  const usages: Usage[] = [];
  for (let i = 0; i < bench.effort.starts; i += 1) {
    const meshCa = await startMeshCa(bench, await makeFolder());
    readyMs.push(meshCa.readyMs);
    await sleep(IDLE_MS);
    const usage = readUsage(meshCa.pid);
    if (usage !== undefined) usages.push(usage);
    await meshCa.stop();
  }
  const memory =
    usages.length === 0
      ? {}
      : { rssMb: median(usages.map((u) => u.rssMb)), peakRssMb: median(usages.map((u) => u.peakRssMb)) };
  return {
    name,
    readyMs: median(readyMs),
    ...memory,
    details: { readyMs, cpuSecondsUntilIdle: median(usages.map((usage) => usage.cpuSeconds)) },
  };
}

function targetsOf({ name, readyMs, rssMb }: Measurement): Comparison[] {
  const found: Comparison[] = [];
  if (readyMs !== undefined)
    found.push({ name: `${name}: ready`, value: readyMs, unit: 'ms', target: { under: MOST_READY_MS } });
  if (rssMb !== undefined)
    found.push({ name: `${name}: idle RSS`, value: rssMb, unit: 'MB', target: { under: MOST_RSS_MB } });
  return found;
}

/** A data folder with that many certificates, closed cleanly. */
async function fill(bench: Bench, records: number): Promise<string> {
  bench.say(`${records} certificates for the start that finds records`);
  const folder = join(await bench.makeFolder(), 'data');
  const meshCa = await startMeshCa(bench, folder);
  await putBuiltinMesh(meshCa);
  const lines = Array.from({ length: records }, (_, i) =>
    JSON.stringify({ dataplane: `dp-${i}`, tags: { 'kuma.io/service': 'backend' }, csr: bench.csrs[i] }),
  );
  const type = 'application/x-ndjson';
  const answers = (await meshCa.must('POST', '/meshes/default/_certificates', `${lines.join('\n')}\n`, type)).split(
    '\n',
  );
  const issued = answers.filter((line) => line.includes('"outcome":"issued"')).length;
  if (issued !== records) throw new Error(`${issued} of ${records} certificates issued: ${answers.at(-2)}`);
  await meshCa.stop();
  return folder;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}
