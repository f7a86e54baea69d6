import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';

export interface MeshCaServer {
  /** `http://127.0.0.1:port` */
  readonly address: string;
  /** From starting the process to the line that says ready. */
  readonly startMs: number;
  /** The last lines it wrote, its log. */
  lastLines(): readonly string[];
  /** Idempotent. SIGTERM unless told otherwise; SIGKILL where that does not help. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

type ServeProcess = ChildProcessByStdio<null, Readable, Readable>;

const READY_WITHIN_MS = 15_000;
/** Longer than mesh-ca itself waits for answers under way. */
const STOP_WITHIN_MS = 16_000;
const LAST_LINES = 20;

/**
 * Starts `mesh-ca serve` as a child and waits for the log line that says ready.
 * @throws Error with its last lines when it ends before that, or takes too long; the signal's reason when aborted
 */
export async function startMeshCaServer(
  program: string,
  args: readonly string[],
  { cwd, env, signal }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv; readonly signal: AbortSignal },
): Promise<MeshCaServer> {
  signal.throwIfAborted();
  const startedMs = performance.now();
  const child = spawn(process.execPath, [program, 'serve', ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const killNow = () => void child.kill('SIGKILL');
  process.once('exit', killNow);
  let stopping: Promise<void> | undefined;
  const stop = (by: 'SIGTERM' | 'SIGKILL' = 'SIGTERM') => {
    stopping ??= endChild(child, by).finally(() => process.removeListener('exit', killNow));
    return stopping;
  };
  const lines: string[] = [];
  try {
    const address = await readAddress(child, lines, signal);
    return { address, startMs: Math.round(performance.now() - startedMs), lastLines: () => lines, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** `lines` go on being the last ones after the address was read. */
function readAddress(child: ServeProcess, lines: string[], signal: AbortSignal): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const fail = (what: string) => reject(new Error(`mesh-ca serve ${what}; it said:\n${lines.join('\n')}`));
    const timer = setTimeout(() => fail(`was not ready within ${READY_WITHIN_MS} ms`), READY_WITHIN_MS);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const found = (address: string) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      resolve(address);
    };
    // Both streams are read to their end: a full pipe would block the server.
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        if (lines.length > LAST_LINES) lines.shift();
        const address = addressIn(line);
        if (address !== undefined) found(address);
      });
    }
    child.once('error', (error) => fail(`could not be started: ${error.message}`));
    child.once('close', (code, endedBy) => {
      clearTimeout(timer);
      fail(`ended with ${endedBy ?? `exit code ${code}`}`);
    });
  });
}

/** The address in the log line that says ready. */
function addressIn(line: string): string | undefined {
  if (!line.includes('"mesh-ca is ready"')) return undefined;
  const entry: unknown = JSON.parse(line);
  const address = typeof entry === 'object' && entry !== null ? Reflect.get(entry, 'address') : undefined;
  return typeof address === 'string' ? address : undefined;
}

async function endChild(child: ChildProcess, by: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill(by);
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
  await exit;
  clearTimeout(timer);
}
