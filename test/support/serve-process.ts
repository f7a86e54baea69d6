import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const PROGRAM = fileURLToPath(new URL('../../bin/mesh-ca', import.meta.url));

export interface ServeProcess {
  readonly child: ChildProcess;
  readonly address: string;
  /** Milliseconds from the start of the process to its ready line. */
  readonly readyMs: number;
  /** Everything it wrote so far. */
  output(): string;
  /** Sends the signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/** `mesh-ca serve` as users start it: the built program in a process of its own. */
export async function startServe(
  flags: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ServeProcess> {
  const started = performance.now();
  const child = spawn(process.execPath, [PROGRAM, 'serve', '--api-port', '0', '--sds-port', '0', ...flags], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const address = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      output += chunk.toString();
      const found = /"addresses":\{"api":"([^"]+)"/.exec(output)?.[1];
      if (found !== undefined) resolve(found);
    };
    child.stdout.on('data', read);
    child.stderr.on('data', read);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`mesh-ca serve ended with ${code}: ${output}`)));
  });
  const readyMs = performance.now() - started;
  return {
    child,
    address,
    readyMs,
    output: () => output,
    async end(signal) {
      const ended = once(child, 'exit');
      child.kill(signal);
      const [code, by] = await ended;
      return { code, signal: by };
    },
  };
}
