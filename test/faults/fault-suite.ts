import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FaultWorld } from './fault-world.ts';
import { FAULTS, type FaultRow } from './faults.ts';
import { runFault } from './run-fault.ts';

const ROW_TIMEOUT_MS = 25_000;

/** Which of the worlds of a backend shows this fault: the first that can. */
export function findWorld(worlds: readonly FaultWorld[], row: FaultRow): FaultWorld | undefined {
  return worlds.find(({ faults }) => row.server === undefined || faults[row.server] !== undefined);
}

/** The shared suite: every fault of the table, one after the other. A fault that no world of the backend shows is a failure. */
export function describeFaults(type: string, startWorlds: readonly (() => Promise<FaultWorld>)[]): void {
  describe(`${type} survives`, () => {
    let worlds: readonly FaultWorld[] = [];
    beforeAll(async () => {
      worlds = await Promise.all(startWorlds.map((start) => start()));
    });
    afterAll(() => Promise.all(worlds.map((world) => world.close())));

    it.each(FAULTS.map((row) => [row.name, row] as const))(
      '%s',
      async (_name, row) => {
        const world = findWorld(worlds, row);
        if (world === undefined) throw new Error(`nothing shows "${row.name}" for ${type}`);
        const { complaints } = await runFault(world, row);
        expect(complaints).toEqual([]);
      },
      ROW_TIMEOUT_MS,
    );
  });
}
