import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CaGenerations, IssuerDeps, SecretAccess } from '../../src/issuer/issuer.ts';
import { live } from '../conformance/issuer.ts';
import type { TestDeps } from '../conformance/issuer-deps.ts';
import { verified } from '../conformance/renewer.ts';
import {
  copyOf,
  copyWithout,
  create,
  dropOthers,
  expectConsistent,
  GENERATIONS,
  generationsOf,
  issue,
  made,
  madeDeps,
  prepareNext,
  rootForKuma,
  type Step,
  signWithNewest,
  takeSteps,
} from './builtin-backend.ts';

class Crash extends Error {}

/** Dies before the n-th call takes effect, which is after all that the one before it has done; is dead from then on. */
function dyingAt(deps: TestDeps, n: number): IssuerDeps & { readonly calls: number } {
  let calls = 0;
  const dying =
    <A extends readonly unknown[], R>(work: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      calls += 1;
      if (calls >= n) throw new Crash();
      return work(...args);
    };
  const { read, createTogether, replace, onChange } = deps.secrets;
  const secrets: SecretAccess = {
    onChange,
    read: dying(read),
    createTogether: dying(createTogether),
    replace: dying(replace),
  };
  return {
    ...deps,
    secrets,
    get calls() {
      return calls;
    },
  };
}

describe('a step of builtin that dies at any moment', () => {
  const signWithNext = ({ others: [next] }: CaGenerations): Step => {
    return (issuer) => issuer.signWith(next ?? Buffer.alloc(0), live());
  };
  /** How the step looks, of what it starts from. */
  const STEPS: readonly [name: string, before: readonly Step[], step: (start: CaGenerations) => Step][] = [
    ['preparing the second generation', [], () => prepareNext],
    ['signing with the second', [prepareNext], signWithNext],
    ['dropping the first', [prepareNext, signWithNewest], () => dropOthers],
    ['dropping the second, which never signed', [prepareNext], () => dropOthers],
    ['preparing the third', [prepareNext, signWithNewest, dropOthers], () => prepareNext],
    [
      'dropping the second for the third',
      [prepareNext, signWithNewest, dropOthers, prepareNext, signWithNewest],
      () => dropOthers,
    ],
  ];
  for (const [name, before, stepOf] of STEPS) {
    it(`${name}: the CA still signs with what is trusted, and the step is finished when it is taken again`, async () => {
      const start = await madeDeps();
      await takeSteps(start, ...before);
      const earlier = await issue(start);
      const atStart = await generationsOf(start);
      const step = stepOf(atStart);
      const undisturbed = copyOf(start);
      await takeSteps(undisturbed, step);
      const want = await generationsOf(undisturbed);

      let points = 0;
      for (let n = 1, isDone = false; !isDone; n += 1) {
        const deps = copyOf(start);
        const dying = dyingAt(deps, n);
        const outcome = await step(create(dying)).then(
          () => 'done',
          (error: unknown) => (error instanceof Crash ? 'crashed' : error),
        );
        isDone = dying.calls < n;
        expect(outcome).toBe(isDone ? 'done' : 'crashed');
        points += 1;
        await expectConsistent(deps);
        const now = await generationsOf(deps);
        const wasDropped = now.others.length < atStart.others.length;
        if (!wasDropped) expect(verified(earlier, [now.signing, ...now.others], deps.clock.now())).toBe(true);

        await takeSteps(deps, step);
        const after = await generationsOf(deps);
        expect(after.signing).toEqual(want.signing);
        expect(after.others).toHaveLength(want.others.length);
        await expectConsistent(deps);
        if (step === dropOthers) {
          expect(rootForKuma(deps)).toEqual(after.signing);
          await expectConsistent(copyWithout(deps, GENERATIONS));
        }
      }
      expect(points).toBeGreaterThan(2);
    });
  }
});

