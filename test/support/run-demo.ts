import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, vi } from 'vitest';
import { findProcessesOfGroup } from './process-group.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface RunningDemo {
  readonly pid: number;
  output(): string;
  /** Waits for a text in the output. */
  says(text: string): Promise<void>;
  /** Sends the signal to the demo and its children, as a terminal does, or to the demo alone. */
  signal(name: NodeJS.Signals, to: 'group' | 'demo'): void;
  readonly exitCode: Promise<number | null>;
  /** Processes and temporary folders that are still there, once the operating system had a moment. */
  leftovers(): Promise<string[]>;
  /** Ends whatever is left, and removes the folder. */
  cleanUp(): Promise<void>;
}

export interface RunDemoOptions {
  /** From the root of the checkout. */
  readonly program: string;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** How long `says` waits. */
  readonly timeoutMs: number;
}

/** A demo in a process group and a folder for temporary files of its own, so that whatever it leaves behind is found. */
export async function runDemo({ program, args = [], env = {}, timeoutMs }: RunDemoOptions): Promise<RunningDemo> {
  const temporary = await mkdtemp(join(tmpdir(), 'mesh-ca-test-'));
  const child = spawn(process.execPath, ['--import', 'tsx', program, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...env, TMPDIR: temporary },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const pid = child.pid ?? 0;
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const exitCode = new Promise<number | null>((resolve) => child.once('close', resolve));
  return {
    pid,
    output: () => output,
    says: (text) => vi.waitFor(() => expect(output).toContain(text), { timeout: timeoutMs, interval: 20 }),
    signal: (name, to) => void process.kill(to === 'group' ? -pid : pid, name),
    exitCode,
    leftovers: async () => {
      const find = async () => [
        ...(await findProcessesOfGroup(pid)),
        ...(await readdir(temporary)).filter((name) => name.startsWith('mesh-ca')),
      ];
      await vi.waitFor(async () => expect(await find()).toEqual([]), { timeout: 3_000 }).catch(() => {});
      return find();
    },
    cleanUp: async () => {
      if ((await findProcessesOfGroup(pid)).length > 0) process.kill(-pid, 'SIGKILL');
      await rm(temporary, { recursive: true, force: true });
    },
  };
}
