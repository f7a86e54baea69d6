import type { Demo } from '../demo.ts';
import { BUILTIN, type ForeignBackends, MESH, prepareBackends, putMesh } from './mesh.ts';
import { PROXIES, type Proxies, startProxies, WITNESS } from './proxies.ts';
import { type RestartableMeshCa, startRestartableMeshCa } from './restartable-mesh-ca.ts';
import { startWitness, type Witness } from './witness.ts';

/** Everything that takes part, running, on its first CA. */
export interface World {
  readonly meshCa: RestartableMeshCa;
  readonly backends: ForeignBackends;
  readonly proxies: Proxies;
  readonly witness: Witness;
}

export async function startWorld(demo: Demo): Promise<World> {
  const { screen, closers } = demo;
  const meshCa = await startRestartableMeshCa(demo);
  screen.step(`mesh-ca: ready at ${meshCa.address}, SDS on port ${meshCa.sdsPort}, SQLite store`);
  await putMesh(meshCa, []);
  const backends = await prepareBackends(demo, meshCa);
  await putMesh(meshCa, [BUILTIN], BUILTIN);
  for (const name of [...PROXIES, WITNESS]) await putDataplane(meshCa, name);
  screen.step(
    `mesh ${MESH}: backend ${BUILTIN.name} (${BUILTIN.type}), data planes ${[...PROXIES, WITNESS].join(', ')}`,
  );
  const proxies = await startProxies(demo, meshCa);
  screen.step(`${proxies.all.length} Envoys with certificates by SDS, mutual TLS, SPIFFE IDs checked on both sides`);
  const witness = await startWitness(meshCa, `/meshes/${MESH}/dataplanes/${WITNESS}`);
  closers.add('the data plane that speaks HTTP', witness.close);
  return { meshCa, backends, proxies, witness };
}

async function putDataplane(meshCa: RestartableMeshCa, name: string): Promise<void> {
  const inbound = [{ port: 8443, tags: { 'kuma.io/service': name } }];
  const body = { type: 'Dataplane', mesh: MESH, name, networking: { address: '127.0.0.1', inbound } };
  await meshCa.api().send('PUT', `/meshes/${MESH}/dataplanes/${name}`, { body });
}
