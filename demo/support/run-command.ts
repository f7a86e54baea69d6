import { spawn } from 'node:child_process';

export interface CommandOptions {
  readonly signal: AbortSignal;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** What the command reads from its standard input. Default: nothing. */
  readonly input?: string;
}

export interface CommandOutput {
  readonly stdout: string;
  readonly stderr: string;
}

const TIMEOUT_MS = 30_000;
const OUTPUT_MAX = 1024 * 1024;

/**
 * Runs a program to its end, without a shell. `called` is how messages name it.
 * @throws Error with all that it said when it fails, is not there, or takes over 30 s
 */
export function runCommand(
  called: string,
  [program = '', ...args]: readonly string[],
  { signal, cwd, env = process.env, input = '' }: CommandOptions,
): Promise<CommandOutput> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    // The timer of spawn's own `timeout` outlives a program that could not be started, and keeps us alive.
    const late = AbortSignal.timeout(TIMEOUT_MS);
    const child = spawn(program, args, { cwd, env, signal: AbortSignal.any([signal, late]), killSignal: 'SIGKILL' });
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] = (output[name] + text).slice(-OUTPUT_MAX);
      });
    }
    // It may end without reading what it was given; its exit code says more about that than a broken pipe.
    child.stdin.on('error', () => {}).end(input);
    let failure: Error | undefined;
    child.once('error', (error: NodeJS.ErrnoException) => {
      failure = error.code === 'ENOENT' ? new Error(`${called}: there is no program ${program} on PATH`) : error;
    });
    child.once('close', (code, endedBy) => {
      if (signal.aborted) reject(signal.reason);
      else if (late.aborted) reject(new Error(`${called} took over ${TIMEOUT_MS / 1000} s`));
      else if (failure !== undefined) reject(failure);
      else if (code === 0) resolve(output);
      else {
        const how = code === null ? `was ended by ${endedBy}` : `ended with exit code ${code}`;
        reject(new Error(`${called} ${how}\n${(output.stderr || output.stdout).trim()}`));
      }
    });
  });
}
