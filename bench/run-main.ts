import { type Cleanup, createCleanup } from './cleanup.ts';

/** Runs a bench and what has to be put away after it, whatever ends it: its end, an error (exit code 1), Ctrl-C. */
export async function runMain(main: (args: readonly string[], cleanup: Cleanup) => Promise<void>): Promise<void> {
  const cleanup = createCleanup();
  for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
    process.once(signal, () => void cleanup.run().finally(() => process.exit(code)));
  }
  try {
    await main(process.argv.slice(2), cleanup);
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  } finally {
    await cleanup.run();
  }
}
