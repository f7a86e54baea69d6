import { type RotationRecord, type RotationStep, withHistory } from './rotation-record.ts';

/**
 * What one reading says, in the direction of the rotation: `target` is the side that is to issue, `old` the other one. Nothing here is a guess: what cannot
 * be read makes no facts.
 */
export interface Facts {
  readonly at: Date;
  /** Of the monotonic clock. */
  readonly atMs: number;
  /** Who issues in the Mesh, or which generation of the CA signs. `neither`: mTLS is off, or somebody else enabled a third one. */
  readonly issuing: 'target' | 'old' | 'neither';
  /** Of the Mesh that says so. Absent: it is not the Mesh that says it. */
  readonly meshVersion?: number;
  readonly hasTarget: boolean;
  readonly hasOld: boolean;
  /** The target has proven itself, and every online data plane holds its roots. */
  readonly trusted: boolean;
  /** No online data plane uses an old certificate, or perhaps uses one. */
  readonly moved: boolean;
  /** Nobody at all holds an unexpired old certificate. */
  readonly drained: boolean;
  /** No online data plane holds the old roots. */
  readonly forgotten: boolean;
}

/** What is to be carried out after the record is stored. Each may be repeated, and is looked at again in the next reading. */
export type Effect = 'provide-target' | 'issue-with-target' | 'remove-old';

/** A rule that held at the last reading, and since when without a break. Never stored: after a restart two readings are made again. */
export interface Holding {
  readonly rule: string;
  readonly sinceMs: number;
}

/** One row of the table. The first of a step whose `when` holds is the one; if it has to be steady, only once it has held at two readings. */
interface Rule {
  readonly name: string;
  when(facts: Facts, record: RotationRecord): boolean;
  readonly steady?: true;
  readonly next?: RotationStep;
  readonly effect?: Effect;
  /** It stops by itself, for this reason. */
  readonly pause?: string;
}

/** Proxies take a moment after their ACK: facts hold when two readings in a row, so far apart, say so. */
export const STEADY_MS = 1_000;

const empty = (facts: Facts, { options }: RotationRecord) => facts.moved && (facts.drained || options.immediate);
const isBack = ({ direction }: RotationRecord) => direction === 'back';
/** A backend that a user took away is the user's to bring back; everything else is ours. */
const canProvide = (record: RotationRecord) =>
  record.kind === 'generation' ? !isBack(record) : isBack(record) && record.removed !== undefined;

/** The Mesh was written after the intent to switch it was stored, and not by somebody who was first: then the intent is taken back. */
const wasWritten = ({ switchFrom }: RotationRecord, { meshVersion }: Facts) =>
  switchFrom !== undefined && meshVersion !== undefined && meshVersion !== switchFrom;
const wasSwitched = (record: RotationRecord, facts: Facts) =>
  record.switchedAt !== undefined || wasWritten(record, facts);

const ASTRAY: Rule = {
  name: 'somebody else changed who issues',
  when: ({ issuing }) => issuing === 'neither',
  pause: 'the mesh was changed meanwhile: neither side of the rotation issues',
};
const SWITCHED_BACK: Rule = {
  name: 'somebody else switched back',
  when: ({ issuing }) => issuing === 'old',
  pause: 'the mesh was changed meanwhile: the old side issues again',
};

