import { Readable } from 'node:stream';
import type { CliIo } from '../../src/cli/cli-io.ts';
import { runCli } from '../../src/cli/run-cli.ts';
import { systemClock } from '../../src/runtime/clock.ts';

/** Tables show local time. */
process.env.TZ = 'UTC';

export const NOW = new Date('2026-01-02T03:04:05Z');

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  readonly tty?: boolean;
  readonly io?: Partial<CliIo>;
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One command line in this process; the clock of tables stands still. */
export async function run(
  argv: readonly string[],
  { env = {}, stdin = '', tty = false, io = {} }: RunOptions = {},
): Promise<Ran> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runCli(argv, {
    env,
    stdin: Readable.from([Buffer.from(stdin)]),
    stdout: { write: (text) => void out.push(text), isTTY: tty },
    stderr: { write: (text) => void err.push(text), isTTY: tty },
    clock: { ...systemClock, now: () => NOW },
    log: { write: (line) => void out.push(line) },
    onStopSignal() {},
    onFatal() {},
    exit() {},
    ...io,
  });
  return { code, stdout: out.join(''), stderr: err.join('') };
}
