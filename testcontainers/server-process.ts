import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { onProcessEnd } from './process-end.ts';

export interface ServerProcessOptions {
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** True once the server answers. Asked again until the deadline; a rejection means not yet. */
  isReady(): Promise<boolean>;
  readonly readyWithinMs: number;
}

export interface ServerProcess {
  readonly pid: number;
  /** The last lines it printed. */
  lastLines(): string;
  /** Idempotent. SIGTERM, then SIGKILL after 5 s. */
  stop(): Promise<void>;
}

const LAST_LINES_MAX = 12_000;
const STOP_GRACE_MS = 5_000;
const POLL_MS = 25;

/**
 * Starts a server as a child of this process; it is ended with it.
 * @throws Error with the program's last lines when it ends early or is not ready in time
 */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const [program = '', ...args] = options.command;
  const child = spawn(program, args, { cwd: options.cwd, env: options.env, stdio: ['ignore', 'pipe', 'pipe'] });
  let lines = '';
  let ended: string | undefined;
  const collect = (chunk: Buffer) => {
    lines = (lines + chunk.toString('utf8')).slice(-LAST_LINES_MAX);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  child.once('error', (error) => {
    ended = error.message;
  });
  child.once('exit', (code, signal) => {
    ended = `ended with ${signal ?? `exit code ${code}`}`;
  });
  const forgetChild = onProcessEnd(() => void child.kill('SIGKILL'));

  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= endChild(child).finally(forgetChild);
    return stopping;
  };

  const isReadyOrEnded = async () => ended !== undefined || (await options.isReady());
  const answered = await pollUntil(options.readyWithinMs, isReadyOrEnded).then(
    () => true,
    () => false,
  );
  if (!answered || ended !== undefined) {
    await stop();
    throw new Error(`${program} ${ended ?? `was not ready within ${options.readyWithinMs} ms`}; it said:\n${lines}`);
  }
  return { pid: child.pid ?? 0, lastLines: () => lines, stop };
}

/** Asks every few milliseconds until it is true; a rejection counts as false. */
export async function pollUntil(withinMs: number, isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await isTrue().catch(() => false))) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms`);
    await sleep(POLL_MS);
  }
}

/** A port that was free a moment ago. Another process may be faster: be ready to try again. */
export async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port on 127.0.0.1');
  return address.port;
}

async function endChild(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const killTimer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
  await exit;
  clearTimeout(killTimer);
}
