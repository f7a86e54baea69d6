import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';

/** Which core the servers have, and which one the client. */
export interface Cores {
  readonly pinned: boolean;
  /** For the machine part of the results. */
  readonly description: string;
  /** Runs `start` so that the processes it starts stay on the servers' core. */
  forServers<T>(start: () => Promise<T>): Promise<T>;
}

const SERVER_CORE = 0;
const CLIENT_CORE = 1;

/**
 * Puts this process on the client's core. A child inherits the cores of the thread that starts it, so a server is started while this
 * thread is on the servers' core for a moment: a Go program then also sees one core only and sets itself up for it.
 */
export function pinCores(): Cores {
  const pinned = cpus().length > CLIENT_CORE && moveTo(CLIENT_CORE, true);
  return {
    pinned,
    description: pinned
      ? `servers on core ${SERVER_CORE}, client on core ${CLIENT_CORE}`
      : 'not pinned: no taskset, or one core only',
    async forServers(start) {
      if (!pinned) return start();
      moveTo(SERVER_CORE, false);
      try {
        return await start();
      } finally {
        moveTo(CLIENT_CORE, false);
      }
    },
  };
}

function moveTo(core: number, allThreads: boolean): boolean {
  const flags = allThreads ? '-acp' : '-cp';
  return spawnSync('taskset', [flags, String(core), String(process.pid)], { stdio: 'ignore' }).status === 0;
}
