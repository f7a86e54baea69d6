import { type StartedOpenBao, startOpenBao } from '../../../testcontainers/openbao.ts';
import { setUpPki, type VaultPki } from '../../../testcontainers/vault-pki.ts';
import { createRequestReader } from '../../faults/request-reader.ts';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

/** A call of Vault's API, when it passed the wire. */
export interface WireCall {
  /** Of `performance.now()`. */
  readonly atMs: number;
  readonly path: string;
  /** Of the backend that made it, as far as the path tells. */
  readonly mount: string;
  /** The service that a certificate was asked for; undefined when the call asks for none. */
  readonly service: string | undefined;
}

export interface WatchedVault {
  readonly bao: StartedOpenBao;
  readonly proxy: TcpProxy;
  /** Of the proxy. */
  readonly address: string;
  /** Every call so far, in order. */
  readonly calls: readonly WireCall[];
  /** Those that asked for a certificate, from this moment on. */
  issuing(fromMs?: number): readonly WireCall[];
  /** A mount with role and token for a mesh, all as documented for `sign`. */
  setUp(mesh: string): Promise<VaultPki>;
  close(): Promise<void>;
}

const ISSUING = /^\/v1\/([^/]+)\/(sign|issue)\/[^/]+$/;
const SERVICE = /spiffe:\/\/[^"/]+\/([^"/]+)"/;

/** A real OpenBao behind a proxy that notes every call, whether or not it arrives. */
export async function startWatchedVault(): Promise<WatchedVault> {
  const bao = await startOpenBao();
  const { hostname, port } = new URL(bao.address);
  const calls: WireCall[] = [];
  const proxy = await startTcpProxy(
    { host: hostname, port: Number(port) },
    {
      observe: () =>
        createRequestReader(({ path, body }) => {
          // A request to `sign` without names only asks whether it might.
          const service = ISSUING.test(path) ? SERVICE.exec(body)?.[1] : undefined;
          calls.push({ atMs: performance.now(), path, mount: path.split('/')[2] ?? '', service });
        }),
    },
  );
  return {
    bao,
    proxy,
    address: `http://${proxy.host}:${proxy.port}`,
    calls,
    issuing: (fromMs = 0) => calls.filter(({ atMs, service }) => service !== undefined && atMs >= fromMs),
    setUp: (mesh) =>
      setUpPki(bao, { mesh, mount: `pki-${mesh}`, policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' }),
    async close() {
      await proxy.close();
      await bao.close();
    },
  };
}
