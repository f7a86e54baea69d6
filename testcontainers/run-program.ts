import { spawn } from 'node:child_process';

export interface RunOptions {
  readonly timeoutMs: number;
  /** Lets the program draw on our terminal; its output is not captured then. */
  readonly showOutput?: boolean;
  readonly env?: NodeJS.ProcessEnv;
}

export interface RunResult {
  /** 127 when there is no such program, -1 when it was stopped by a signal (the deadline's among them). */
  readonly exitCode: number;
  /** Standard output and error together, at most the last 64 KiB. */
  readonly output: string;
}

const OUTPUT_MAX = 64 * 1024;
const NO_SUCH_PROGRAM = 127;

/** Runs a program to its end, without a shell. Never rejects: a missing program is exit code 127. */
export function runProgram(command: readonly string[], options: RunOptions): Promise<RunResult> {
  const [program = '', ...args] = command;
  return new Promise((resolve) => {
    let output = '';
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString('utf8')).slice(-OUTPUT_MAX);
    };
    const child = spawn(program, args, {
      env: options.env ?? process.env,
      stdio: options.showOutput === true ? ['ignore', 'inherit', 'inherit'] : ['ignore', 'pipe', 'pipe'],
      timeout: options.timeoutMs,
      killSignal: 'SIGKILL',
    });
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.once('error', (error) => resolve({ exitCode: NO_SUCH_PROGRAM, output: error.message }));
    child.once('close', (code) => resolve({ exitCode: code ?? -1, output }));
  });
}
