import { orAborted } from '../runtime/or-aborted.ts';
import { spanText } from '../text/span-text.ts';
import { CliError } from './cli-error.ts';
import type { CliIo } from './cli-io.ts';
import { EXIT } from './exit-code.ts';
import { ApiError } from './read-problem.ts';
import type { RotationReport } from './rotation-report.ts';
import { endingOf, type RotationView } from './rotation-view.ts';

const POLL_MS = 1000;
/** mesh-ca may be restarted while somebody watches. */
const LONGEST_SILENCE_MS = 2 * 60_000;
/** As shells tell it: 128 + SIGINT. */
const EXIT_ON_SECOND_SIGNAL = 130;

export interface WatchOptions {
  readonly first: RotationView;
  readonly report: RotationReport;
  read(): Promise<RotationView>;
  /** The command that watches again. */
  readonly again: string;
}

/**
 * Reads a rotation each second until it has ended, is paused, or the user stops the watching, which does not stop the rotation.
 * A mesh-ca that does not answer is asked again for 2 minutes.
 * @returns the last state; undefined when the user stopped it
 * @throws CliError
 */
export async function watchRotation(io: CliIo, options: WatchOptions): Promise<RotationView | undefined> {
  const { first, report } = options;
  const stop = new AbortController();
  io.onStopSignal(() => {
    if (stop.signal.aborted) io.exit(EXIT_ON_SECOND_SIGNAL);
    stop.abort();
  });
  try {
    let view = first;
    for (;;) {
      report.tell(view);
      if (endingOf(view) !== undefined) return view;
      await io.clock.sleep(POLL_MS, stop.signal);
      view = await readAgain(io, options, stop.signal);
    }
  } catch (error) {
    if (stop.signal.aborted) return undefined;
    throw error;
  } finally {
    report.end();
  }
}

async function readAgain(
  { clock }: CliIo,
  { report, read, again }: WatchOptions,
  signal: AbortSignal,
): Promise<RotationView> {
  const sinceMs = clock.monotonicMs();
  for (;;) {
    try {
      return await orAborted(read(), signal);
    } catch (error) {
      if (!isPassing(error)) throw error;
      const silentMs = clock.monotonicMs() - sinceMs;
      if (silentMs >= LONGEST_SILENCE_MS) {
        throw error.within(
          `mesh-ca has not answered for ${spanText(silentMs)}; the rotation goes on when it is back`,
          `when mesh-ca runs again: ${again}`,
        );
      }
      const why = error.why[0] ?? error.message;
      report.trouble(
        `mesh-ca does not answer (${why}); asked again each second, ${spanText(LONGEST_SILENCE_MS - silentMs)} left`,
      );
      await clock.sleep(POLL_MS, signal);
    }
  }
}

/** It is restarted, or overloaded, or what stands before it says so. */
function isPassing(error: unknown): error is CliError {
  if (error instanceof ApiError) return error.status === 429 || (error.status >= 502 && error.status <= 504);
  return error instanceof CliError && error.exitCode === EXIT.later;
}
