import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type StartedEnvoy, startEnvoy } from '../../testcontainers/envoy.ts';
import { findFixedPort } from '../../testcontainers/fixed-port.ts';
import type { Demo } from '../demo.ts';
import { startEchoService } from './echo-service.ts';
import { type FreezableProxy, startFreezableProxy } from './freezable-proxy.ts';
import type { Call } from './load.ts';
import { MESH } from './mesh.ts';
import { EGRESS, proxyBootstrap } from './proxy-bootstrap.ts';
import type { RestartableMeshCa } from './restartable-mesh-ca.ts';
import { sdsSecrets } from './sds-secrets.ts';

/** Data planes; each is the only one of the service of its name. */
export const PROXIES = ['web', 'orders', 'laggard'] as const;
export type ProxyName = (typeof PROXIES)[number];
/** It has no proxy: it speaks HTTP with mesh-ca, and TLS with the proxies. */
export const WITNESS = 'witness';

/** Who calls whom: two proxies in both directions, and the one that lags as caller and as called. */
const CALLS: readonly { readonly from: ProxyName; readonly to: ProxyName }[] = [
  { from: 'web', to: 'orders' },
  { from: 'orders', to: 'web' },
  { from: 'web', to: 'laggard' },
  { from: 'laggard', to: 'orders' },
];
/** Calls the witness when it poses as a server. */
export const WITNESS_CALLER: ProxyName = 'web';

export interface MeshProxy {
  readonly name: ProxyName;
  readonly spiffeId: string;
  readonly envoy: StartedEnvoy;
  readonly inboundPort: number;
  readonly egressPort: number;
}

export interface Proxies {
  readonly all: readonly MeshProxy[];
  /** For the load. */
  readonly calls: readonly Call[];
  /** Between the one that lags and mesh-ca. */
  readonly network: FreezableProxy;
  /** Where `WITNESS_CALLER` looks for the witness. */
  readonly witnessPort: number;
}

export const spiffeId = (service: string): string => `spiffe://${MESH}/${service}`;

/** Real Envoys with their secrets, each with a service behind it. One lives behind a network that can be frozen, and fetches its secrets incrementally. */
export async function startProxies(demo: Demo, meshCa: RestartableMeshCa): Promise<Proxies> {
  const network = await startFreezableProxy(meshCa.sdsPort);
  demo.closers.add('the network that can be frozen', network.close);
  const ports = new Map<string, number>();
  for (const name of [...PROXIES, WITNESS]) ports.set(name, await findFixedPort());
  const portOf = (name: string) => ports.get(name) ?? 0;

  const all = await Promise.all(
    PROXIES.map(async (name): Promise<MeshProxy> => {
      const sdsPort = name === 'laggard' ? network.port : meshCa.sdsPort;
      const envoy = await startProxy(demo, meshCa, name, sdsPort, portOf);
      return {
        ...{ name, envoy, spiffeId: spiffeId(name), inboundPort: portOf(name) },
        egressPort: await envoy.port(EGRESS),
      };
    }),
  );
  const calls = CALLS.flatMap(({ from, to }) =>
    all.filter(({ name }) => name === from).map((proxy) => ({ from: proxy, to })),
  );
  return { all, calls, network, witnessPort: portOf(WITNESS) };
}

async function startProxy(
  { closers, folder }: Demo,
  meshCa: RestartableMeshCa,
  name: ProxyName,
  sdsPort: number,
  portOf: (name: string) => number,
): Promise<StartedEnvoy> {
  const service = await startEchoService(name);
  closers.add(`the service of ${name}`, service.close);
  const file = join(folder, `${name}.token`);
  const body = { mesh: MESH, name, validFor: '1h' };
  const { text: token } = await meshCa.api().send('POST', '/tokens/dataplane', { body });
  await writeFile(file, token, { mode: 0o600 });

  const callers = CALLS.filter(({ to }) => to === name).map(({ from }) => from);
  const called = CALLS.filter(({ from }) => from === name).map(({ to }) => to);
  const peers = [...called, ...(name === WITNESS_CALLER ? [WITNESS] : [])];
  const envoy = await startEnvoy({
    bootstrap: proxyBootstrap({
      node: { id: `${MESH}.${name}`, cluster: name },
      secrets: sdsSecrets({ host: '127.0.0.1', port: sdsPort, token: { file }, delta: name === 'laggard' }),
      inboundPort: portOf(name),
      servicePort: service.port,
      callerIds: [...callers, WITNESS].map(spiffeId),
      peers: peers.map((peer) => ({ name: peer, port: portOf(peer), spiffeId: spiffeId(peer) })),
    }),
  });
  closers.add(`the Envoy of ${name}`, envoy.close);
  return envoy;
}
