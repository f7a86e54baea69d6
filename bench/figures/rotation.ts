import { setTimeout as sleep } from 'node:timers/promises';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import { countVault, ISSUING } from '../counted-vault.ts';
import type { Figure } from '../figure.ts';
import { type MeshCa, startMeshCa } from '../mesh-ca.ts';
import { putSecret } from '../meshes.ts';
import { readUsage } from '../process-usage.ts';
import { openSdsDataplanes, type SdsDataplanes } from '../sds-dataplanes.ts';
import { fanOutOf, until } from '../sds-fan-out.ts';
import { setUpSign } from '../vault-mounts.ts';

const KIB_PER_MB = 1024;
/** As `mesh-ca rotate` looks. */
const WATCH_MS = 1000;
/** As in a container of 1 GB. With all of a large machine Node lets garbage of several times what is in use lie about. */
const HEAP = '--max-old-space-size=512';

const builtin = (name: string) => ({ name, type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } });

/**
 * A mesh of data planes that are connected by SDS is rotated from `builtin` to `vault`, old CA removed, by one call. They are as many streams as data planes;
 * Vault is counted on the wire.
 */
export async function measureRotation(bench: Bench, bao: Bao): Promise<Figure> {
  const { rotated } = bench.effort;
  const pki = await setUpSign(bao, { mount: 'rotation' });
  const vault = await countVault(bench, bao);
  const meshCa = await startMeshCa(bench, await bench.makeFolder(), {
    flags: ['--sds-auth', 'none'],
    env: { NODE_OPTIONS: HEAP },
  });
  const issued = () => vault.calls.filter(({ path }) => ISSUING.test(path)).length;
  const conf = {
    address: vault.address,
    ...{ pki: pki.mount, role: pki.role, auth: { token: { secret: 'vault-token' } } },
  };
  const put = (backends: readonly object[]) =>
    meshCa.must('PUT', '/meshes/default', {
      ...{ type: 'Mesh', name: 'default' },
      mtls: { enabledBackend: 'ca-1', backends },
    });
  await meshCa.must('PUT', '/meshes/default', { type: 'Mesh', name: 'default' });
  await putSecret(meshCa, 'default', 'vault-token', pki.token);
  await put([builtin('ca-1')]);
  const alone = readUsage(meshCa.pid);

  bench.say(`rotation: ${rotated} data planes connect`);
  const startedAt = performance.now();
  const dataplanes = openSdsDataplanes(meshCa.sdsAddress, 'default', rotated);
  bench.cleanup.add(() => dataplanes.close());
  await until(() => dataplanes.complete() === rotated, dataplanes);
  const connectSeconds = seconds(startedAt);
  await sleep(2000);
  const connected = readUsage(meshCa.pid);

  bench.say('rotation: a backend is added');
  const known = new Set(dataplanes.bundles.keys());
  await put([builtin('ca-1'), { name: 'vault-1', type: 'vault', conf: { fromCp: conf } }]);
  const addedAt = performance.now();
  const fanOut = await fanOutOf(dataplanes, known, rotated, addedAt);
  const reissuedByAdding = dataplanes.certificates.filter((count) => count > 1).length;

  bench.say('rotation: builtin -> vault');
  const before = issued();
  const rotation = await rotate(meshCa, dataplanes);
  const peak = readUsage(meshCa.pid);
  const calls = issued() - before;
  dataplanes.close();
  await meshCa.stop();
  const overAlone = (usage: typeof peak) =>
    usage === undefined || alone === undefined ? Number.NaN : ((usage.peakRssMb - alone.rssMb) * KIB_PER_MB) / rotated;
  return {
    name: 'rotation',
    measurements: [
      {
        name: `${rotated.toLocaleString('en')} data planes by SDS, builtin to vault`,
        ...(peak === undefined ? {} : { rssMb: peak.rssMb, peakRssMb: peak.peakRssMb }),
        details: {
          connectSeconds,
          connectedRssMb: connected?.rssMb,
          kibPerConnectedDataplane: overAlone(connected),
          rotationSeconds: rotation.seconds,
          secondsPerState: rotation.perState,
          certificatesEach: countsOf(dataplanes.certificates),
          streamsEnded: dataplanes.ended.length,
          reissuedByAdding,
        },
      },
      { name: `a new bundle for ${rotated.toLocaleString('en')} streams`, ...fanOut },
    ],
    comparisons: [
      { name: 'whole rotation, seconds', value: rotation.seconds, unit: '' },
      // The proof of the new backend issues one, too.
      { name: 'certificates asked of Vault a data plane', value: calls / rotated, unit: '', target: { under: 1.001 } },
      { name: 'peak memory a data plane, KiB', value: overAlone(peak), unit: '', target: { under: 20 } },
      { name: 'bundle fan-out, P99', value: fanOut.p99Ms, unit: 'ms', target: { under: 1000 } },
      { name: 'certificates made anew by adding a backend', value: reissuedByAdding, unit: '', target: { under: 1 } },
      { name: 'streams that ended by themselves', value: dataplanes.ended.length, unit: '', target: { under: 1 } },
    ],
  };
}

async function rotate(meshCa: MeshCa, dataplanes: SdsDataplanes) {
  const startedAt = performance.now();
  await meshCa.must('PUT', '/meshes/default/_rotation', { to: 'vault-1', maxPerSecond: 10_000 });
  const perState: Record<string, number> = {};
  let [state, since] = ['', startedAt];
  await until(
    async () => {
      const view = JSON.parse(await meshCa.must('GET', '/meshes/default/_rotation')) as { state: string };
      const now = performance.now();
      if (view.state !== state) {
        if (state !== '') perState[state] = (perState[state] ?? 0) + (now - since) / 1000;
        [state, since] = [view.state, now];
      }
      return view.state === 'done';
    },
    dataplanes,
    WATCH_MS,
  );
  return { seconds: seconds(startedAt), perState };
}

function countsOf(values: readonly number[]): Readonly<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

function seconds(sinceMs: number): number {
  return (performance.now() - sinceMs) / 1000;
}
