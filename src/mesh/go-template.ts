import { ConfigError } from '../issuer/errors.ts';
import { isTagName } from './tags.ts';

/** A template, read: plain text, or the value of a tag with replacements made one after the other. */
export type TemplatePart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'tag'; readonly tag: string; readonly replacements: readonly Replacement[] };

export interface Replacement {
  readonly from: string;
  readonly to: string;
}

const MAX_BYTES = 1024;
const MAX_ACTIONS = 16;
/** Control and format characters, surrogates, private use, line and paragraph separators: nothing of a name. */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

/** White space beside an action may be cut off by a trim marker; what stays is refused. */
const UNPRINTABLE_BUT_SPACE = /(?![\t\r\n])[\p{C}\p{Zl}\p{Zp}]/u;

/** True when all of it may stand in a common name. */
export function isPrintable(text: string): boolean {
  return !UNPRINTABLE.test(text);
}

/**
 * Reads the part of Go's template language that Kong Mesh documents for `commonName`: text, `{{ tag "NAME" }}` and
 * `{{ tag "NAME" | replace "OLD" "NEW" }}` with any number of replaces, Go's string literals and trim markers (`{{-`, `-}}`).
 * @throws ConfigError with what and at which column
 */
export function readGoTemplate(source: string): TemplatePart[] {
  if (source === '') throw mistake(source, 0, 'is empty');
  if (Buffer.byteLength(source) > MAX_BYTES) {
    throw mistake(`${source.slice(0, 40)}...`, 0, `is longer than ${MAX_BYTES} bytes`);
  }
  return new Reader(source).parts();
}

const NOT_PRINTABLE = 'this text has a character that cannot be printed';

function mistake(source: string, index: number, what: string): ConfigError {
  const message = `template ${JSON.stringify(source)}, column ${index + 1}: ${what}`;
  return new ConfigError(message, {
    violations: [{ field: '', message }],
    fix: 'use text, {{ tag "NAME" }} and {{ tag "NAME" | replace "OLD" "NEW" }} only',
  });
}

class Reader {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  parts(): TemplatePart[] {
    const parts: TemplatePart[] = [];
    let actions = 0;
    let trimsNext = false;
    for (;;) {
      const start = this.#at;
      const { text, open } = this.#text(trimsNext);
      if (!isPrintable(text)) this.#fail(NOT_PRINTABLE, start);
      if (text !== '') parts.push({ kind: 'text', text });
      if (open === undefined) return parts;
      actions += 1;
      if (actions > MAX_ACTIONS) this.#fail(`has more than ${MAX_ACTIONS} actions`, open);
      const action = this.#action(open);
      parts.push(action.part);
      trimsNext = action.trimsNext;
    }
  }

  /** The text up to the next action, of which `open` is the index, or up to the end. */
  #text(trimsStart: boolean): { text: string; open: number | undefined } {
    const start = this.#at;
    const found = this.#source.indexOf('{{', start);
    const end = found === -1 ? this.#source.length : found;
    let text = this.#source.slice(start, end);
    this.#checkText(text, start);
    if (trimsStart) text = text.replace(/^[ \t\r\n]+/, '');
    if (found === -1) return { text, open: undefined };
    this.#at = found + 2;
    if (/^-[ \t\r\n]/.test(this.#source.slice(this.#at, this.#at + 2))) {
      this.#at += 1;
      text = text.replace(/[ \t\r\n]+$/, '');
    }
    return { text, open: found };
  }

