/** Why the demo ends early: somebody wants it to. */
export class StoppedError extends Error {
  readonly exitCode: number;

  constructor(by: string, exitCode: number) {
    super(`stopped by ${by}`);
    this.exitCode = exitCode;
  }
}

/** Shells tell 128 + the number of the signal. */
const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
const STOP_SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;
const EXIT_ON_BROKEN_PIPE = 141;
/** One Ctrl-C arrives more than once where npm or a shell passes it on, too. */
const SAME_KEYSTROKE_MS = 1_000;

/**
 * Aborts with a StoppedError at the first signal, or when nobody reads the output any more. A second Ctrl-C, a second later, ends the
 * process at once.
 */
export function listenForStop(): AbortSignal {
  const stop = new AbortController();
  let firstMs = Number.POSITIVE_INFINITY;
  for (const name of STOP_SIGNALS) {
    process.on(name, () => {
      if (performance.now() - firstMs > SAME_KEYSTROKE_MS) process.exit(EXIT_CODES[name]);
      firstMs = Math.min(firstMs, performance.now());
      stop.abort(new StoppedError(name, EXIT_CODES[name]));
    });
  }
  process.stdout.on('error', () => stop.abort(new StoppedError('a closed output', EXIT_ON_BROKEN_PIPE)));
  return stop.signal;
}
