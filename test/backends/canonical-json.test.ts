import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../src/backends/canonical-json.ts';

describe('canonical JSON', () => {
  it('does not depend on the order of keys, at any depth, but on that of lists', () => {
    expect(canonicalJson({ b: { d: 1, c: [1, 2] }, a: null })).toBe('{"a":null,"b":{"c":[1,2],"d":1}}');
    expect(canonicalJson({ c: [2, 1] })).not.toBe(canonicalJson({ c: [1, 2] }));
  });

  it('tells the same value as plain JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
