import { describe, expect, it } from 'vitest';
import { createLastSeen } from '../../src/issuance/last-seen.ts';
import { systemClock } from '../../src/runtime/clock.ts';

function start(most?: number) {
  let now = 0;
  const lastSeen = createLastSeen({ ...systemClock, now: () => new Date(now) }, most);
  return {
    lastSeen,
    at: (ms: number) => {
      now = ms;
    },
    get: (name: string) => lastSeen.get('m', name)?.getTime(),
  };
}

describe('a data plane', () => {
  it('was last seen when it last asked', () => {
    const { lastSeen, at, get } = start();
    expect(get('a')).toBeUndefined();
    lastSeen.note('m', 'a');
    at(5);
    lastSeen.note('m', 'a');
    at(9);
    expect(get('a')).toBe(5);
  });

  it('is seen at every moment while it holds a poll, with several until the last has ended', () => {
    const { lastSeen, at, get } = start();
    const [first, second] = [lastSeen.hold('m', 'a'), lastSeen.hold('m', 'a')];
    at(300);
    expect(get('a')).toBe(300);
    first();
    first();
    at(400);
    expect(get('a')).toBe(400);
    second();
    at(500);
    expect(get('a')).toBe(400);
  });

  it('not seen for longest is forgotten when there are too many', () => {
    const { lastSeen, get } = start(2);
    for (const name of ['a', 'b', 'a', 'c']) lastSeen.note('m', name);
    expect(['a', 'b', 'c'].map((name) => get(name) !== undefined)).toEqual([true, false, true]);
  });

  it('is told with all others of its mesh, and when each was seen', () => {
    const { lastSeen, at } = start();
    lastSeen.note('m', 'asked');
    lastSeen.note('m', 'polled-before');
    lastSeen.note('m2', 'of-another-mesh');
    lastSeen.note('m', 'forgotten');
    lastSeen.forget('m', 'forgotten');
    lastSeen.hold('m2', 'holds-in-another-mesh');
    lastSeen.hold('m', 'polled-before');
    lastSeen.hold('m', 'holds');
    at(300);
    const seen = [...lastSeen.ofMesh('m')].map(([name, seenAt]) => [name, seenAt.getTime()]);
    expect(seen.sort()).toEqual([
      ['asked', 0],
      ['holds', 300],
      ['polled-before', 300],
    ]);
    expect(lastSeen.ofMesh('none').size).toBe(0);
  });
});
