import type { Bench } from '../bench.ts';
import { type Figure, shareOf } from '../figure.ts';
import { measureLoad } from '../measure-load.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putBuiltinMesh } from '../meshes.ts';
import { certificateRequests, judgeIssued } from '../requests.ts';
import { ceilingOf, runCeiling } from './ceiling.ts';

/** `builtin` over HTTP with a CSR and durable records, between two halves of the ceiling, so that both see the same machine. */
export async function measureBuiltin(bench: Bench): Promise<Figure> {
  const before = await runCeiling(bench);
  const meshCa = await startMeshCa(bench, await bench.makeFolder());
  await putBuiltinMesh(meshCa);
  const builtin = await measureLoad(bench, {
    name: 'builtin: EC P-256, CSR over HTTP',
    address: meshCa.address,
    pids: { 'mesh-ca': meshCa.pid },
    measureMs: bench.effort.measureMs,
    request: certificateRequests('default', bench.csrs),
    judge: judgeIssued,
  });
  await meshCa.stop();
  const ceiling = ceilingOf([before, await runCeiling(bench)]);
  return {
    name: 'builtin',
    measurements: [ceiling, builtin],
    comparisons: [
      ...shareOf('builtin of the ceiling, by CPU time', ceiling.cpuSecondsPer1000, builtin.cpuSecondsPer1000, {
        over: 60,
      }),
      ...shareOf('builtin of the ceiling, by the clock', builtin.certificatesPerSecond, ceiling.certificatesPerSecond, {
        over: 60,
      }),
    ],
  };
}
