import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import Handlebars from 'handlebars';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ConfigError, RequestInvalidError } from '../../src/issuer/errors.ts';
import { parseCommonName } from '../../src/mesh/common-name.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { errorOf, violationsOf } from './violations-of.ts';

const service = (...values: string[]) => ({
  mesh: 'default',
  dataplane: 'dp-1',
  tags: createTags([
    ['kuma.io/service', values],
    ['version', 'v1'],
  ]),
});

const render = (source: string, ...values: string[]) => parseCommonName(source).render(service(...values));

describe('a commonName template', () => {
  it.each([
    ['{{ tag "kuma.io/service" }}.mesh', 'backend', 'backend.mesh'],
    ['{{ tag "kuma.io/service" | replace "_" "-" }}.mesh', 'my_backend', 'my-backend.mesh'],
    ['{{ tag "kuma.io/service" | replace "_" "-" }}', 'a_b_c', 'a-b-c'],
    ['{{tag "kuma.io/service"|replace "_" "-"}}.mesh', 'my_backend', 'my-backend.mesh'],
    ['{{ tag `kuma.io/service` }}', 'web', 'web'],
    ['{{ tag "kuma.io/service" | replace "_" "." | replace "." "--" }}', 'a_b', 'a--b'],
    ['{{ tag "kuma.io/service" | replace "_" "" }}', 'a_b', 'ab'],
    ['{{ tag "kuma.io/service" }}.{{ tag "version" }}.mesh', 'web', 'web.v1.mesh'],
    ['a  {{- tag "kuma.io/service" -}}  b', 'web', 'awebb'],
    ['{{- tag "kuma.io/service" -}}', 'web', 'web'],
    ['{{ tag "kuma\\u002eio/service" | replace "\\x5f" "\\055" }}', 'a_b', 'a-b'],
    ['{{ tag "kuma.io/service" | replace "a" "\\"" }}', 'a', '"'],
    ['{{ tag "kuma.io/service" | replace "a" `"\\` }}', 'a', '"\\'],
    ['<{{ tag "kuma.io/service" }}> & \'x\'', 'web', "<web> & 'x'"],
    ['bücher-{{ tag "kuma.io/service" }}', 'web', 'bücher-web'],
    ['fixed.mesh', 'web', 'fixed.mesh'],
    ['{{\n tag "kuma.io/service" }}', 'web', 'web'],
    ['{{ tag "kuma.io/service" | replace "$" "x" }}', 'web', 'web'],
    ['{{ tag "kuma.io/service" | replace "w" "$&" }}', 'web', '$&eb'],
  ])('%s renders', (source, value, name) => {
    expect(render(source, value)).toBe(name);
  });

  it('takes the first of several values in sorted order', () => {
    expect(render('{{ tag "kuma.io/service" }}.mesh', 'web', 'api', 'backend')).toBe('api.mesh');
  });

  it('renders for one data plane after another', () => {
    const template = parseCommonName('{{ tag "kuma.io/service" }}.mesh');
    expect(template.source).toBe('{{ tag "kuma.io/service" }}.mesh');
    expect(['a', 'b', 'a'].map((value) => template.render(service(value)))).toEqual(['a.mesh', 'b.mesh', 'a.mesh']);
  });

  it('may have 64 characters, not 65', () => {
    expect(render('{{ tag "kuma.io/service" }}', 'a'.repeat(64))).toHaveLength(64);
    const error = errorOf(() => render('{{ tag "kuma.io/service" }}.mesh', 'a'.repeat(60)));
    expect(error).toBeInstanceOf(RequestInvalidError);
    expect(String(error)).toContain(
      `dataplane "dp-1": commonName template ${JSON.stringify('{{ tag "kuma.io/service" }}.mesh')} gives a name of 65 characters, at most 64 are allowed: "${'a'.repeat(60)}.mesh"`,
    );
  });

  it.each([
    [
      'a missing tag',
      '{{ tag "team" }}.mesh',
      'needs the tag "team", the data plane has the tags kuma.io/service=web version=v1',
    ],
    ['the name of a prototype', '{{ tag "constructor" }}', 'needs the tag "constructor"'],
    ['__proto__', '{{ tag "__proto__" }}', 'needs the tag "__proto__"'],
    ['nothing left', '{{ tag "version" | replace "v1" "" }}', 'gives an empty name'],
    ['only spaces', ' ', 'gives an empty name'],
  ])('tells the data plane and the template: %s', (_, source, message) => {
    const error = errorOf(() => render(source, 'web'));
    expect(error).toBeInstanceOf(RequestInvalidError);
    expect(String(error)).toContain(`dataplane "dp-1": commonName template ${JSON.stringify(source)} ${message}`);
    expect(error).toHaveProperty('fix', expect.any(String));
  });

  it('says so when the data plane has no tags at all', () => {
    const subject = { mesh: 'default', dataplane: 'dp-1', tags: createTags([]) };
    expect(String(errorOf(() => parseCommonName('{{ tag "a" }}').render(subject)))).toContain(
      'the data plane has no tags',
    );
  });

  it('is not blown up by replaces', () => {
    const source = `{{ tag "version" ${'| replace "v" "vvvvvvvvvvvvvvvvvvvvvvvv" '.repeat(20)}}}`;
    expect(String(errorOf(() => render(source, 'web')))).toContain('makes a text of more than 4096 characters');
  });
});

