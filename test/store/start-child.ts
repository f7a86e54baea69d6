import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

export interface Child {
  readonly process: ChildProcess;
  /** Whole lines that it has printed so far. */
  readonly lines: readonly string[];
  /** Resolves when it has printed `count` lines. */
  printed(count: number): Promise<void>;
  /** Resolves with its exit code or signal, after the last line has been read. Rejects when it complained. */
  ended(): Promise<number | string | null>;
}

export interface ChildOptions {
  /** Every write beyond it fails (EFBIG), as on a broken disk. */
  readonly largestFileKiB?: number;
}

/** Starts a job of `child.ts` in a process of its own. */
export function startChild(job: string, database: string, { largestFileKiB }: ChildOptions = {}): Child {
  const script = fileURLToPath(new URL('./child.ts', import.meta.url));
  const args = ['--import', 'tsx', '--expose-gc', script, job, database];
  const limit = largestFileKiB === undefined ? '' : `ulimit -f ${largestFileKiB}; `;
  const command = ['-c', `${limit}exec "$@"`, 'bash', process.execPath, ...args];
  const child = spawn('bash', command, { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  let complaints = '';
  child.stderr.on('data', (text) => {
    complaints += text;
  });
  const reader = createInterface(child.stdout).on('line', (line) => lines.push(line));
  const closed = Promise.all([once(reader, 'close'), once(child, 'close')]);
  onTestFinished(() => void child.kill('SIGKILL'));

  return {
    process: child,
    lines,
    async printed(count) {
      while (lines.length < count && child.exitCode === null) await Promise.race([once(reader, 'line'), closed]);
    },
    async ended() {
      await closed;
      if (complaints !== '') throw new Error(complaints);
      return child.exitCode ?? child.signalCode;
    },
  };
}
