import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createReissueOrder, type ReissueOrderOptions } from '../../src/issuance/reissue-plan.ts';
import type { CertificateHolder } from '../../src/store/store.ts';

const BEGIN = new Date('2026-09-01T12:00:00.000Z');
const at = (ms: number) => new Date(BEGIN.getTime() + ms);
const namesOf = (count: number, prefix = 'dp') => Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

function holder(dataplane: string, backend = 'old'): CertificateHolder {
  const times = { issuedAt: BEGIN, notAfter: at(3_600_000) };
  return { dataplane, backend, rootHashes: [], serialNumber: '01', ...times };
}

function order(changes: Partial<ReissueOrderOptions> = {}) {
  return createReissueOrder({
    ...{ mesh: 'default', startedAt: BEGIN, mode: 'spread', first: namesOf(100), beginAt: BEGIN, maxPerSecond: 10 },
    sideOf: ({ backend }) => (backend === 'old' || backend === 'target' ? backend : undefined),
    ...changes,
  });
}

/** When each would be made anew if it came just at its turn; milliseconds after the begin. */
function turnsOf(names: readonly string[], changes: Partial<ReissueOrderOptions> = {}): number[] {
  const { plan } = order({ first: names, ...changes });
  return names.map((name) => {
    const turn = plan(holder(name), at(-1));
    return turn instanceof Date ? turn.getTime() - BEGIN.getTime() : Number.NaN;
  });
}

describe('the order in which certificates are made anew', () => {
  it('gives each its turn, at the rate', () => {
    expect(turnsOf(namesOf(25)).sort((a, b) => a - b)).toEqual(namesOf(25).map((_, index) => index * 100));
    expect(order({ first: namesOf(25) }).endsAt).toEqual(at(2_400));
  });

  it('is fixed for one rotation of one mesh, another for another', () => {
    const names = namesOf(50);
    expect(turnsOf(names)).toEqual(turnsOf([...names].reverse()).reverse());
    expect(turnsOf(names)).not.toEqual(turnsOf(names, { startedAt: at(1) }));
    expect(turnsOf(names)).not.toEqual(turnsOf(names, { mesh: 'other' }));
    expect(turnsOf(names)).not.toEqual([...turnsOf(names)].sort((a, b) => a - b));
  });

  it('gives those who are not there the last turns', () => {
    const [first, last] = [namesOf(10, 'here'), namesOf(10, 'away')];
    const turns = turnsOf(first, { last });
    expect(Math.max(...turns)).toBe(900);
    expect(order({ first, last }).endsAt).toEqual(at(1_900));
  });

  it('says nothing about certificates of the target, or of others', () => {
    const { plan } = order();
    expect(plan(holder('dp-1', 'target'), BEGIN)).toBeUndefined();
    expect(plan(holder('dp-1', 'third'), BEGIN)).toBeUndefined();
  });

  it('makes those due who have no turn', () => {
    expect(order().plan(holder('unknown'), BEGIN)).toBe('due');
  });

  it('says the same to who asks again', () => {
    const { plan } = order({ first: ['dp-0'] });
    expect(plan(holder('dp-0'), BEGIN)).toBe('due');
    expect(plan(holder('dp-0'), at(1))).toBe('due');
    expect(plan(holder('dp-0'), at(60_000))).toBe('due');
  });

  it('while all is held lets every certificate stand, of either side', () => {
    const { plan, endsAt } = order({ mode: 'hold' });
    for (const side of ['old', 'target']) expect(plan(holder('dp-1', side), BEGIN)).toEqual(at(30_000));
    expect(plan(holder('dp-1', 'third'), BEGIN)).toBeUndefined();
    expect(endsAt).toBeUndefined();
  });

  it('at once makes all old ones due', () => {
    const { plan, endsAt } = order({ mode: 'at-once' });
    expect(namesOf(100).map((name) => plan(holder(name), BEGIN))).toEqual(namesOf(100).map(() => 'due'));
    expect(plan(holder('dp-1', 'target'), BEGIN)).toBeUndefined();
    expect(endsAt).toBeUndefined();
  });
});

describe('those who come late', () => {
  it('get turns as soon as there are any, never more than the rate within any second', () => {
    const asks = fc.array(fc.tuple(fc.nat({ max: 59 }), fc.integer({ min: 0, max: 400 })), {
      minLength: 50,
      maxLength: 400,
    });
    fc.assert(
      fc.property(asks, fc.integer({ min: 1, max: 20 }), (gaps, maxPerSecond) => {
        const { plan } = order({ first: namesOf(60), maxPerSecond });
        const done = new Set<number>();
        const given: number[] = [];
        let nowMs = 0;
        for (const [who, gapMs] of gaps) {
          // Half of them all at once.
          nowMs += gapMs < 200 ? 0 : gapMs;
          if (done.has(who)) continue;
          const turn = plan(holder(`dp-${who}`), at(nowMs));
          if (turn === 'due') {
            done.add(who);
            given.push(nowMs);
          } else expect(turn?.getTime()).toBeGreaterThan(at(nowMs).getTime());
        }
        for (const beginMs of given) {
          expect(given.filter((ms) => ms >= beginMs && ms < beginMs + 1_000).length).toBeLessThanOrEqual(maxPerSecond);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('are all done in the time that the rate takes, when each comes at the moment that it was told', () => {
    const names = namesOf(200);
    const { plan } = order({ first: names, maxPerSecond: 20 });
    const waiting = new Map(names.map((name) => [name, 3_600_000]));
    const given: number[] = [];
    while (waiting.size > 0) {
      const [name, nowMs] = [...waiting].reduce((first, next) => (next[1] < first[1] ? next : first));
      const turn = plan(holder(name), at(nowMs));
      if (turn === 'due') {
        given.push(nowMs);
        waiting.delete(name);
      } else waiting.set(name, (turn?.getTime() ?? 0) - BEGIN.getTime());
    }
    expect(given).toHaveLength(200);
    expect(Math.max(...given) - 3_600_000).toBeLessThanOrEqual(12_000);
  });
});
