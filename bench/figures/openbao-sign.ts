import type { VaultPki } from '../../testcontainers/vault-pki.ts';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import { type Figure, type Measurement, timesOf } from '../figure.ts';
import { measureLoad } from '../measure-load.ts';
import { judgeSigned, signRequests } from '../requests.ts';

/** OpenBao's own `sign`, asked directly with the CSRs that `builtin` got. */
export async function measureOpenBaoSign(
  bench: Bench,
  bao: Bao,
  { mount, role, token }: VaultPki,
  builtin: Measurement | undefined,
): Promise<Figure> {
  const direct = await measureLoad(bench, {
    name: 'OpenBao sign, asked directly',
    address: bao.address,
    pids: { openbao: bao.pid },
    measureMs: bench.effort.measureMs,
    request: signRequests(mount, role, token, bench.csrs),
    judge: judgeSigned,
  });
  return {
    name: 'openbao-sign',
    measurements: [direct],
    comparisons: timesOf(
      'builtin over OpenBao sign, per CPU second',
      direct.cpuSecondsPer1000,
      builtin?.cpuSecondsPer1000,
      { over: 2 },
    ),
  };
}
