import type { Readable } from 'node:stream';
import type { Clock } from '../runtime/clock.ts';

/** Everything a command touches outside the process's memory, except files and the network. Tests hand in their own. */
export interface CliIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdin: Readable;
  readonly stdout: CliOutput;
  readonly stderr: CliOutput;
  readonly clock: Clock;
  /** Where `serve` writes its log: a file descriptor, or what takes the lines. */
  readonly log: number | { write(line: string): void };
  /** Calls the listener at each SIGINT and SIGTERM, instead of ending. */
  onStopSignal(listener: () => void): void;
  /** Calls the listener with an error that nobody caught, instead of ending with its stack on the terminal. */
  onFatal(listener: (error: unknown) => void): void;
  /** Ends the process at once. */
  exit(code: number): void;
}

export interface CliOutput {
  write(text: string): void;
  readonly isTTY: boolean;
}
