import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Cleanup } from './cleanup.ts';

/**
 * Runs a file of `bench/programs` in a process of its own and gives what it printed.
 * @throws Error when it does not end with exit code 0; what it complains about is on our own stderr
 */
export async function runBenchProgram(name: string, args: readonly string[], cleanup: Cleanup): Promise<string> {
  const program = fileURLToPath(new URL(`./programs/${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', program, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  cleanup.add(() => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`${name} ended with ${signal ?? `exit code ${code}`}`);
  return Buffer.concat(chunks).toString('utf8');
}
