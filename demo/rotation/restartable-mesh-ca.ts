import { join } from 'node:path';
import { type ApiClient, createApiClient } from '../../src/cli/api-client.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { findFixedPort } from '../../testcontainers/fixed-port.ts';
import { cleanEnv, type Demo, MESH_CA } from '../demo.ts';
import { type MeshCaServer, startMeshCaServer } from '../support/mesh-ca-server.ts';
import { CertificateTally } from './certificate-tally.ts';

/** `mesh-ca serve` with a SQLite store, on ports that stay the same when it is ended and started again. */
export interface RestartableMeshCa {
  readonly address: string;
  readonly sdsPort: number;
  /** Of the process that runs now. */
  api(): ApiClient;
  /** Ends it by this signal and starts it again. How many milliseconds nobody answered. */
  restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<number>;
  /** How many certificates were issued by all of its lives, as its metrics told last. Those of the last moment before a SIGKILL may be missing. */
  issued(): Promise<number>;
  /** Of the process that runs now. */
  lastLines(): readonly string[];
}

const CALL_TIMEOUT_MS = 20_000;

export async function startRestartableMeshCa({ screen, closers, signal, folder }: Demo): Promise<RestartableMeshCa> {
  const apiPort = await findFixedPort();
  const sdsPort = await findFixedPort();
  const ports = ['--api-port', String(apiPort), '--sds-port', String(sdsPort)];
  const args = ['--data-dir', join(folder, 'data'), ...ports, '--rotation-settle', '1s'];
  const start = () => startMeshCaServer(MESH_CA, args, { cwd: folder, env: cleanEnv(), signal });
  const connect = ({ address }: MeshCaServer) =>
    createApiClient({
      address: new URL(address),
      token: undefined,
      timeoutMs: CALL_TIMEOUT_MS,
      clock: systemClock,
    });

  const tally = new CertificateTally();
  screen.command(`mesh-ca serve --data-dir data ${ports.join(' ')}`);
  let server = await start();
  let client = connect(server);
  const count = async () => tally.read((await client.send('GET', '/metrics')).text);
  closers.add(`mesh-ca at ${server.address}`, async () => {
    client.close();
    await server.stop();
  });
  return {
    address: server.address,
    sdsPort,
    api: () => client,
    lastLines: () => server.lastLines(),
    issued: async () => {
      await count();
      return tally.total;
    },
    restart: async (by) => {
      await count();
      tally.nextLife();
      const endedMs = performance.now();
      client.close();
      await server.stop(by);
      server = await start();
      client = connect(server);
      return Math.round(performance.now() - endedMs);
    },
  };
}