/** THE TABLE: what happens in each step. What stands in no row does not happen. */
const RULES: Readonly<Record<RotationStep, readonly Rule[]>> = {
  trusting: [
    ASTRAY,
    // Nothing to go back to: it never went away.
    { name: 'it issues already', when: ({ issuing }) => issuing === 'target', next: 'switching' },
    {
      name: 'the target has to be made first',
      when: ({ hasTarget }, record) => !hasTarget && canProvide(record),
      effect: 'provide-target',
    },
    {
      name: 'the target is gone',
      when: ({ hasTarget }) => !hasTarget,
      pause: 'the mesh was changed meanwhile: what is to issue is no longer there',
    },
    {
      name: 'everybody trusts the target',
      when: ({ trusted }) => trusted,
      steady: true,
      next: 'switching',
      effect: 'issue-with-target',
    },
  ],
  switching: [
    ASTRAY,
    { ...SWITCHED_BACK, when: (facts, record) => facts.issuing === 'old' && wasSwitched(record, facts) },
    // The intent is stored, the Mesh is as it was: we crashed between the two, or somebody came meanwhile who is not ready.
    {
      name: 'not switched yet, and somebody is not ready',
      when: ({ issuing, trusted, hasTarget }) => issuing === 'old' && !(trusted && hasTarget),
      next: 'trusting',
    },
    {
      name: 'not switched yet, and everybody is ready',
      when: ({ issuing }) => issuing === 'old',
      steady: true,
      effect: 'issue-with-target',
    },
    {
      name: 'everybody has moved, and the old side stays',
      when: ({ moved }, record) => moved && (isBack(record) || record.options.keepOld),
      steady: true,
      next: 'done',
    },
    { name: 'everybody has moved', when: ({ moved }) => moved, steady: true, next: 'draining' },
  ],
  draining: [
    ASTRAY,
    SWITCHED_BACK,
    { name: 'the old side stays', when: (_, { options }) => options.keepOld, next: 'switching' },
    { name: 'the old side is gone', when: ({ hasOld }) => !hasOld, next: 'removing' },
    {
      name: 'nobody needs the old side',
      when: empty,
      steady: true,
      next: 'removing',
      effect: 'remove-old',
    },
  ],
  removing: [
    ASTRAY,
    SWITCHED_BACK,
    {
      name: 'not removed yet, and somebody needs the old side',
      when: (facts, record) => facts.hasOld && (record.options.keepOld || !empty(facts, record)),
      next: 'draining',
    },
    {
      name: 'not removed yet, and nobody needs it',
      when: ({ hasOld }) => hasOld,
      steady: true,
      effect: 'remove-old',
    },
    { name: 'nobody trusts the old side', when: ({ forgotten }) => forgotten, steady: true, next: 'done' },
  ],
  done: [],
};

export interface Advance {
  /** The same object when nothing changed. */
  readonly record: RotationRecord;
  readonly effect: Effect | undefined;
  readonly holding: Holding | undefined;
  /** Name of the rule that was followed; undefined: nothing happened. */
  readonly rule: string | undefined;
}

/** One turn of the machine. Pure. A record that is paused or done stays as it is. */
export function advance(record: RotationRecord, holding: Holding | undefined, facts: Facts): Advance {
  const stay = (still?: Holding): Advance => ({ record, effect: undefined, holding: still, rule: undefined });
  if (record.paused !== undefined || record.step === 'done') return stay();
  const seen = noteSwitch(record, facts);
  const rule = RULES[seen.step].find(({ when }) => when(facts, seen));
  if (rule === undefined) return { ...stay(), record: seen };
  if (rule.steady) {
    const held = holding?.rule === rule.name ? holding : { rule: rule.name, sinceMs: facts.atMs };
    if (facts.atMs - held.sinceMs < STEADY_MS) return { ...stay(held), record: seen };
  }
  return { record: follow(seen, rule, facts.at), effect: rule.effect, holding: undefined, rule: rule.name };
}

function noteSwitch(record: RotationRecord, { issuing, at }: Facts): RotationRecord {
  return issuing === 'target' && record.switchedAt === undefined ? { ...record, switchedAt: at } : record;
}

function follow(record: RotationRecord, { next, pause }: Rule, at: Date): RotationRecord {
  if (pause !== undefined) return withHistory({ ...record, paused: { at, why: pause } }, at);
  if (next === undefined) return record;
  const moved = { ...record, step: next, stepAt: at, ...(next === 'done' && { finishedAt: at }) };
  return withHistory(moved, at);
}

/** The names of all rules, by step: so that a test can say that it has seen each of them. */
export const RULE_NAMES: ReadonlyMap<RotationStep, readonly string[]> = new Map(
  Object.entries(RULES).map(([step, rules]) => [step as RotationStep, rules.map(({ name }) => name)]),
);
