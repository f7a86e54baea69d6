import { setMaxListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createAdaptiveLimit, type Place, type Sample } from '../../adapters/certmanager/adaptive-limit.ts';
import { nextLimit } from '../../adapters/certmanager/next-limit.ts';

const never = new AbortController().signal;
setMaxListeners(0, never);
const settled = () => new Promise<void>((resolve) => queueMicrotask(() => queueMicrotask(resolve)));

/** Serves `perSecond` (then the next one, from half of the time on) one after the other, as a cert-manager that limits its calls; always somebody waits. */
async function simulate(perSecond: number | readonly [number, number], seconds: number, max?: number) {
  const [early, late] = typeof perSecond === 'number' ? [perSecond, perSecond] : perSecond;
  let nowMs = 0;
  const limit = createAdaptiveLimit({ monotonicMs: () => nowMs, ...(max !== undefined && { max }) });
  const queue: Place[] = [];
  const ask = () => void limit.take('issuer', new AbortController().signal).then((place) => queue.push(place));
  for (let i = 0; i < 300; i += 1) ask();
  await settled();
  const inFlight: number[] = [];
  while (nowMs < seconds * 1000) {
    nowMs += 1000 / (nowMs < seconds * 500 ? early : late);
    queue.shift()?.release('ready');
    ask();
    await settled();
    inFlight.push(limit.inFlight);
  }
  return { limit, later: inFlight.slice(inFlight.length / 2) };
}

/** Serves all that is in flight at once, in `tookMs` (then in the next, from half of the rounds on); `callers` ask. */
async function simulateParallel(callers: number, [early, late]: readonly [number, number]) {
  let nowMs = 0;
  const limit = createAdaptiveLimit({ monotonicMs: () => nowMs });
  let held: Place[] = [];
  const ask = () => void limit.take('issuer', never).then((place) => held.push(place));
  for (let i = 0; i < callers; i += 1) ask();
  for (let round = 0; round < 60; round += 1) {
    await settled();
    nowMs += round < 30 ? early : late;
    const done = held;
    held = [];
    for (const place of done) {
      place.release('ready');
      ask();
    }
  }
  return { limit };
}

