import { expect, it } from 'vitest';
import { setNewest } from '../../src/runtime/set-newest.ts';

it('lets the entry that was changed longest ago go, and no other', () => {
  const map = new Map<string, number>();
  for (const [value, key] of ['a', 'b', 'c', 'a', 'd'].entries()) setNewest(map, key, value, 3);
  expect([...map]).toEqual([
    ['c', 2],
    ['a', 3],
    ['d', 4],
  ]);
});
