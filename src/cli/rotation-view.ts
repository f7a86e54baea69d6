import { z } from 'zod';
import { type Blockers, blockerSchema } from './blocker-view.ts';
import { EXIT, type ExitCode } from './exit-code.ts';

const count = z.number().default(0);
const text = z.string().optional().catch(undefined);

/** The answer of `GET /meshes/{mesh}/_rotation` (API.md). What this version does not know stays in it. */
export const rotationSchema = z.looseObject({
  mesh: z.string(),
  /** `idle`, `trusting`, `switching`, `draining`, `removing`, `done`, `paused` or `rolling-back`. */
  state: z.string(),
  /** With `paused`: the state that goes on when it is resumed. */
  step: text,
  /** How far it is, whichever way it goes; also while it is paused. */
  phase: text,
  /** `backend` or `generation`. */
  kind: text,
  /** `forward` or `back`. */
  direction: text,
  from: text,
  to: text,
  /** With `idle`: who issues now; absent when mTLS is off. */
  enabledBackend: text,
  startedAt: text,
  finishedAt: text,
  options: z
    .looseObject({
      keepOld: z.boolean().default(false),
      maxPerSecond: z.number().optional(),
      immediate: z.boolean().default(false),
    })
    .optional(),
  /** Each state that began, in order. */
  steps: z.array(z.looseObject({ state: z.string(), at: z.string() })).default([]),
  problem: text,
  etaSeconds: z.number().optional().catch(undefined),
  dataplanes: z
    .looseObject({ total: count, online: count, trustingNew: count, usingNew: count, usingOld: count })
    .prefault({}),
  blockers: z.array(blockerSchema).default([]),
  blockersTotal: z.number().optional(),
  canSwitch: z.boolean().default(false),
  canRemoveOld: z.boolean().default(false),
});
export type RotationView = z.output<typeof rotationSchema>;

export const PHASES = ['trusting', 'switching', 'draining', 'removing'] as const;
export type Phase = (typeof PHASES)[number];

/** `done` of `of`, and what the two count. */
export interface Share {
  readonly done: number;
  readonly of: number;
  readonly words: string;
}

type Measure = (view: RotationView) => Share;

/** What is counted in each phase. */
const FORWARD: ReadonlyMap<string, Measure> = new Map<string, Measure>([
  [
    'trusting',
    ({ dataplanes: { online, trustingNew } }) => ({ done: trustingNew, of: online, words: 'trust the new CA' }),
  ],
  [
    'switching',
    ({ dataplanes: { usingNew, usingOld } }) => ({
      done: usingNew,
      of: usingNew + usingOld,
      words: 'use a certificate of the new CA',
    }),
  ],
  ['draining', (view) => withoutBlocked(view, view.dataplanes.total, 'hold no certificate of the old CA')],
  ['removing', (view) => withoutBlocked(view, view.dataplanes.online, 'no longer trust the old CA')],
]);
const BACK: ReadonlyMap<string, Measure> = new Map<string, Measure>([
  ['trusting', (view) => withoutBlocked(view, view.dataplanes.online, 'trust the old CA')],
  [
    'switching',
    ({ dataplanes: { usingNew, usingOld } }) => ({
      done: usingOld,
      of: usingNew + usingOld,
      words: 'use a certificate of the old CA again',
    }),
  ],
]);

function withoutBlocked(view: RotationView, of: number, words: string): Share {
  return { done: Math.max(0, of - blockersOf(view).total), of, words };
}

/** Undefined in a phase that counts nothing. */
export function shareOf(view: RotationView, phase: string): Share | undefined {
  return (isRollBack(view) ? BACK : FORWARD).get(phase)?.(view);
}

/** Going back it does the first two, and is done; who keeps the old backend, too. */
export function phasesOf(view: RotationView): readonly Phase[] {
  return isRollBack(view) || view.options?.keepOld ? PHASES.slice(0, 2) : PHASES;
}

export function blockersOf({ blockers, blockersTotal }: Pick<RotationView, 'blockers' | 'blockersTotal'>): Blockers {
  return { first: blockers, total: blockersTotal ?? blockers.length };
}

/** Where it is: one of `PHASES` while it is under way, also while it is paused or rolls back. */
export const phaseOf = ({ state, step, phase }: RotationView): string =>
  phase ?? (state === 'paused' ? (step ?? state) : state);

/** It has been, or is being, rolled back. */
export const isRollBack = ({ direction, state }: RotationView): boolean =>
  direction === 'back' || state === 'rolling-back';

/** From one root of a backend to its next. */
export const isGeneration = ({ kind, from, to }: RotationView): boolean =>
  kind === 'generation' || (from !== undefined && from === to);

/** Since when it is in that state; undefined when it never was. */
export function beganAt({ steps }: RotationView, state: string): Date | undefined {
  const at = steps.findLast((step) => step.state === state)?.at;
  return at === undefined || Number.isNaN(Date.parse(at)) ? undefined : new Date(at);
}

export type Ending = 'done' | 'rolled back' | 'paused' | 'stopped' | 'gone';

/** How it has ended, or what keeps it from going on by itself. Undefined: it goes on. */
export function endingOf(view: RotationView): Ending | undefined {
  if (view.state === 'idle') return 'gone';
  if (view.state === 'paused') return view.problem === undefined ? 'paused' : 'stopped';
  if (view.state !== 'done') return undefined;
  return isRollBack(view) ? 'rolled back' : 'done';
}

/** What the program ends with. `wanted`: what the command asked for. */
export function exitCodeOfEnding(ending: Ending, wanted: 'done' | 'rolled back'): ExitCode {
  if (ending === wanted) return EXIT.ok;
  return ending === 'stopped' ? EXIT.operator : EXIT.later;
}