  #action(open: number): { part: TemplatePart; trimsNext: boolean } {
    this.#skipSpace();
    this.#expectWord('tag', open);
    const tagAt = this.#at;
    const tag = this.#literal('tag', 'a name in quotes, as in {{ tag "kuma.io/service" }}');
    if (!isTagName(tag)) this.#fail(`${JSON.stringify(tag)} cannot be the name of a tag`, tagAt);
    const replacements: Replacement[] = [];
    for (;;) {
      const before = this.#at;
      this.#skipSpace();
      if (this.#source.startsWith('}}', this.#at)) {
        this.#at += 2;
        return { part: { kind: 'tag', tag, replacements }, trimsNext: false };
      }
      if (this.#at > before && this.#source.startsWith('-}}', this.#at)) {
        this.#at += 3;
        return { part: { kind: 'tag', tag, replacements }, trimsNext: true };
      }
      if (this.#at >= this.#source.length) this.#fail('this action is not closed by }}', open);
      if (this.#source[this.#at] !== '|') this.#unexpected('"|" or "}}"');
      this.#at += 1;
      this.#skipSpace();
      this.#expectWord('replace', open);
      const fromAt = this.#at;
      const from = this.#literal('replace', 'two texts in quotes, as in replace "_" "-"');
      const to = this.#literal('replace', 'two texts in quotes, as in replace "_" "-"');
      if (from === '') this.#fail('replace cannot replace an empty text', fromAt);
      replacements.push({ from, to });
    }
  }

  #expectWord(word: 'tag' | 'replace', open: number): void {
    if (this.#at >= this.#source.length) this.#fail('this action is not closed by }}', open);
    const found = /^[A-Za-z_][A-Za-z0-9_]*/.exec(this.#source.slice(this.#at))?.[0];
    if (found === undefined) this.#unexpected(word);
    if (found !== word) {
      const where = word === 'tag' ? 'an action starts with "tag"' : 'after "|" only "replace" is known';
      this.#fail(`unknown function ${JSON.stringify(found)}: ${where}`, this.#at);
    }
    this.#at += word.length;
  }

  /** One string literal of Go. */
  #literal(owner: string, wanted: string): string {
    this.#skipSpace();
    const start = this.#at;
    const quote = this.#source[start];
    if (quote !== '"' && quote !== '`') this.#fail(`${owner} needs ${wanted}`, start);
    this.#at += 1;
    let text = '';
    for (;;) {
      const character = this.#source[this.#at];
      if (character === undefined || (character === '\n' && quote === '"')) {
        this.#fail('this text is not closed by a quote', start);
      }
      this.#at += 1;
      if (character === quote) break;
      text += character === '\\' && quote === '"' ? this.#escape() : character;
    }
    if (!isPrintable(text)) this.#fail(NOT_PRINTABLE, start);
    return text;
  }

  /** What follows a backslash, as in Go; bytes beyond ASCII have to be written as code points. */
  #escape(): string {
    const rest = this.#source.slice(this.#at);
    const simple = SIMPLE_ESCAPES.get(rest[0] ?? '');
    if (simple !== undefined) {
      this.#at += 1;
      return simple;
    }
    const match = /^(?:x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(rest);
    const [whole = '', hex, octal, short, long] = match ?? [];
    const code = octal === undefined ? Number.parseInt(hex ?? short ?? long ?? '', 16) : Number.parseInt(octal, 8);
    const isByte = hex !== undefined || octal !== undefined;
    if (!match || code > 0x10ffff || (isByte && code > 0x7f)) this.#fail('unknown escape in a text', this.#at - 1);
    this.#at += whole.length;
    return String.fromCodePoint(code);
  }

  #skipSpace(): void {
    while (/[ \t\r\n]/.test(this.#source[this.#at] ?? '')) this.#at += 1;
  }

  #checkText(text: string, start: number): void {
    const brace = text.search(/[{}]/);
    if (brace !== -1) this.#fail('a brace outside of an action cannot be part of a name', start + brace);
    const bad = text.search(UNPRINTABLE_BUT_SPACE);
    if (bad !== -1) this.#fail('a character that cannot be printed', start + bad);
  }

  #unexpected(wanted: string): never {
    const found = JSON.stringify(String.fromCodePoint(this.#source.codePointAt(this.#at) ?? 0));
    this.#fail(`unexpected ${found}, expected ${wanted}`, this.#at);
  }

  #fail(what: string, index: number): never {
    throw mistake(this.#source, index, what);
  }
}

const SIMPLE_ESCAPES: ReadonlyMap<string, string> = new Map([
  ['a', '\x07'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
  ['v', '\v'],
  ['\\', '\\'],
  ['"', '"'],
]);
