import { createRequestReader } from '../test/faults/request-reader.ts';
import { startTcpProxy } from '../test/support/tcp-proxy.ts';
import type { Bao } from './bao.ts';
import type { Bench } from './bench.ts';

/** What reached Vault, as it was on the wire. */
export interface VaultCall {
  /** Of `performance.now()`. */
  readonly atMs: number;
  readonly method: string;
  /** Without its query. */
  readonly path: string;
}

/** Paths of which each request issues a certificate. */
export const ISSUING = /\/(sign|issue)\//;

/** The same Vault at another address, where every request is written down. */
export async function countVault(
  { cleanup }: Pick<Bench, 'cleanup'>,
  bao: Bao,
): Promise<{ readonly address: string; readonly calls: VaultCall[] }> {
  const { hostname: host, port } = new URL(bao.address);
  const calls: VaultCall[] = [];
  const observe = () =>
    createRequestReader(({ method, path }) => {
      calls.push({ atMs: performance.now(), method, path: path.split('?', 1)[0] ?? path });
    });
  const proxy = await startTcpProxy({ host, port: Number(port) }, { observe });
  cleanup.add(proxy.close);
  return { address: `http://${proxy.host}:${proxy.port}`, calls };
}
