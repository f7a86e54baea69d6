import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COSTS, createFairTurns, type Lane, LONGEST_LEAD, type Turn } from '../../../src/issuance/queue/fair-turns.ts';
import { createHeap } from '../../../src/issuance/queue/heap.ts';
import { PRIORITIES, type Priority } from '../../../src/issuance/queue/priority.ts';

const anyPriority = fc.constantFrom(...PRIORITIES);

/** Turns whose items are their names, with a lane for each `<mesh>/<backend>`. */
function createWorld() {
  const turns = createFairTurns<string>();
  const lanes = new Map<string, Lane<string>>();
  const lane = (name: string) => {
    const known = lanes.get(name) ?? turns.createLane(name.split('/')[0] ?? '');
    lanes.set(name, known);
    return known;
  };
  let added = 0;
  const add = (key: string, priority: Priority) => {
    added += 1;
    return turns.add(lane(key), priority, `${key} ${priority} ${added}`);
  };
  /** Serves `count`, each done before the next is served. */
  const serve = (count: number) => {
    const served: Turn<string>[] = [];
    while (served.length < count) {
      const turn = turns.next(false);
      if (turn === undefined) break;
      turns.giveBack(turn, 0);
      served.push(turn);
    }
    return served;
  };
  return { turns, lane, lanes, add, serve };
}

const meshOf = ({ item }: Turn<string>) => item.split('/')[0] ?? '';

