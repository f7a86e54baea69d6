import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';
import { createTags, formatTags, parseTags } from '../../src/mesh/tags.ts';
import { errorOf, violationsOf } from './violations-of.ts';

const NAME = 'tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores';
const VALUE = 'tag value must consist of alphanumeric characters, dots, dashes and underscores';

describe('tags', () => {
  it('are the same text when they are equal, in whatever order they came', () => {
    const one = createTags([
      ['version', 'v1'],
      ['kuma.io/service', ['web', 'api', 'web']],
      ['version', ['v0']],
    ]);
    expect([...one]).toEqual([
      ['kuma.io/service', ['api', 'web']],
      ['version', ['v0', 'v1']],
    ]);
    expect(formatTags(one)).toBe('kuma.io/service=api,web version=v0,v1');
  });

  it.each<[string, string, string]>([
    ['', 'x', 'tags: tag name must be non-empty'],
    ['a b', 'x', `tags["a b"]: ${NAME}`],
    ['inv@lidT/gN%me', 'x', `tags["inv@lidT/gN%me"]: ${NAME}`],
    ['a', '', 'tags["a"]: tag value must be non-empty'],
    ['a', 'inv@lid+t@g', `tags["a"]: ${VALUE}`],
    ['a', 'x/y', `tags["a"]: ${VALUE}`],
    ['a', 'x\n', `tags["a"]: ${VALUE}`],
    ['a', 'ü', `tags["a"]: ${VALUE}`],
    ['a', '*', `tags["a"]: ${VALUE}`],
    ['a', 'x'.repeat(254), 'tags["a"]: tag value cannot be longer than 253 characters'],
    ['a'.repeat(254), 'x', 'tags: tag name cannot be longer than 253 characters'],
  ])('refuse %j with value %j', (name, value, violation) => {
    expect(violationsOf(() => createTags([[name, value]]))).toContain(violation);
  });

  it('are limited in number and in values', () => {
    const many = Array.from({ length: 10_000 }, (_, index): [string, string] => [`t${index}`, 'x']);
    expect(violationsOf(() => createTags(many))).toEqual(['tags: cannot have more than 256 tags, got 10000']);
    expect(violationsOf(() => parseTags(Object.fromEntries(many)))).toEqual([
      'tags: cannot have more than 256 tags, got 10000',
    ]);
    const values = Array.from({ length: 65 }, (_, index) => `v${index}`);
    expect(violationsOf(() => createTags([['a', values]]))).toEqual([
      'tags["a"]: cannot have more than 64 values, got 65',
    ]);
    expect(violationsOf(() => createTags([['a', []]]))).toEqual(['tags["a"]: must have at least one value']);
  });

  it('tell all mistakes at once', () => {
    expect(violationsOf(() => parseTags({ a: 5, b: ['x', 'y z'], c: { d: 1 }, 'e f': 'x' }))).toEqual([
      'tags["a"]: has to be a string or a list of strings',
      'tags["c"]: has to be a string or a list of strings',
      `tags["b"]: ${VALUE}`,
      `tags["e f"]: ${NAME}`,
    ]);
  });

  it.each<[unknown, string]>([
    [[], 'tags: has to be an object, got a list'],
    ['a', 'tags: has to be an object, got a string'],
    [null, 'tags: has to be an object, got null'],
  ])('of a request cannot be %j', (input, violation) => {
    expect(violationsOf(() => parseTags(input))).toEqual([violation]);
  });

  it('take the names of prototypes for names like any other', () => {
    const tags = parseTags(JSON.parse('{"__proto__": "a", "constructor": "b", "toString": ["c"]}'));
    expect(formatTags(tags)).toBe('__proto__=a constructor=b toString=c');
  });

  it('are refused with a ConfigError or hold only what Kuma allows', () => {
    const value = fc.oneof(fc.string(), fc.array(fc.string()), fc.jsonValue());
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (input) => {
        const error = errorOf(() => {
          for (const [name, values] of parseTags(input)) {
            expect(name).toMatch(/^[a-zA-Z0-9.\-_:/]+$/);
            for (const one of values) expect(one).toMatch(/^[a-zA-Z0-9.\-_:]+$/);
            expect(values).toEqual([...new Set(values)].sort());
          }
        });
        if (error !== undefined) expect(error).toBeInstanceOf(ConfigError);
      }),
    );
  });
});
