/** What has to be undone at the end, whatever the end is. */
export interface Cleanup {
  add(undo: () => Promise<void> | void): void;
  /** Undoes everything, the last first. Idempotent. Never rejects. */
  run(): Promise<void>;
}

export function createCleanup(): Cleanup {
  const undos: (() => Promise<void> | void)[] = [];
  let running: Promise<void> | undefined;
  const runAll = async () => {
    for (let undo = undos.pop(); undo !== undefined; undo = undos.pop()) {
      try {
        await undo();
      } catch (error) {
        process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
      }
    }
  };
  return {
    add(undo) {
      undos.push(undo);
    },
    run() {
      running ??= runAll().finally(() => {
        running = undefined;
      });
      return running;
    },
  };
}
