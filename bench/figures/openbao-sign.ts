import type { VaultPki } from '../../testcontainers/vault-pki.ts';
import type { Bao } from '../bao.ts';
import type { Bench } from '../bench.ts';
import { type Figure, type Measurement, timesOf } from '../figure.ts';
import { measureLoad } from '../measure-load.ts';
import { judgeSigned, signRequests } from '../requests.ts';

/**
 * OpenBao's own `sign`, asked directly with the CSRs that `builtin` got: with a token of the policy of `policies/vault`, as a proxy or
 * mesh-ca would have it, and with the root token, for which OpenBao weighs no policy at all.
 */
export async function measureOpenBaoSign(
  bench: Bench,
  bao: Bao,
  { mount, role, token }: VaultPki,
  builtin: Measurement | undefined,
): Promise<Figure> {
  const measure = (name: string, withToken: string) =>
    measureLoad(bench, {
      name,
      address: bao.address,
      pids: { openbao: bao.pid },
      measureMs: bench.effort.measureMs,
      request: signRequests(mount, role, withToken, bench.csrs),
      judge: judgeSigned,
    });
  const direct = await measure('OpenBao sign, asked directly', token);
  const asRoot = await measure('OpenBao sign, root token', bao.rootToken);
  const ours = builtin?.cpuSecondsPer1000;
  return {
    name: 'openbao-sign',
    measurements: [direct, asRoot],
    comparisons: [
      ...timesOf('builtin over OpenBao sign, per CPU second', direct.cpuSecondsPer1000, ours, { over: 2 }),
      ...timesOf('builtin over the same with root token', asRoot.cpuSecondsPer1000, ours),
    ],
  };
}