describe('a commonName template that is refused', () => {
  it.each([
    ['nothing', '', 1, 'is empty'],
    ['a statement', '{{#if x}}a{{/if}}', 3, 'unexpected "#", expected tag'],
    ['a partial', '{{> partial}}', 3, 'unexpected ">", expected tag'],
    ['a comment', '{{! x }}', 3, 'unexpected "!", expected tag'],
    ['a comment of Go', '{{/* x */}}', 3, 'unexpected "/", expected tag'],
    ['a triple brace', '{{{raw}}}', 3, 'unexpected "{", expected tag'],
    ['an unescaped value', '{{& raw}}', 3, 'unexpected "&", expected tag'],
    ['log', '{{log}}', 3, 'unknown function "log": an action starts with "tag"'],
    ['log with a text', '{{log "x"}}', 3, 'unknown function "log"'],
    ['lookup', '{{lookup this "x"}}', 3, 'unknown function "lookup"'],
    ['each', '{{each x}}', 3, 'unknown function "each"'],
    ['constructor', '{{constructor}}', 3, 'unknown function "constructor"'],
    ['__proto__', '{{__proto__}}', 3, 'unknown function "__proto__"'],
    ['this', '{{this}}', 3, 'unknown function "this"'],
    ['a field of Go', '{{ .Mesh }}', 4, 'unexpected ".", expected tag'],
    ['a variable', '{{ $x }}', 4, 'unexpected "$", expected tag'],
    ['data of Handlebars', '{{@root}}', 3, 'unexpected "@", expected tag'],
    ['a subexpression', '{{ (tag "a") }}', 4, 'unexpected "(", expected tag'],
    ['replace first', '{{ replace "a" "b" "c" }}', 4, 'unknown function "replace": an action starts with "tag"'],
    [
      'an unknown function in the pipe',
      '{{ tag "a" | upper }}',
      14,
      'unknown function "upper": after "|" only "replace" is known',
    ],
    ['a text in the pipe', '{{ tag "a" | "b" }}', 14, 'unexpected "\\"", expected replace'],
    ['an empty pipe', '{{ tag "a" | }}', 14, 'unexpected "}", expected replace'],
    ['tag without argument', '{{tag}}', 6, 'tag needs a name in quotes'],
    ['tag with a number', '{{ tag 5 }}', 8, 'tag needs a name in quotes'],
    ['tag with a path', '{{ tag kuma }}', 8, 'tag needs a name in quotes'],
    ['tag with a single quote', "{{ tag 'a' }}", 8, 'tag needs a name in quotes'],
    ['tag with two arguments', '{{ tag "a" "b" }}', 12, 'unexpected "\\"", expected "|" or "}}"'],
    ['tag with a hash', '{{ tag "a" x=1 }}', 12, 'unexpected "x", expected "|" or "}}"'],
    ['tag with an empty name', '{{ tag "" }}', 7, '"" cannot be the name of a tag'],
    ['tag with an impossible name', '{{ tag "a b" }}', 7, '"a b" cannot be the name of a tag'],
    ['replace with one argument', '{{ tag "a" | replace "b" }}', 26, 'replace needs two texts in quotes'],
    ['replace with a number', '{{ tag "a" | replace 1 "b" }}', 22, 'replace needs two texts in quotes'],
    ['replace with three arguments', '{{ tag "a" | replace "b" "c" "d" }}', 30, 'unexpected "\\""'],
    ['replace of nothing', '{{ tag "a" | replace "" "c" }}', 21, 'replace cannot replace an empty text'],
    ['a name cut off', '{{ tag "a', 8, 'this text is not closed by a quote'],
    ['a line break in a text', '{{ tag "a\n" }}', 8, 'this text is not closed by a quote'],
    ['an unknown escape', '{{ tag "\\q" }}', 9, 'unknown escape in a text'],
    ['a byte that is no ASCII', '{{ tag "\\xff" }}', 9, 'unknown escape in a text'],
    ['a code point out of range', '{{ tag "\\UFFFFFFFF" }}', 9, 'unknown escape in a text'],
    ['a bell', '{{ tag "a" | replace "a" "\\a" }}', 26, 'this text has a character that cannot be printed'],
    ['a NUL', 'a\0b', 2, 'a character that cannot be printed'],
    ['a mark that turns the direction', 'a\u202eb', 2, 'a character that cannot be printed'],
    ['half a character', 'a\ud800', 2, 'a character that cannot be printed'],
    ['an open action', 'x {{ tag "a"', 3, 'this action is not closed by }}'],
    ['an open action with a pipe', '{{ tag "a" |', 1, 'this action is not closed by }}'],
    ['two braces only', '{{', 1, 'this action is not closed by }}'],
    ['closing braces only', 'a }}', 3, 'a brace outside of an action cannot be part of a name'],
    ['one brace', '{ tag "a" }', 1, 'a brace outside of an action cannot be part of a name'],
    ['a trim marker that touches', '{{-tag "a"}}', 3, 'unexpected "-", expected tag'],
    ['a line break', 'a\n{{ tag "a" }}', 1, 'this text has a character that cannot be printed'],
    ['a carriage return at the end', '{{ tag "a" }}.mesh\r', 14, 'this text has a character that cannot be printed'],
    ['17 actions', '{{ tag "a" }}'.repeat(17), 209, 'has more than 16 actions'],
  ])('%s', (_, source, column, message) => {
    const [violation] = violationsOf(() => parseCommonName(source));
    expect(violation).toContain(`: template ${JSON.stringify(source)}, column ${column}: `);
    expect(violation).toContain(message);
    expect(errorOf(() => parseCommonName(source))).toHaveProperty('fix', expect.stringContaining('{{ tag "NAME" }}'));
  });

  it.each([
    ['10,000 open braces', '{'.repeat(10_000)],
    ['10,000 actions', '{{ tag "a" }}'.repeat(10_000)],
    ['a long text', 'a'.repeat(1025)],
  ])('for its length, and without repeating it: %s', (_, source) => {
    const [violation = ''] = violationsOf(() => parseCommonName(source));
    expect(violation).toContain('is longer than 1024 bytes');
    expect(violation.length).toBeLessThan(200);
  });

  it('with a clear reason, where the process forbids to generate code', () => {
    const script = `
      import { parseCommonName } from './src/mesh/common-name.ts';
      try { parseCommonName('{{ tag "a" }}'); } catch (error) { console.log(error.code, error.message, error.fix); }`;
    const node = ['--disallow-code-generation-from-strings', '--import', 'tsx', '--input-type=module', '-e', script];
    const { stdout } = spawnSync(process.execPath, node, { encoding: 'utf8' });
    expect(stdout).toContain('ERR_CONFIG_INVALID');
    expect(stdout).toContain('cannot be compiled: this process forbids code generation from strings');
    expect(stdout).toContain('start node without --disallow-code-generation-from-strings');
  });
});

