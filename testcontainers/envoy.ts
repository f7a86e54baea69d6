import { rmSync } from 'node:fs';
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEnvoyAdmin, type EnvoyAdmin } from './envoy-admin.ts';
import { findEnvoy } from './envoy-program.ts';
import { onProcessEnd } from './process-end.ts';
import { startServerProcess } from './server-process.ts';

export interface EnvoyOptions {
  /**
   * Envoy's bootstrap (v3, JSON). Whatever it says of `admin` is replaced by a socket in a folder of its own. A listener on port 0 gets a free one,
   * told by `port`.
   */
  readonly bootstrap: Readonly<Record<string, unknown>>;
  /** Told what is used. Default: nobody. */
  print?(line: string): void;
}

export interface StartedEnvoy extends EnvoyAdmin {
  readonly pid: number;
  /** The last 16 KiB of Envoy's log (level info). */
  log(): Promise<string>;
  /** Idempotent. Ends the program and removes its folder. */
  close(): Promise<void>;
}

const READY_WITHIN_MS = 20_000;
/** Without hot restart several Envoys need no numbers to be told apart by. `main` lists some hundred extensions. */
const FLAGS = [
  '--disable-hot-restart',
  '--concurrency',
  '1',
  '--component-log-level',
  'main:warning',
  '--file-flush-interval-msec',
  '100',
];
const LOG_TAIL_BYTES = 16 * 1024;

/**
 * A running Envoy with one worker thread, in a folder of its own; live, as its admin interface tells, when this resolves.
 * @throws Error saying how to get a program when there is none; Error with Envoy's last lines when it does not take the bootstrap
 */
export async function startEnvoy(options: EnvoyOptions): Promise<StartedEnvoy> {
  const program = await findEnvoy();
  if (program === undefined) throw new Error('no Envoy here: run `npm run servers`, or set ENVOY_BIN');
  const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-envoy-'));
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  const forgetFolder = onProcessEnd(removeFolder);
  try {
    const started = await startInFolder(program.path, folder, options.bootstrap);
    options.print?.(`envoy: ${program.from} (${program.path})`);
    let closing: Promise<void> | undefined;
    const close = async () => {
      await started.stop();
      forgetFolder();
      await rm(folder, { recursive: true, force: true });
    };
    return {
      ...started.admin,
      pid: started.pid,
      log: started.log,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    forgetFolder();
    removeFolder();
    throw error;
  }
}

interface EnvoyInFolder {
  readonly admin: EnvoyAdmin;
  readonly pid: number;
  log(): Promise<string>;
  stop(): Promise<void>;
}

async function startInFolder(
  program: string,
  folder: string,
  bootstrap: Readonly<Record<string, unknown>>,
): Promise<EnvoyInFolder> {
  const adminSocket = join(folder, 'admin.sock');
  const configFile = join(folder, 'bootstrap.json');
  const logFile = join(folder, 'envoy.log');
  const config = { ...bootstrap, admin: { address: { pipe: { path: adminSocket } } } };
  // It may hold a key, or a token.
  await writeFile(configFile, JSON.stringify(config), { mode: 0o600 });
  const admin = createEnvoyAdmin(adminSocket);
  const log = () => readTail(logFile);
  try {
    const { pid, stop } = await startServerProcess({
      command: [program, '-c', configFile, '--log-path', logFile, ...FLAGS],
      cwd: folder,
      env: { PATH: process.env.PATH, HOME: folder },
      readyWithinMs: READY_WITHIN_MS,
      isReady: async () => (await admin.get('/ready')).trim() === 'LIVE',
    });
    return { admin, pid, stop, log };
  } catch (error) {
    const told = error instanceof Error ? error.message : String(error);
    throw new Error(`${told}\n${await log().catch(() => '')}`.trim());
  }
}

async function readTail(path: string): Promise<string> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const length = Math.min(size, LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await file.close();
  }
}
