import { describe, expect, it } from 'vitest';
import { advance, type Effect, type Facts, RULE_NAMES, STEADY_MS } from '../../src/rotation/machine.ts';
import { type RotationRecord, type RotationStep, STEPS } from '../../src/rotation/rotation-record.ts';
import { buildFacts, buildRecord, later, STARTED } from './build-record.ts';

interface Row {
  readonly name: string;
  readonly step: RotationStep;
  readonly record?: Partial<RotationRecord>;
  readonly facts: Partial<Facts>;
  /** The rule that is followed; undefined: nothing happens. */
  readonly rule?: string;
  /** The step after it. Absent: the same. */
  readonly next?: RotationStep;
  readonly effect?: Effect;
  readonly paused?: true;
  /** Only at the second reading. */
  readonly steady?: true;
}

const back = { direction: 'back' } as const;
const generation = { kind: 'generation', to: 'ca-1' } as const;
const keepOld = { options: { keepOld: true, maxPerSecond: 50, immediate: false } };
const immediate = { options: { keepOld: false, maxPerSecond: 50, immediate: true } };
const removed = { removed: { index: 0, spec: { name: 'ca-1', type: 'builtin' } } };
const switched = { issuing: 'target', trusted: true } as const;
const inSwitching = { switchedAt: STARTED };
const astray = 'somebody else changed who issues';
const switchedBack = 'somebody else switched back';

