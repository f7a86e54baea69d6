/** Why the demo ends early: somebody wants it to. */
export class StoppedError extends Error {
  readonly exitCode: number;

  constructor(signalName: string, exitCode: number) {
    super(`stopped by ${signalName}`);
    this.exitCode = exitCode;
  }
}

/** Shells tell 128 + the number of the signal. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
const STOP_SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;
const EXIT_ON_BROKEN_PIPE = 141;

/** Aborts with a StoppedError at the first signal, or when nobody reads the output any more; a second signal ends the process at once. */
export function listenForStop(): AbortSignal {
  const stop = new AbortController();
  for (const name of STOP_SIGNALS) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(EXIT_CODES[name]);
      stop.abort(new StoppedError(name, EXIT_CODES[name]));
    });
  }
  process.stdout.on('error', () => stop.abort(new StoppedError('a closed output', EXIT_ON_BROKEN_PIPE)));
  return stop.signal;
}
