import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findJsonMistake } from '../../src/http/json-mistake.ts';

const CASES: readonly { text: string; line: number; column: number; end?: boolean }[] = [
  { text: '', line: 1, column: 1, end: true },
  { text: '{', line: 1, column: 2, end: true },
  { text: '{"a":1,}', line: 1, column: 8 },
  { text: '[1,]', line: 1, column: 4 },
  { text: '{"a" 1}', line: 1, column: 6 },
  { text: '{\n  "a": abc\n}', line: 2, column: 8 },
  { text: '{"a": tru', line: 1, column: 10, end: true },
  { text: '{"a": trap}', line: 1, column: 9 },
  { text: '[1.]', line: 1, column: 4 },
  { text: '[1e+]', line: 1, column: 5 },
  { text: '[-]', line: 1, column: 3 },
  { text: '[01]', line: 1, column: 3 },
  { text: '"a\nb"', line: 1, column: 3 },
  { text: '"\\x"', line: 1, column: 3 },
  { text: '"\\u00g0"', line: 1, column: 6 },
  { text: '{"a":1}\n{"b":2}', line: 2, column: 1 },
  { text: "{'a':1}", line: 1, column: 2 },
  { text: '[1}', line: 1, column: 3 },
  { text: '\ufeff{}', line: 1, column: 1 },
];

describe('the place of a mistake in JSON', () => {
  it.each(CASES)('of $text', ({ text, line, column, end }) => {
    expect(findJsonMistake(text)).toEqual({
      what: end === true ? 'unexpected end' : 'unexpected character',
      line,
      column,
    });
  });

  it('is none exactly where JSON.parse sees none, and nothing after it matters', () => {
    const damaged = fc
      .tuple(
        fc.json(),
        fc.nat(),
        fc.constantFrom('', '"', '{', ']', ',', ':', '\\', '1', '-', 'e', '.', 'n', ' ', '\n'),
      )
      .map(([json, at, put]) => {
        const place = at % (json.length + 1);
        return json.slice(0, place) + put + json.slice(place + (at % 2));
      });
    fc.assert(
      fc.property(damaged, (text) => {
        const mistake = findJsonMistake(text);
        expect(mistake === undefined).toBe(parses(text));
        if (mistake === undefined) return;
        const place = offsetOf(text, mistake);
        if (mistake.what === 'unexpected end') expect(place).toBe(text.length);
        else expect(findJsonMistake(`${text.slice(0, place + 1)}rest`)).toEqual(mistake);
        const told = toldByJsonParse(text);
        if (told !== undefined) expect(place).toBe(told);
      }),
      { numRuns: 2000 },
    );
  });

  it('is found in long and deep texts at once', () => {
    expect(findJsonMistake(`["${'x'.repeat(2_000_000)}`)).toMatchObject({ what: 'unexpected end', column: 2_000_003 });
    expect(findJsonMistake('['.repeat(500_000))).toMatchObject({ what: 'unexpected end', column: 500_001 });
  });
});

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function offsetOf(text: string, { line, column }: { line: number; column: number }): number {
  const lines = text.split('\n').slice(0, line - 1);
  return lines.reduce((sum, one) => sum + one.length + 1, 0) + column - 1;
}

/** Where V8 tells a place at all. For a bad escape it tells the character after the backslash, as we do. */
function toldByJsonParse(text: string): number | undefined {
  try {
    JSON.parse(text);
  } catch (error) {
    const place = /JSON at position (\d+)/.exec(String(error))?.[1];
    if (place !== undefined) return Number(place);
  }
  return undefined;
}
