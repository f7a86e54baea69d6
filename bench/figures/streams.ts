import type { Bench } from '../bench.ts';
import type { Figure } from '../figure.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { readUsage } from '../process-usage.ts';
import { openSdsDataplanes } from '../sds-dataplanes.ts';
import { fanOutOf, until } from '../sds-fan-out.ts';

const KIB_PER_MB = 1024;

const builtin = (name: string) => ({ name, type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } });

/** Streams as Envoys have them: one for each secret, each on a connection of its own. What they cost, and how soon all have a new bundle. */
export async function measureStreams(bench: Bench): Promise<Figure> {
  const { streams } = bench.effort;
  const count = streams / 2;
  const meshCa = await startMeshCa(bench, await bench.makeFolder(), { flags: ['--sds-auth', 'none'] });
  const put = (...backends: readonly object[]) =>
    meshCa.must('PUT', '/meshes/default', {
      type: 'Mesh',
      name: 'default',
      mtls: { enabledBackend: 'ca-1', backends },
    });
  await put(builtin('ca-1'));
  const alone = readUsage(meshCa.pid);
  bench.say(`streams: ${streams} are opened`);
  const startedAt = performance.now();
  const dataplanes = openSdsDataplanes(meshCa.sdsAddress, 'default', count, 'own');
  bench.cleanup.add(() => dataplanes.close());
  await until(() => dataplanes.complete() === count, dataplanes);
  const connectSeconds = (performance.now() - startedAt) / 1000;
  const known = new Set(dataplanes.bundles.keys());
  await put(builtin('ca-1'), builtin('ca-2'));
  const fanOut = await fanOutOf(dataplanes, known, count, performance.now());
  const usage = readUsage(meshCa.pid);
  const kib =
    usage === undefined || alone === undefined ? Number.NaN : ((usage.peakRssMb - alone.rssMb) * KIB_PER_MB) / streams;
  dataplanes.close();
  await meshCa.stop();
  return {
    name: 'streams',
    measurements: [
      {
        name: `${streams.toLocaleString('en')} open SDS streams, a connection each`,
        ...(usage === undefined ? {} : { rssMb: usage.rssMb, peakRssMb: usage.peakRssMb }),
        details: { connectSeconds, kibPerStream: kib },
      },
      { name: `a new bundle for ${count.toLocaleString('en')} of them`, ...fanOut },
    ],
    comparisons: [
      { name: 'opened a second, certificates included', value: streams / connectSeconds, unit: '/s' },
      { name: 'peak memory a stream, KiB', value: kib, unit: '' },
      { name: 'bundle fan-out, P99', value: fanOut.p99Ms, unit: 'ms', target: { under: 1000 } },
      { name: 'streams that ended by themselves', value: dataplanes.ended.length, unit: '', target: { under: 1 } },
    ],
  };
}
