import { z } from 'zod';
import type { ResourceKey, StoredResource } from '../store/store.ts';

/** What a rotation does, one after the other. Going back it does the first two, and is done. */
export const STEPS = ['trusting', 'switching', 'draining', 'removing', 'done'] as const;
export type RotationStep = (typeof STEPS)[number];

/** The states of API.md that a rotation has had. */
export const HISTORY_STATES = [...STEPS, 'paused', 'rolling-back'] as const;
export type HistoryState = (typeof HISTORY_STATES)[number];

/** Entries of the history; one that is paused again and again loses those in the middle. */
const MOST_ENTRIES = 100;
/** More roots than any bundle has. */
const MOST_ROOTS = 1_000;
export const MOST_PER_SECOND = 10_000;
export const DEFAULT_PER_SECOND = 50;
/** Of a body that is read: the spec of a backend is at most a Mesh long. */
const MAX_BODY = 4 * 1024 * 1024;

const instant = z.iso.datetime().transform((value) => new Date(value));
const fingerprints = z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(MOST_ROOTS);
const name = z.string().min(1).max(1_000);

const optionsSchema = z.object({
  /** The old backend stays in the Mesh, the old generation stays trusted. */
  keepOld: z.boolean(),
  /** Certificates that are made anew each second. */
  maxPerSecond: z.int().min(1).max(MOST_PER_SECOND),
  /** For a compromised CA: nothing is spread over time, and nobody is waited for who is not online. */
  immediate: z.boolean(),
});
export type RotationOptions = z.output<typeof optionsSchema>;

const recordSchema = z.object({
  /** From one backend to another; or from one generation of a builtin CA to the next, then `from` and `to` are the same. */
  kind: z.enum(['backend', 'generation']),
  from: name,
  to: name,
  direction: z.enum(['forward', 'back']),
  step: z.enum(STEPS),
  options: optionsSchema,
  /** `why`: the rotation has stopped by itself; absent: somebody asked for it. */
  paused: z.object({ at: instant, why: z.string().max(2_000).exactOptional() }).exactOptional(),
  /** SHA-256 (hex) of the old roots, those that nobody is to trust in the end; absent while they are not known. */
  fromRoots: fingerprints.exactOptional(),
  /** Of the new ones, of a generation only: those of a backend are whatever the bundle says. */
  toRoots: fingerprints.exactOptional(),
  /** Version of the Mesh that is about to be switched, or was a moment ago: under another one it has been written since. Of backends only. */
  switchFrom: z.int().min(0).exactOptional(),
  /** In this direction the target has been seen issuing. */
  switchedAt: instant.exactOptional(),
  /** The old backend as it stood in the Mesh, and where, once it may be gone. May hold keys and tokens. */
  removed: z.object({ index: z.int().min(0).max(1_000), spec: z.record(z.string(), z.unknown()) }).exactOptional(),
  /** When each state began. */
  history: z.array(z.object({ state: z.enum(HISTORY_STATES), at: instant })).max(MOST_ENTRIES),
  /** When the present step began. */
  stepAt: instant,
  startedAt: instant,
  finishedAt: instant.exactOptional(),
  /** Of a finished one: the backends of the Mesh at that moment. It is of interest for as long as they stay. */
  finishedWith: z.string().max(20_000).exactOptional(),
});

/** The persisted record of the managed rotation of one mesh. Immutable. */
export type RotationRecord = z.output<typeof recordSchema>;

/** Where the record of a mesh stands. It belongs to the mesh and goes with it. */
export function rotationKey(mesh: string): ResourceKey {
  return { type: 'MeshRotation', mesh, name: 'rotation' };
}

export function writeRotationRecord(record: RotationRecord): string {
  return JSON.stringify(record);
}

/** Undefined: it was written by another version, or is damaged. */
export function readRotationRecord({ body }: Pick<StoredResource, 'body'>): RotationRecord | undefined {
  if (body.length > MAX_BODY) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined;
  }
  const parsed = recordSchema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

/** Whether something is still to be done. */
export function isUnderWay(
  record: RotationRecord | undefined,
): record is RotationRecord & { readonly step: Exclude<RotationStep, 'done'> } {
  return record !== undefined && record.step !== 'done';
}

/** What API.md calls the state of a rotation. */
export function stateOf({ step, direction, paused }: RotationRecord): HistoryState {
  if (step === 'done') return 'done';
  if (paused !== undefined) return 'paused';
  return direction === 'back' ? 'rolling-back' : step;
}

/** With the state in the history that the record has now, when it is another one than before. */
export function withHistory(record: RotationRecord, at: Date): RotationRecord {
  const state = stateOf(record);
  if (record.history.at(-1)?.state === state) return record;
  const entries = [...record.history, { state, at }];
  const half = MOST_ENTRIES / 2;
  const history = entries.length > MOST_ENTRIES ? [...entries.slice(0, half), ...entries.slice(1 - half)] : entries;
  return { ...record, history };
}

/** The sides of the change as they are in its direction: certificates are made by `target`, those of `other` have to go. */
export function sidesOf({ direction, from, to }: Pick<RotationRecord, 'direction' | 'from' | 'to'>): {
  readonly target: string;
  readonly other: string;
} {
  return direction === 'forward' ? { target: to, other: from } : { target: from, other: to };
}