describe('turns', () => {
  it('go round between meshes, however much each wants', () => {
    const { add, serve } = createWorld();
    for (let i = 0; i < 30; i += 1) add('greedy/vault', 'first');
    for (let i = 0; i < 3; i += 1) add('modest/vault', 'first');
    expect(serve(6).map(meshOf)).toEqual(['greedy', 'modest', 'greedy', 'modest', 'greedy', 'modest']);
  });

  it('go to meshes, not to backends: two backends get no more than one', () => {
    const { add, serve } = createWorld();
    for (let i = 0; i < 20; i += 1) for (const key of ['two/a', 'two/b', 'one/a']) add(key, 'first');
    expect(serve(20).filter((turn) => meshOf(turn) === 'one')).toHaveLength(10);
  });

  it('give a mesh with urgent work more, by what each kind of work costs', () => {
    const { add, serve } = createWorld();
    for (const priority of PRIORITIES) for (let i = 0; i < 900; i += 1) add(`${priority}/vault`, priority);
    const served = serve(600).map(meshOf);
    const count = (mesh: string) => served.filter((one) => one === mesh).length;
    const whole = PRIORITIES.reduce((sum, priority) => sum + 1 / COSTS[priority], 0);
    for (const priority of PRIORITIES) {
      const share = 600 / COSTS[priority] / whole;
      expect(Math.abs(count(priority) - share), priority).toBeLessThanOrEqual(2);
    }
  });

  it('make a mesh wait whose places were held for long, but not for ever', () => {
    const { add, turns } = createWorld();
    for (let i = 0; i < 400; i += 1) for (const key of ['slow/a', 'quick/a']) add(key, 'first');
    let slow = 0;
    for (let i = 0; i < 200; i += 1) {
      const turn = turns.next(false);
      if (turn === undefined) throw new Error('nobody waits');
      if (meshOf(turn) === 'slow') slow += 1;
      turns.giveBack(turn, meshOf(turn) === 'slow' ? 3 : 0);
    }
    expect(slow).toBe(40);
  });

  it('hold nothing against a mesh that was away, and give it no credit', () => {
    const { add, serve } = createWorld();
    for (let i = 0; i < 50; i += 1) add('busy/vault', 'renewal');
    serve(40);
    for (let i = 0; i < 4; i += 1) add('late/vault', 'renewal');
    expect(serve(4).filter((turn) => meshOf(turn) === 'late')).toHaveLength(2);
  });

  it('pass over meshes that hold a place, when the last places are for others', () => {
    const { add, turns } = createWorld();
    for (const key of ['a/x', 'a/x', 'b/x']) add(key, 'first');
    const first = turns.next(true);
    expect(first?.item).toContain('a/x');
    expect(turns.next(true)?.item).toContain('b/x');
    expect(turns.next(true)).toBeUndefined();
    if (first !== undefined) turns.giveBack(first, 0);
    expect(turns.next(true)?.item).toContain('a/x');
  });

  it('hold: the most urgent of a mesh first, the first come of those, and all that are open once', () => {
    const step = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({
          do: fc.constant('add' as const),
          key: fc.constantFrom('a/x', 'a/y', 'b/x', 'c/x'),
          priority: anyPriority,
        }),
      },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('next' as const), only: fc.boolean() }) },
      fc.record({ do: fc.constant('remove' as const), pick: fc.nat(1000) }),
      fc.record({ do: fc.constant('open' as const), key: fc.constantFrom('a/x', 'a/y', 'b/x'), isOpen: fc.boolean() }),
      fc.record({
        do: fc.constant('back' as const),
        pick: fc.nat(1000),
        extra: fc.double({ min: 0, max: 3, noNaN: true }),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const { turns, lane, add } = createWorld();
        const waiting: Turn<string>[] = [];
        const held: Turn<string>[] = [];
        for (const one of steps) {
          if (one.do === 'add') waiting.push(add(one.key, one.priority));
          else if (one.do === 'open') turns.setOpen(lane(one.key), one.isOpen);
          else if (one.do === 'remove') {
            const [turn] = waiting.splice(one.pick % Math.max(waiting.length, 1), 1);
            if (turn !== undefined) expect([turns.remove(turn), turns.remove(turn)]).toEqual([true, false]);
          } else if (one.do === 'back') {
            const [turn] = held.splice(one.pick % Math.max(held.length, 1), 1);
            if (turn !== undefined) turns.giveBack(turn, one.extra);
          } else {
            const turn = turns.next(one.only);
            const holders = new Set(held.map(meshOf));
            const open = waiting.filter((other) => other.lane.isOpen && !(one.only && holders.has(meshOf(other))));
            expect(turn === undefined).toBe(open.length === 0);
            if (turn === undefined) continue;
            const ofMesh = open.filter((other) => meshOf(other) === meshOf(turn));
            const best = [...ofMesh].sort((p, q) => p.rank - q.rank || p.order - q.order)[0];
            expect(turn).toBe(best);
            waiting.splice(waiting.indexOf(turn), 1);
            held.push(turn);
          }
          expect(turns.waiting).toBe(waiting.length);
          expect(turns.isWanted).toBe(waiting.some((other) => other.lane.isOpen));
          for (const mesh of ['a', 'b', 'c'])
            expect(turns.waitingOf(mesh)).toBe(waiting.filter((other) => meshOf(other) === mesh).length);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('starve nobody: who waits is served within a bound, whoever comes meanwhile', () => {
    const arrivals = fc.array(fc.tuple(fc.nat(9), anyPriority, fc.double({ min: 0, max: 3, noNaN: true })), {
      minLength: 100,
      maxLength: 400,
    });
    fc.assert(
      fc.property(arrivals, anyPriority, (others, priority) => {
        const { add, turns } = createWorld();
        for (const [mesh, kind] of others) add(`m${mesh}/x`, kind);
        for (let i = 0; i < 50; i += 1) {
          const turn = turns.next(false);
          if (turn !== undefined) turns.giveBack(turn, 3);
        }
        const mine = add('mine/x', priority);
        // Each other mesh comes before it as often as its lead allows; and always somebody new comes, with urgent work.
        const bound = 11 * (LONGEST_LEAD + COSTS.renewal + 1);
        let served = 0;
        for (; served < bound; served += 1) {
          const [mesh, , extra] = others[served % others.length] ?? [0, 'first', 0];
          add(`m${mesh}/x`, 'first');
          if (served % 3 === 0) add(`new-${served}/x`, 'first');
          const turn = turns.next(false);
          if (turn === mine) break;
          if (turn !== undefined) turns.giveBack(turn, extra);
        }
        expect(served).toBeLessThan(bound);
      }),
      { numRuns: 60 },
    );
  });

  it('forget a mesh of which no backend is left', () => {
    const { add, turns, lane } = createWorld();
    const turn = add('gone/x', 'first');
    turns.remove(turn);
    turns.removeLane(lane('gone/x'));
    expect([turns.waitingOf('gone'), turns.waiting, turns.next(false)]).toEqual([0, 0, undefined]);
  });
});

describe('the heap', () => {
  it('gives the least, whatever was moved and taken out', () => {
    const step = fc.record({
      do: fc.constantFrom('put', 'move', 'delete', 'pop'),
      pick: fc.nat(1000),
      value: fc.nat(50),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const heap = createHeap<{ value: number }>((one, other) => one.value < other.value);
        const items: { value: number }[] = [];
        for (const { do: what, pick, value } of steps) {
          const item = items[pick % Math.max(items.length, 1)];
          if (what === 'put') {
            const added = { value };
            items.push(added);
            heap.put(added);
          } else if (item !== undefined && what === 'move') {
            item.value = value;
            heap.put(item);
          } else if (item !== undefined) {
            const out = what === 'pop' ? heap.peek() : item;
            if (out === undefined) throw new Error('empty, and is not');
            expect([heap.delete(out), heap.delete(out)]).toEqual([true, false]);
            items.splice(items.indexOf(out), 1);
          }
          expect(heap.size).toBe(items.length);
          expect(heap.peek()?.value).toBe(items.length === 0 ? undefined : Math.min(...items.map((one) => one.value)));
        }
      }),
    );
  });
});
