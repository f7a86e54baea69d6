import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Bench } from './bench.ts';

export interface MeshCa {
  readonly address: string;
  /** Of the Secret Discovery Service: `host:port`. */
  readonly sdsAddress: string;
  readonly pid: number;
  /** From the start of the process to the line that says it is ready. */
  readonly readyMs: number;
  /** JSON in, whole answer text out. @throws Error for a status over 299 */
  must(method: string, path: string, body?: unknown, contentType?: string): Promise<string>;
  /** SIGTERM, then SIGKILL. Idempotent. */
  stop(): Promise<void>;
  /** SIGKILL: a crash. */
  kill(): Promise<void>;
}

const PROGRAM = fileURLToPath(new URL('../bin/mesh-ca', import.meta.url));
const STOP_GRACE_MS = 10_000;

export interface MeshCaOptions {
  /** Default: the servers' core. The client's is for a backend that has the servers' core for itself. */
  readonly core?: 'servers' | 'client';
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Added to `mesh-ca serve`. */
  readonly flags?: readonly string[];
}

/** `mesh-ca serve` as it is installed: the built program in a process of its own, SQLite in `dataDir`. */
export function startMeshCa(
  { cores, cleanup }: Pick<Bench, 'cores' | 'cleanup'>,
  dataDir: string,
  { core = 'servers', env = {}, flags = [] }: MeshCaOptions = {},
): Promise<MeshCa> {
  const start = async () => {
    const startedAt = performance.now();
    const child = spawn(
      process.execPath,
      [PROGRAM, 'serve', '--api-port', '0', '--sds-port', '0', '--data-dir', dataDir, ...flags],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, ...env },
      },
    );
    const stop = createStop(child);
    cleanup.add(stop);
    const addresses = await readAddresses(child);
    const readyMs = performance.now() - startedAt;
    const { address } = addresses;
    return { ...addresses, pid: child.pid ?? 0, readyMs, must: createMust(address), stop, kill: () => crash(child) };
  };
  return core === 'servers' ? cores.forServers(start) : start();
}

function readAddresses(child: ChildProcess): Promise<Pick<MeshCa, 'address' | 'sdsAddress'>> {
  let output = '';
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8000);
      const [, address, sdsAddress = ''] = /"addresses":\{"api":"([^"]+)"(?:,"sds":"([^"]+)")?/.exec(output) ?? [];
      if (address !== undefined) resolve({ address, sdsAddress });
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`mesh-ca serve ended with ${code}: ${output}`)));
  });
}

function createStop(child: ChildProcess): () => Promise<void> {
  const end = async () => {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
    await exit;
    clearTimeout(timer);
  };
  let ending: Promise<void> | undefined;
  return () => {
    ending ??= end();
    return ending;
  };
}

async function crash(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

function createMust(address: string): MeshCa['must'] {
  return async (method, path, body, contentType = 'application/json') => {
    const response = await fetch(`${address}${path}`, {
      method,
      headers: body === undefined ? {} : { 'content-type': contentType },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    if (response.status > 299) throw new Error(`${method} ${path} answered ${response.status}: ${text}`);
    return text;
  };
}
