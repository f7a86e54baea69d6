import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { cleanEnv, type Demo, MESH_CA, ROOT } from '../demo.ts';
import { startMeshCaServer } from '../support/mesh-ca-server.ts';

/** mesh-ca as users run it: the built program, on its embedded store, on a free port. Gives its address. */
export async function startMeshCa({ screen, closers, signal, folder }: Demo): Promise<string> {
  await access(join(ROOT, 'dist/src/cli/main.js')).catch(() => {
    throw new Error('mesh-ca is not built: run `npm ci` without --ignore-scripts, or `npm run build`');
  });
  const args = ['--data-dir', join(folder, 'data'), '--api-port', '0', '--sds-port', '0'];
  screen.command('mesh-ca serve --data-dir data --api-port 0 --sds-port 0');
  const server = await startMeshCaServer(MESH_CA, args, { cwd: folder, env: cleanEnv(), signal });
  closers.add(`mesh-ca at ${server.address}`, server.stop);
  screen.step(`mesh-ca: ready at ${server.address} after ${server.startMs} ms, SQLite store`);
  return server.address;
}
