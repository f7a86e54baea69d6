import { systemClock } from '../runtime/clock.ts';
import { holdProcess } from '../runtime/hold-process.ts';
import type { CliOutput } from './cli-io.ts';
import { EXIT } from './exit-code.ts';
import { runCli } from './run-cli.ts';

/** The process: nothing here decides anything. */
const output = (stream: NodeJS.WriteStream): CliOutput => ({
  write: (text) => {
    stream.write(text);
  },
  isTTY: stream.isTTY === true,
});

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever reads the output has seen enough (`mesh-ca get dataplanes | head`).
    process.exit(error.code === 'EPIPE' ? EXIT.ok : EXIT.unexpected);
  });
}

const release = holdProcess();
const exitCode = await runCli(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: output(process.stdout),
  stderr: output(process.stderr),
  clock: systemClock,
  log: 1,
  onStopSignal(listener) {
    process.on('SIGINT', listener);
    process.on('SIGTERM', listener);
  },
  onFatal(listener) {
    process.on('uncaughtException', listener);
    process.on('unhandledRejection', listener);
  },
  exit: (code) => process.exit(code),
});
release();
// An empty write is done when everything before it is.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
