import type { Facts } from '../../src/rotation/machine.ts';
import type { RotationRecord } from '../../src/rotation/rotation-record.ts';

export const STARTED = new Date('2026-09-01T12:00:00.000Z');

/** A rotation from backend `ca-1` to `ca-2` that has just begun. */
export function buildRecord(changes: Partial<RotationRecord> = {}): RotationRecord {
  return {
    kind: 'backend',
    from: 'ca-1',
    to: 'ca-2',
    direction: 'forward',
    step: 'trusting',
    options: { keepOld: false, maxPerSecond: 50, immediate: false },
    history: [{ state: 'trusting', at: STARTED }],
    stepAt: STARTED,
    startedAt: STARTED,
    ...changes,
  };
}

/** A reading one minute after the start: nothing was changed, and nobody is ready for anything. */
export function buildFacts(changes: Partial<Facts> = {}): Facts {
  return {
    at: new Date(STARTED.getTime() + 60_000),
    atMs: 60_000,
    issuing: 'old',
    hasTarget: true,
    hasOld: true,
    trusted: false,
    moved: false,
    drained: false,
    forgotten: false,
    ...changes,
  };
}

/** The same some time later. */
export function later(facts: Facts, ms: number): Facts {
  return { ...facts, at: new Date(facts.at.getTime() + ms), atMs: facts.atMs + ms };
}