/** Every row of the machine's table, each once in a situation where it is followed and, where it can be refused, in those next to it. */
const ROWS: readonly Row[] = [
  // trusting
  { name: 'nobody trusts', step: 'trusting', facts: {} },
  {
    name: 'everybody trusts',
    step: 'trusting',
    facts: { trusted: true },
    ...{ rule: 'everybody trusts the target', next: 'switching', effect: 'issue-with-target', steady: true },
  },
  {
    name: 'everybody trusts the way back',
    step: 'trusting',
    record: back,
    facts: { trusted: true },
    ...{ rule: 'everybody trusts the target', next: 'switching', effect: 'issue-with-target', steady: true },
  },
  {
    name: 'immediate, and somebody does not trust',
    step: 'trusting',
    record: immediate,
    facts: { moved: true, drained: true, forgotten: true },
  },
  {
    name: 'the target issues already',
    step: 'trusting',
    facts: switched,
    ...{ rule: 'it issues already', next: 'switching' },
  },
  {
    name: 'rolled back before anything was changed',
    step: 'trusting',
    record: back,
    facts: switched,
    ...{ rule: 'it issues already', next: 'switching' },
  },
  {
    name: 'there is no next generation yet',
    step: 'trusting',
    record: generation,
    facts: { hasTarget: false },
    ...{ rule: 'the target has to be made first', effect: 'provide-target' },
  },
  {
    name: 'the old backend has left the Mesh, and is wanted back',
    step: 'trusting',
    record: { ...back, ...removed },
    facts: { hasTarget: false, trusted: true },
    ...{ rule: 'the target has to be made first', effect: 'provide-target' },
  },
  {
    name: 'the new backend was taken away',
    step: 'trusting',
    facts: { hasTarget: false, trusted: true },
    ...{ rule: 'the target is gone', paused: true },
  },
  {
    name: 'the old backend was taken away by somebody else, and is wanted back',
    step: 'trusting',
    record: back,
    facts: { hasTarget: false, trusted: true },
    ...{ rule: 'the target is gone', paused: true },
  },
  {
    name: 'the old generation is gone, and is wanted back',
    step: 'trusting',
    record: { ...generation, ...back },
    facts: { hasTarget: false },
    ...{ rule: 'the target is gone', paused: true },
  },
  {
    name: 'a third one issues',
    step: 'trusting',
    facts: { issuing: 'neither', trusted: true },
    rule: astray,
    paused: true,
  },
  // switching
  {
    name: 'crashed before the Mesh was changed, and somebody is not ready',
    step: 'switching',
    facts: {},
    ...{ rule: 'not switched yet, and somebody is not ready', next: 'trusting' },
  },
  {
    name: 'crashed before the Mesh was changed, and the target is gone',
    step: 'switching',
    facts: { trusted: true, hasTarget: false },
    ...{ rule: 'not switched yet, and somebody is not ready', next: 'trusting' },
  },
  {
    name: 'crashed before the Mesh was changed, and everybody is ready',
    step: 'switching',
    facts: { trusted: true },
    ...{ rule: 'not switched yet, and everybody is ready', effect: 'issue-with-target', steady: true },
  },
  { name: 'somebody uses an old one', step: 'switching', facts: switched },
  {
    name: 'nobody uses an old one',
    step: 'switching',
    facts: { ...switched, moved: true },
    ...{ rule: 'everybody has moved', next: 'draining', steady: true },
  },
  {
    name: 'nobody uses an old one, and the old backend is kept',
    step: 'switching',
    record: keepOld,
    facts: { ...switched, moved: true },
    ...{ rule: 'everybody has moved, and the old side stays', next: 'done', steady: true },
  },
  {
    name: 'everybody has gone back',
    step: 'switching',
    record: back,
    facts: { ...switched, moved: true },
    ...{ rule: 'everybody has moved, and the old side stays', next: 'done', steady: true },
  },
  {
    name: 'somebody set the Mesh back by hand',
    step: 'switching',
    record: inSwitching,
    facts: { trusted: true },
    ...{ rule: switchedBack, paused: true },
  },
  { name: 'mTLS was turned off', step: 'switching', facts: { issuing: 'neither' }, rule: astray, paused: true },
  // draining
  { name: 'an offline one holds an old certificate', step: 'draining', facts: { ...switched, moved: true } },
  { name: 'an online one came back with an old certificate', step: 'draining', facts: { ...switched, drained: true } },
  {
    name: 'nobody holds an old one',
    step: 'draining',
    facts: { ...switched, moved: true, drained: true },
    ...{ rule: 'nobody needs the old side', next: 'removing', effect: 'remove-old', steady: true },
  },
  {
    name: 'immediate, and only offline ones hold an old one',
    step: 'draining',
    record: immediate,
    facts: { ...switched, moved: true },
    ...{ rule: 'nobody needs the old side', next: 'removing', effect: 'remove-old', steady: true },
  },
  {
    name: 'immediate, and an online one uses an old one',
    step: 'draining',
    record: immediate,
    facts: { ...switched, drained: true },
  },
  {
    name: 'the old backend is to be kept after all',
    step: 'draining',
    record: keepOld,
    facts: { ...switched, moved: true, drained: true },
    ...{ rule: 'the old side stays', next: 'switching' },
  },
  {
    name: 'the old backend was taken away',
    step: 'draining',
    facts: { ...switched, hasOld: false },
    ...{ rule: 'the old side is gone', next: 'removing' },
  },
  {
    name: 'somebody set the Mesh back by hand while it drained',
    step: 'draining',
    facts: { moved: true, drained: true },
    ...{ rule: switchedBack, paused: true },
  },
  {
    name: 'a third one issues while it drains',
    step: 'draining',
    facts: { issuing: 'neither' },
    rule: astray,
    paused: true,
  },
  // removing
  {
    name: 'crashed before the Mesh was changed, and somebody came back with an old certificate',
    step: 'removing',
    facts: { ...switched, drained: true },
    ...{ rule: 'not removed yet, and somebody needs the old side', next: 'draining' },
  },
  {
    name: 'crashed before the Mesh was changed, and it is to be kept now',
    step: 'removing',
    record: keepOld,
    facts: { ...switched, moved: true, drained: true },
    ...{ rule: 'not removed yet, and somebody needs the old side', next: 'draining' },
  },
  {
    name: 'crashed before the Mesh was changed, and nobody needs it',
    step: 'removing',
    facts: { ...switched, moved: true, drained: true },
    ...{ rule: 'not removed yet, and nobody needs it', effect: 'remove-old', steady: true },
  },
  { name: 'somebody still trusts the old roots', step: 'removing', facts: { ...switched, hasOld: false, moved: true } },
  {
    name: 'nobody trusts the old roots',
    step: 'removing',
    facts: { ...switched, hasOld: false, moved: true, drained: true, forgotten: true },
    ...{ rule: 'nobody trusts the old side', next: 'done', steady: true },
  },
  {
    name: 'somebody set the Mesh back by hand while it was removed',
    step: 'removing',
    facts: { hasOld: true },
    ...{ rule: switchedBack, paused: true },
  },
  {
    name: 'a third one issues at the end',
    step: 'removing',
    facts: { issuing: 'neither' },
    rule: astray,
    paused: true,
  },
  // done
  { name: 'nothing follows', step: 'done', facts: { ...switched, moved: true, drained: true, forgotten: true } },
];