describe('the limit of requests in flight', () => {
  it('keeps a cert-manager of 7 a second busy and does not flood it', async () => {
    const { later } = await simulate(7, 600);
    // One at a time only while the shortest time is measured anew.
    expect(Math.min(...later)).toBeGreaterThanOrEqual(1);
    expect(later.reduce((sum, count) => sum + count, 0) / later.length).toBeGreaterThan(3);
    expect(Math.max(...later)).toBeLessThanOrEqual(12);
  });

  it('grows for a quick one, up to its maximum', async () => {
    const { limit } = await simulate(2_000, 3);
    expect(limit.limit).toBeGreaterThan(64);
    const capped = await simulate(2_000, 3, 50);
    expect(capped.limit.limit).toBe(50);
  });

  it('is at what a cert-manager that has become slow can do when its queue has drained', async () => {
    const { limit, later } = await simulate([400, 7], 180);
    expect(limit.limit).toBeLessThanOrEqual(12);
    expect(later.at(-1)).toBeLessThanOrEqual(12);
  });

  it('does not take a slow machine for a queue: what grows with nobody waiting is no queue', async () => {
    // 64 at a time, each served in 20 ms, and on a machine that is busy in 400 ms.
    const { limit } = await simulateParallel(64, [20, 400]);
    expect(limit.limit).toBeGreaterThanOrEqual(64);
  });

  it('takes the time that an issuer always needs for no queue, beside one that is quick', async () => {
    let nowMs = 0;
    const limit = createAdaptiveLimit({ monotonicMs: () => nowMs });
    for (let round = 0; round < 15; round += 1) {
      const slow = await limit.take('slow', never);
      const quick = await limit.take('quick', never);
      nowMs += 50;
      quick.release('ready');
      nowMs += 6_000;
      slow.release('ready');
    }
    expect(limit.limit).toBeGreaterThanOrEqual(8);
  });

  it('parks the requests of an issuer that makes none ready, until it does', async () => {
    let nowMs = 0;
    const limit = createAdaptiveLimit({ monotonicMs: () => nowMs, start: 4, max: 4, maxParked: 6 });
    const dead = await Promise.all(Array.from({ length: 4 }, () => limit.take('dead', never)));
    nowMs += 2_000;
    dead[0]?.late();
    expect(limit.inFlight).toBe(3);
    for (const place of dead) place.late();
    // Parked from the start: they take nobody's place.
    await limit.take('dead', never);
    const last = await limit.take('dead', never);
    expect(limit.inFlight).toBe(0);
    last.release('ready');
    await limit.take('dead', never);
    expect(limit.inFlight).toBe(1);
  });

  it('does not park what only stands in a queue', async () => {
    let nowMs = 0;
    const limit = createAdaptiveLimit({ monotonicMs: () => nowMs, start: 4, max: 4 });
    const [first, second] = [await limit.take('a', never), await limit.take('a', never)];
    nowMs += 2_000;
    first.release('ready');
    second.late();
    expect(limit.inFlight).toBe(1);
  });

  it('halves when it is throttled, once for one cause, and never stops', async () => {
    let nowMs = 0;
    const limit = createAdaptiveLimit({ monotonicMs: () => nowMs });
    const places = await Promise.all(Array.from({ length: 8 }, () => limit.take('issuer', never)));
    for (const place of places) place.release('throttled');
    expect(limit.limit).toBe(4);
    for (let i = 0; i < 10; i += 1) {
      nowMs += 1_001;
      (await limit.take('issuer', never)).release('throttled');
    }
    expect(limit.limit).toBe(1);
  });

  it('does not grow while it is not used up', () => {
    expect(nextLimit(8, { meanMs: 10, isUsedUp: false }, 256)).toBe(8);
    expect(nextLimit(8, { meanMs: 10, isUsedUp: true }, 256)).toBe(16);
  });

  it('serves the issuers that wait in turn, each first come, first served', async () => {
    const limit = createAdaptiveLimit({ monotonicMs: () => 0, start: 1, max: 1 });
    const order: string[] = [];
    const first = await limit.take('a', never);
    const all = ['a1', 'a2', 'a3', 'b1', 'b2'].map((name) =>
      limit.take(name.slice(0, 1), never).then((place) => {
        order.push(name);
        place.release('nothing');
      }),
    );
    first.release('nothing');
    await Promise.all(all);
    expect(order).toEqual(['a1', 'b1', 'a2', 'b2', 'a3']);
  });

  it('lets others pass an issuer whose requests only wait, and stops that one at last', async () => {
    const limit = createAdaptiveLimit({ monotonicMs: () => 0, start: 2, max: 2, maxParked: 3 });
    for (let i = 0; i < 3; i += 1) (await limit.take('broken', never)).park();
    let isServed = false;
    const fourth = limit.take('broken', never).then((place) => {
      isServed = true;
      return place;
    });
    (await limit.take('well', never)).release('ready');
    await settled();
    expect([isServed, limit.inFlight, limit.waiting]).toEqual([false, 0, 1]);
    void fourth;
  });

  it('rejects with the reason of a signal, before and while waiting, and forgets who gave up', async () => {
    const limit = createAdaptiveLimit({ monotonicMs: () => 0, start: 1, max: 1 });
    const place = await limit.take('a', never);
    const caller = new AbortController();
    const waits = limit.take('a', caller.signal);
    caller.abort(new Error('hung up'));
    await expect(waits).rejects.toThrow('hung up');
    await expect(limit.take('a', caller.signal)).rejects.toThrow('hung up');
    place.release('ready');
    expect([limit.inFlight, limit.waiting]).toEqual([0, 0]);
  });

  it('holds for any order of events: within bounds, nobody forgotten, no place lost', async () => {
    const step = fc.record({
      do: fc.constantFrom('take', 'release', 'park', 'late', 'abort'),
      key: fc.constantFrom('a', 'b', 'c'),
      pick: fc.nat(1000),
      sample: fc.constantFrom<Sample>('ready', 'throttled', 'nothing'),
      afterMs: fc.nat(3000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        let nowMs = 0;
        const limit = createAdaptiveLimit({ monotonicMs: () => nowMs, max: 16, maxParked: 4 });
        const held: Place[] = [];
        const callers: AbortController[] = [];
        let open = 0;
        for (const { do: what, key, pick, sample, afterMs } of steps) {
          nowMs += afterMs;
          if (what === 'take') {
            const caller = new AbortController();
            callers.push(caller);
            open += 1;
            limit
              .take(key, caller.signal)
              .then((place) => held.push(place))
              .catch(() => {
                open -= 1;
              });
          } else if (what === 'abort') callers[pick % Math.max(callers.length, 1)]?.abort(new Error('hung up'));
          else if (what === 'park' || what === 'late') held[pick % Math.max(held.length, 1)]?.[what]();
          else {
            const [place] = held.splice(pick % Math.max(held.length, 1), 1);
            if (place !== undefined) open -= 1;
            place?.release(sample);
            place?.release(sample);
          }
          await settled();
          expect(limit.limit).toBeGreaterThanOrEqual(1);
          expect(limit.limit).toBeLessThanOrEqual(16);
          expect(limit.inFlight).toBeGreaterThanOrEqual(0);
          expect(limit.inFlight).toBeLessThanOrEqual(16);
        }
        while (held.length > 0 || limit.waiting > 0) {
          const place = held.pop();
          expect(place, 'somebody waits and nobody holds a place').toBeDefined();
          if (place !== undefined) open -= 1;
          place?.release('nothing');
          await settled();
        }
        expect([open, limit.inFlight, limit.waiting]).toEqual([0, 0, 0]);
      }),
      { numRuns: 100 },
    );
  });
});