describe('any text taken for a commonName template', () => {
  const pieces = [
    '{{',
    '}}',
    '{',
    '}',
    '{{-',
    ' -}}',
    ' ',
    'tag',
    'replace',
    '|',
    '"a"',
    '"kuma.io/service"',
    '`b`',
    '\\',
    '"',
    'log',
    'x',
    '.',
    '5',
    '(',
    ')',
    '#if',
    '\0',
  ];
  const anyText = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.array(fc.constantFrom(...pieces), { maxLength: 30 }).map((parts) => parts.join('')),
  );

  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('is read, or refused with a ConfigError; the console and the Handlebars of others stay untouched', () => {
    const log = vi.spyOn(console, 'log');
    const warn = vi.spyOn(console, 'warn');
    fc.assert(
      fc.property(anyText, (source) => {
        const error = errorOf(() => {
          const template = parseCommonName(source);
          const failed = errorOf(() => template.render(service('web')));
          if (failed !== undefined) expect(failed).toBeInstanceOf(RequestInvalidError);
        });
        if (error !== undefined) expect(error).toBeInstanceOf(ConfigError);
      }),
      { numRuns: 400 },
    );
    expect(Object.keys(Handlebars.helpers)).toContain('each');
    expect(log).not.toHaveBeenCalled();
    expect(warn).not.toHaveBeenCalled();
  });

  it('renders to its own text and the values of tags, and to nothing else', () => {
    const text = fc.string({ unit: fc.constantFrom(...'abc.-_<&"\'\\$'), maxLength: 8 });
    const value = fc.string({ unit: fc.constantFrom(...'xyz09._-'), minLength: 1, maxLength: 8 });
    const replacement = fc.tuple(fc.constantFrom('_', '-', 'x', '.'), text);
    const quote = (one: string) => JSON.stringify(one);
    fc.assert(
      fc.property(
        text,
        value,
        fc.array(replacement, { maxLength: 3 }),
        text,
        (before, tagValue, replacements, after) => {
          const pipe = replacements.map(([from, to]) => ` | replace ${quote(from)} ${quote(to)}`).join('');
          const wanted = replacements.reduce((current, [from, to]) => current.split(from).join(to), tagValue);
          const name = before + wanted + after;
          const work = () => render(`${before}{{ tag "kuma.io/service"${pipe} }}${after}`, tagValue);
          if (name.trim() !== '' && name.length <= 64) expect(work()).toBe(name);
          else expect(errorOf(work)).toBeInstanceOf(RequestInvalidError);
        },
      ),
      { numRuns: 200 },
    );
  });
});
