import { describe, expect, it } from 'vitest';
import { Agenda } from '../../src/sds/agenda.ts';
import { createFakeClock } from '../conformance/issuer-deps.ts';
import { passTime } from '../support/pass-time.ts';

const START = new Date('2026-03-04T05:06:07.890Z');
const START_MS = START.getTime();

describe('an agenda', () => {
  it('rings for each item in its time, with one timer, and not for those taken out', async () => {
    const clock = createFakeClock(START);
    const rung: string[] = [];
    const agenda = new Agenda<{ name: string; dueAtMs: number }>(clock, ({ name }) => rung.push(name));
    const items = [300_000, 100, 200_000, 100].map((ms, index) => ({ name: `${index}`, dueAtMs: START_MS + ms }));
    for (const item of items) agenda.put(item);
    expect(clock.pending).toBe(1);
    await passTime(clock, 99);
    expect(rung).toEqual([]);
    await passTime(clock, 1);
    expect([...rung].sort()).toEqual(['1', '3']);
    const [first, , third] = items;
    if (first === undefined || third === undefined) throw new Error('four were put in');
    agenda.delete(first);
    third.dueAtMs = Number.POSITIVE_INFINITY;
    agenda.put(third);
    await passTime(clock, 400_000);
    expect(rung).toHaveLength(2);
    agenda.close();
    expect(clock.pending).toBe(0);
  });

  it('lets everything else have its turn when an item is due again at once', async () => {
    const clock = createFakeClock(START);
    let rings = 0;
    const item = { dueAtMs: START_MS };
    const agenda = new Agenda<{ dueAtMs: number }>(clock, (one) => {
      rings += 1;
      agenda.put(one);
    });
    agenda.put(item);
    await passTime(clock, 1000);
    expect(rings).toBeGreaterThan(1);
    expect(rings).toBeLessThanOrEqual(50);
    agenda.close();
  });

  it('notices within a minute that the clock was set', async () => {
    const clock = createFakeClock(START);
    const rung: string[] = [];
    const agenda = new Agenda<{ dueAtMs: number }>(
      { ...clock, now: () => new Date(clock.now().getTime() + 3_600_000) },
      () => rung.push('rung'),
    );
    agenda.put({ dueAtMs: START_MS + 3_600_000 + 120_000 });
    await passTime(clock, 60_000);
    expect(rung).toEqual([]);
    await passTime(clock, 60_000);
    expect(rung).toEqual(['rung']);
    agenda.close();
  });
});
