import { setTimeout as sleep } from 'node:timers/promises';
import type { Demo } from '../demo.ts';
import { StoppedError } from './stop-signals.ts';

/**
 * Runs a demo, ends everything that it has started, and says how it went: exit code 1 for a failure, that of the signal when it was stopped.
 * @param onFailure before the failure is told
 */
export async function runToEnd(
  { screen, closers, signal }: Pick<Demo, 'screen' | 'closers' | 'signal'>,
  run: () => Promise<void>,
  onFailure: () => void = () => {},
): Promise<void> {
  try {
    await run();
  } catch (error) {
    onFailure();
    // Ctrl-C reaches the children, too; what they fail with may be here before our own signal.
    await sleep(100);
    const cause: unknown = signal.aborted ? signal.reason : error;
    screen.error(cause instanceof Error ? cause.message : String(cause));
    process.exitCode = cause instanceof StoppedError ? cause.exitCode : 1;
  }
  for (const failure of await closers.closeAll()) {
    screen.error(failure);
    process.exitCode = 1;
  }
  if (process.exitCode === undefined) screen.plain(`\ndemo: ok`);
}
