import type { VaultPki } from '../../testcontainers/vault-pki.ts';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import { type Figure, type Measurement, shareOf, timesOf } from '../figure.ts';
import { measureLoad } from '../measure-load.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putVaultMesh } from '../meshes.ts';
import { certificateRequests, judgeIssued } from '../requests.ts';
import { setUpDocumented } from '../vault-mounts.ts';

/** `vault` as the documents set it up, against `vault` with the right to `sign`. mesh-ca and OpenBao share the servers' core. */
export async function measureVault(
  bench: Bench,
  bao: Bao,
  sign: VaultPki,
  direct: Measurement | undefined,
): Promise<Figure> {
  const { effort } = bench;
  const meshCa = await startMeshCa(bench, await bench.makeFolder());
  const { address } = bao;
  await putVaultMesh(meshCa, 'documented', { address, ...(await setUpDocumented(bao)) });
  await putVaultMesh(meshCa, 'default', { address, ...sign });
  const measure = (name: string, mesh: string, csrs: readonly string[], from: number, measureMs: number) => {
    const request = certificateRequests(mesh, csrs);
    return measureLoad(bench, {
      name,
      address: meshCa.address,
      pids: { 'mesh-ca': meshCa.pid, openbao: bao.pid },
      measureMs,
      request: (index) => request(from + index),
      judge: judgeIssued,
    });
  };
  const documented = await measure('vault as documented: issue, RSA keys', 'documented', [], 0, effort.slowMeasureMs);
  const keyHere = await measure('vault with sign, key made by mesh-ca', 'default', [], 0, effort.measureMs);
  // Other data planes than before: what a server knows of them must not help.
  const withCsr = await measure('vault with sign, CSR of the caller', 'default', bench.csrs, 1e6, effort.measureMs);
  await meshCa.stop();
  return {
    name: 'vault',
    measurements: [documented, keyHere, withCsr],
    comparisons: [
      ...timesOf('sign over issue as documented', keyHere.certificatesPerSecond, documented.certificatesPerSecond),
      ...shareOf('vault with CSR of direct sign, by CPU time', direct?.cpuSecondsPer1000, withCsr.cpuSecondsPer1000),
    ],
  };
}