const recordOf = ({ step, record }: Row) => buildRecord({ step, ...record });

describe('each step of a rotation', () => {
  it.each(ROWS)('$step: $name', (row) => {
    const before = recordOf(row);
    const facts = buildFacts(row.facts);
    const first = advance(before, undefined, facts);
    const told = row.steady ? advance(first.record, first.holding, later(facts, STEADY_MS)) : first;
    if (row.steady) expect(first).toMatchObject({ rule: undefined, effect: undefined, record: { step: row.step } });
    expect({
      rule: told.rule,
      effect: told.effect,
      step: told.record.step,
      paused: told.record.paused !== undefined,
    }).toEqual({
      rule: row.rule,
      effect: row.effect,
      step: row.next ?? row.step,
      paused: row.paused === true,
    });
  });

  it.each(ROWS)('$step: $name, but it is paused', (row) => {
    const paused = { ...recordOf(row), paused: { at: STARTED } };
    const first = advance(paused, undefined, buildFacts(row.facts));
    expect(first).toEqual({ record: paused, effect: undefined, holding: undefined, rule: undefined });
    expect(first.record).toBe(paused);
  });

  it('is in the table above with all its rules', () => {
    for (const [step, rules] of RULE_NAMES) {
      expect(
        new Set(ROWS.filter((row) => row.step === step && row.rule !== undefined).map(({ rule }) => rule)),
      ).toEqual(new Set(rules));
    }
    expect([...RULE_NAMES.keys()]).toEqual([...STEPS]);
  });
});

describe('two readings', () => {
  const ready = buildFacts({ trusted: true });
  const record = buildRecord();

  it('have to lie a second apart', () => {
    const first = advance(record, undefined, ready);
    const soon = advance(record, first.holding, later(ready, STEADY_MS - 1));
    expect(soon.rule).toBeUndefined();
    expect(advance(record, soon.holding, later(ready, STEADY_MS)).effect).toBe('issue-with-target');
  });

  it('have to be in a row', () => {
    const first = advance(record, undefined, ready);
    const broken = advance(record, first.holding, later(buildFacts(), 500));
    expect(broken.holding).toBeUndefined();
    const again = advance(record, broken.holding, later(ready, STEADY_MS));
    expect(again.rule).toBeUndefined();
    expect(advance(record, again.holding, later(ready, 2 * STEADY_MS)).effect).toBe('issue-with-target');
  });

  it('for one rule are none for another', () => {
    const moved = buildFacts({ ...switched, moved: true });
    const first = advance(buildRecord({ step: 'switching' }), undefined, moved);
    const other = advance(buildRecord({ step: 'switching', ...keepOld }), first.holding, later(moved, STEADY_MS));
    expect(other.rule).toBeUndefined();
  });
});

