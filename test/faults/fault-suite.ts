import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BackendType, FaultWorld } from './fault-world.ts';
import { FAULTS } from './faults.ts';
import { findWorld, runFault } from './run-fault.ts';
import { WORLDS } from './worlds.ts';

const ROW_TIMEOUT_MS = 25_000;

/** The shared suite: every fault of the table, one after the other. A fault that no world of the backend shows is a failure. */
export function describeFaults(type: BackendType): void {
  describe(`${type} survives`, () => {
    let worlds: readonly FaultWorld[] = [];
    beforeAll(async () => {
      worlds = await Promise.all(WORLDS[type].map((start) => start()));
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
