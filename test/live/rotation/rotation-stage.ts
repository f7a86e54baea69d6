import { expect } from 'vitest';
import { followUntil } from '../../../demo/rotation/follow.ts';
import type { Load } from '../../../demo/rotation/load.ts';
import { startUnderLoad } from '../../../demo/rotation/scenario.ts';
import type { World } from '../../../demo/rotation/world.ts';
import type { RotationView } from '../../../src/cli/rotation-view.ts';
import { startQuietDemo } from './quiet-demo.ts';

export interface RotationStage {
  readonly world: World;
  readonly load: Load;
  readonly signal: AbortSignal;
  /** Waits until the rotation is as wanted. */
  until(what: string, isSo: (view: RotationView) => boolean): Promise<RotationView>;
  /** Ends the load: all of it went well, whatever happened meanwhile. */
  expectNoFailure(): Promise<void>;
  close(): Promise<void>;
}

const WITHIN_MS = 30_000;

/** Real Envoys on a builtin CA under load. */
export async function startRotationStage(): Promise<RotationStage> {
  const quiet = await startQuietDemo();
  const { signal } = quiet.demo;
  try {
    const { world, load } = await startUnderLoad(quiet.demo);
    return {
      ...{ world, load, signal },
      until: (what, isSo) => followUntil(world.meshCa, what, isSo, { withinMs: WITHIN_MS, signal, show: () => {} }),
      expectNoFailure: async () => {
        await load.stop();
        expect(load.total().summary().reasons).toEqual([]);
        expect(load.total().requests).toBeGreaterThan(100);
        expect(world.witness.problems()).toEqual([]);
      },
      close: quiet.close,
    };
  } catch (error) {
    await quiet.close();
    throw error;
  }
}
