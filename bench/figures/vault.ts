import type { VaultPki } from '../../testcontainers/vault-pki.ts';
import type { Bao } from '../bao.ts';
import { type Bench, CONNECTIONS } from '../bench.ts';
import { type Figure, type Measurement, shareOf, timesOf } from '../figure.ts';
import { measureLoad } from '../measure-load.ts';
import { startMeshCa } from '../mesh-ca.ts';
import { putVaultMesh } from '../meshes.ts';
import { certificateRequests, judgeIssued, judgeSigned, signRequests } from '../requests.ts';
import { setUpDocumented } from '../vault-mounts.ts';

/**
 * What mesh-ca adds to a `sign` of OpenBao's. OpenBao has the servers' core, mesh-ca shares the client's, so that neither takes the other's
 * time: first with many connections, for the rate, then with one, for the time of one answer.
 */
export async function measureVaultOverhead(bench: Bench, bao: Bao, sign: VaultPki): Promise<Figure> {
  const { measureMs } = bench.effort;
  const meshCa = await startMeshCa(bench, await bench.makeFolder(), { core: 'client' });
  const { address } = bao;
  const { mount, role, token } = sign;
  await putVaultMesh(meshCa, 'default', { address, ...sign });
  const through = certificateRequests('default', bench.csrs);
  let from = 0;
  const pair = async (what: string, connections: number) => {
    from += 1e6;
    const offset = from;
    const direct = await measureLoad(bench, {
      name: `OpenBao sign, asked directly, ${what}`,
      ...{ address, connections, measureMs },
      pids: { openbao: bao.pid },
      request: signRequests(mount, role, token, bench.csrs),
      judge: judgeSigned,
    });
    const ours = await measureLoad(bench, {
      name: `the same through mesh-ca, ${what}`,
      address: meshCa.address,
      ...{ connections, measureMs },
      pids: { 'mesh-ca': meshCa.pid, openbao: bao.pid },
      request: (index) => through(offset + index),
      judge: judgeIssued,
    });
    return { direct, ours };
  };
  const many = await pair(`${CONNECTIONS} connections`, CONNECTIONS);
  const one = await pair('one connection', 1);
  await meshCa.stop();
  const addedMs = (one.ours.p50Ms ?? 0) - (one.direct.p50Ms ?? 0);
  return {
    name: 'vault-overhead',
    measurements: [many.direct, many.ours, one.direct, one.ours],
    comparisons: [
      ...shareOf('vault of direct sign', many.ours.certificatesPerSecond, many.direct.certificatesPerSecond, {
        over: 80,
      }),
      { name: 'added to the p50 of one answer', value: addedMs, unit: 'ms', target: { under: 1 } },
    ],
  };
}

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
