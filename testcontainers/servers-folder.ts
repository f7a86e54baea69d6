import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where `npm run servers` keeps the programs of real servers: one folder for each name and version, shared by all checkouts of a user. */
export function serversFolder(env: NodeJS.ProcessEnv = process.env): string {
  const cache = env.XDG_CACHE_HOME;
  return join(cache === undefined || cache === '' ? join(homedir(), '.cache') : cache, 'mesh-ca', 'servers');
}