describe('any sequence of steps of builtin', () => {
  const anyStep = fc.oneof(
    fc.constant({ kind: 'prepareNext' as const }),
    fc.record({ kind: fc.constant('signWith' as const), which: fc.nat({ max: 8 }) }),
    fc.constant({ kind: 'dropOthers' as const }),
    fc.constant({ kind: 'ensure' as const }),
  );
  const crash = fc.option(fc.integer({ min: 1, max: 10 }));

  type AnyStep =
    | { readonly kind: 'prepareNext' | 'dropOthers' | 'ensure' }
    | { readonly kind: 'signWith'; which: number };
  function stepOf(what: AnyStep): Step {
    switch (what.kind) {
      case 'prepareNext':
        return prepareNext;
      case 'dropOthers':
        return dropOthers;
      case 'ensure':
        return (issuer) => issuer.ensure(live());
      case 'signWith':
        return async (issuer) => {
          const { signing, others } = await issuer.generations(live());
          const roots = [signing, ...others];
          return issuer.signWith(roots[what.which % roots.length] ?? signing, live());
        };
    }
  }

  it('with crashes anywhere: what signs is always trusted, and only dropping takes trust away', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(anyStep, crash), { maxLength: 8 }), async (history) => {
        const deps = copyOf(await made);
        const issued = [await expectConsistent(deps)];
        for (const [what, dies] of history) {
          const before = await generationsOf(deps);
          const running = dies === null ? deps : dyingAt(deps, dies);
          await stepOf(what)(create(running)).catch((error: unknown) => {
            if (!(error instanceof Crash || isFull(error))) throw error;
          });
          issued.push(await expectConsistent(deps));
          const after = await generationsOf(deps);
          const [was, is] = [before, after].map(({ signing, others }) => [signing, ...others]);
          const lost = (was ?? []).filter((root) => !is?.some((other) => other.equals(root)));
          if (what.kind !== 'dropOthers') expect(lost).toEqual([]);
          if (what.kind !== 'signWith') expect(after.signing).toEqual(before.signing);
          expect(lost.some((root) => root.equals(before.signing))).toBe(false);
          for (const one of issued) {
            const isTrusted = is?.some((root) => one.roots.some((own) => own.equals(root))) === true;
            expect(verified(one, is ?? [], deps.clock.now())).toBe(isTrusted);
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  it('by two instances at once, in any order of their reads and writes, ends as one of them alone would end', async () => {
    const twoSteps = fc.tuple(
      anyStep,
      anyStep,
      fc.constantFrom<readonly Step[]>([], [prepareNext], [prepareNext, signWithNewest]),
    );
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), twoSteps, async (scheduler, [one, other, before]) => {
        const deps = copyOf(await made);
        await takeSteps(deps, ...before);
        const { read, replace } = deps.secrets;
        const secrets: SecretAccess = {
          ...deps.secrets,
          read: scheduler.scheduleFunction(read),
          replace: scheduler.scheduleFunction(replace),
        };
        const refused: unknown[] = [];
        const both = [one, other].map((what) =>
          stepOf(what)(create({ ...deps, secrets })).catch((error: unknown) => void refused.push(error)),
        );
        await scheduler.waitFor(Promise.all(both));
        // Only what the other one has dropped meanwhile can be refused.
        for (const error of refused) expect(error).toMatchObject({ code: 'ERR_CONFLICT' });
        await expectConsistent(deps);
        await takeSteps(deps, dropOthers);
        expect(rootForKuma(deps)).toEqual((await expectConsistent(deps)).roots[0]);
        await expectConsistent(copyWithout(deps, GENERATIONS));
      }),
      { numRuns: 20 },
    );
  });
});

describe('an instance of builtin that is held up', () => {
  const STEPS: readonly [name: string, before: readonly Step[], step: Step][] = [
    ['preparing', [], prepareNext],
    ['dropping others', [prepareNext, signWithNewest], dropOthers],
    ['storing the mesh', [prepareNext, signWithNewest, dropOthers], (issuer) => issuer.ensure(live())],
  ];
  for (const [name, before, step] of STEPS) {
    it(`${name}, at any moment, while others renew the CA: harms neither trust nor what Kuma finds`, async () => {
      for (let n = 1, isReached = true; isReached; n += 1) {
        const deps = copyOf(await made);
        await takeSteps(deps, ...before);
        let calls = 0;
        const held =
          <A extends readonly unknown[], R>(work: (...args: A) => Promise<R>) =>
          async (...args: A): Promise<R> => {
            calls += 1;
            if (calls === n) await takeSteps(deps, prepareNext, signWithNewest, dropOthers);
            return work(...args);
          };
        const { read, replace } = deps.secrets;
        await step(create({ ...deps, secrets: { ...deps.secrets, read: held(read), replace: held(replace) } }));
        isReached = calls >= n;
        const { signing } = await generationsOf(deps);
        await expectConsistent(deps);
        expect(rootForKuma(deps)).toEqual(signing);
        await expectConsistent(copyWithout(deps, GENERATIONS));
      }
    });
  }
});

function isFull(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('8 generations');
}