describe('what a record tells', () => {
  it('when its step began, each state that began, and when it was done', () => {
    const facts = buildFacts({ ...switched, hasOld: false, forgotten: true });
    const before = buildRecord({ step: 'removing', switchedAt: STARTED });
    const { holding } = advance(before, undefined, facts);
    const { at } = later(facts, STEADY_MS);
    expect(advance(before, holding, later(facts, STEADY_MS)).record).toMatchObject({
      stepAt: at,
      finishedAt: at,
      history: [
        { state: 'trusting', at: STARTED },
        { state: 'done', at },
      ],
    });
  });

  it('when the target was first seen issuing', () => {
    const seen = advance(buildRecord({ step: 'switching' }), undefined, buildFacts(switched));
    expect(seen.record.switchedAt).toEqual(buildFacts().at);
    expect(advance(seen.record, undefined, later(buildFacts(switched), 5_000)).record).toBe(seen.record);
  });

  it('why it stopped by itself', () => {
    const { record } = advance(buildRecord(), undefined, buildFacts({ issuing: 'neither' }));
    expect(record.paused?.why).toMatch(/neither side of the rotation issues/);
    expect(record.history.at(-1)?.state).toBe('paused');
  });

  it('of a history no more than a hundred entries, the first and the last of them', () => {
    let record = buildRecord();
    for (let round = 0; round < 200; round += 1) {
      const facts = buildFacts({ issuing: 'neither', at: new Date(STARTED.getTime() + round * 1_000) });
      const { paused: _, ...resumed } = advance(record, undefined, facts).record;
      record = {
        ...resumed,
        history: [...resumed.history, { state: 'trusting' as const, at: facts.at }].slice(0, 100),
      };
    }
    const { history } = advance(record, undefined, buildFacts({ issuing: 'neither' })).record;
    expect(history.length).toBeLessThanOrEqual(100);
    expect(history[0]).toEqual({ state: 'trusting', at: STARTED });
    expect(history.at(-1)?.state).toBe('paused');
  });
});

/** Every situation that there can be. */
function* allSituations(): Generator<{ readonly record: RotationRecord; readonly facts: Facts }> {
  const flags = ['hasTarget', 'hasOld', 'trusted', 'moved', 'drained', 'forgotten'] as const;
  for (const step of STEPS)
    for (const kind of ['backend', 'generation'] as const)
      for (const direction of ['forward', 'back'] as const)
        for (const options of [buildRecord().options, keepOld.options, immediate.options])
          for (const more of [{}, inSwitching, removed])
            for (const issuing of ['target', 'old', 'neither'] as const)
              for (let bits = 0; bits < 2 ** flags.length; bits += 1) {
                if (direction === 'back' && (step === 'draining' || step === 'removing')) continue;
                const facts = Object.fromEntries(flags.map((flag, index) => [flag, (bits & (1 << index)) !== 0]));
                yield {
                  record: buildRecord({ step, kind, direction, options, ...more }),
                  facts: buildFacts({ issuing, ...facts }),
                };
              }
}

/** What must not be done in this situation, although the machine says so; undefined: all is well. */
function harmOf(effect: Effect | undefined, record: RotationRecord, facts: Facts): string | undefined {
  const { issuing, hasTarget, hasOld, trusted, moved, drained } = facts;
  const { options, direction } = record;
  if (effect === 'issue-with-target') {
    if (issuing !== 'old' || !hasTarget || !trusted) return 'switched too soon';
  }
  if (effect === 'remove-old') {
    if (issuing !== 'target' || !hasOld || !moved) return 'removed too soon';
    if (!drained && !options.immediate) return 'removed while somebody may come back';
    if (options.keepOld || direction === 'back') return 'removed what is to stay';
  }
  return undefined;
}

describe('in every situation', () => {
  it('nothing unsafe is done, and nothing that matters after one reading', () => {
    const harm: string[] = [];
    let effects = 0;
    for (const { record, facts } of allSituations()) {
      const first = advance(record, undefined, facts);
      const second = advance(first.record, first.holding, later(facts, STEADY_MS));
      if (first.effect !== undefined && first.effect !== 'provide-target') harm.push(`${first.effect} at once`);
      for (const { effect } of [first, second]) {
        if (effect !== undefined) effects += 1;
        const found = harmOf(effect, record, facts);
        if (found !== undefined) harm.push(found);
      }
    }
    expect(harm).toEqual([]);
    expect(effects).toBeGreaterThan(1_000);
  });
});
