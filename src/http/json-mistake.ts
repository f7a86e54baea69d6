/** Where a text stops being JSON. Lines and columns start at 1, columns count UTF-16 units. */
export interface JsonMistake {
  readonly what: 'unexpected character' | 'unexpected end';
  readonly line: number;
  readonly column: number;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const NUMBER_START = /-?(?:(?:0|[1-9]\d*)(?:\.\d*)?(?:(?<=\d)[eE][+-]?)?)?/y;
const BLANKS = /[ \t\n\r]*/y;
/** All but quote, backslash and control characters. */
const PLAIN = /[ -!#-[\]-\uffff]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const ESCAPE_START = /\\(?:u[0-9a-fA-F]{0,3})?/y;
const WORDS = ['true', 'false', 'null'];

/**
 * Finds the first mistake (RFC 8259) of a text that `JSON.parse` refused. JSON.parse itself tells it with a snippet of the text, which may
 * be a secret; this tells the place only. Undefined when the text is JSON.
 */
export function findJsonMistake(text: string): JsonMistake | undefined {
  const at = new Scanner(text).mistakeAt();
  if (at === undefined) return undefined;
  const before = text.slice(0, at);
  const lineStart = before.lastIndexOf('\n') + 1;
  return {
    what: at >= text.length ? 'unexpected end' : 'unexpected character',
    line: before.split('\n').length,
    column: at - lineStart + 1,
  };
}

/** What may stand at the present place. */
type Expected = 'value' | 'value or ]' | 'name' | 'name or }' | 'colon' | 'comma or end';

/** One pass without recursion: nesting costs an entry of a list. */
class Scanner {
  readonly #text: string;
  #at = 0;
  /** The brackets that are open. */
  readonly #open: ('[' | '{')[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  /** Offset of the first character that does not fit; the length of the text when it ends too early. */
  mistakeAt(): number | undefined {
    let expected: Expected | undefined = 'value';
    for (;;) {
      this.#skip(BLANKS);
      const here = this.#at;
      if (here >= this.#text.length) return this.#open.length === 0 && expected === 'comma or end' ? undefined : here;
      expected = this.#step(expected);
      if (expected === undefined) return this.#at;
    }
  }

  /** Takes one token. Undefined: it does not fit, and `#at` is the place. */
  #step(expected: Expected): Expected | undefined {
    const char = this.#text.charAt(this.#at);
    switch (expected) {
      case 'colon':
        return this.#take(char === ':', 'value');
      case 'name or }':
        if (char === '}') return this.#close();
        return this.#name(char);
      case 'name':
        return this.#name(char);
      case 'value or ]':
        return char === ']' ? this.#close() : this.#value(char);
      case 'value':
        return this.#value(char);
      case 'comma or end': {
        const within = this.#open.at(-1);
        if (char === ',' && within !== undefined) return this.#take(true, within === '[' ? 'value' : 'name');
        return (char === ']' && within === '[') || (char === '}' && within === '{') ? this.#close() : undefined;
      }
    }
  }

  #take(fits: boolean, next: Expected): Expected | undefined {
    if (!fits) return undefined;
    this.#at += 1;
    return next;
  }

  #close(): Expected | undefined {
    this.#open.pop();
    return this.#take(true, 'comma or end');
  }

  #name(char: string): Expected | undefined {
    return char === '"' && this.#string() ? 'colon' : undefined;
  }

  #value(char: string): Expected | undefined {
    if (char === '"') return this.#string() ? 'comma or end' : undefined;
    if (char === '[' || char === '{') {
      this.#open.push(char);
      return this.#take(true, char === '[' ? 'value or ]' : 'name or }');
    }
    const from = this.#at;
    if (this.#skip(NUMBER)) {
      const number = this.#at;
      // `1.` and `1e` start as numbers and break off later than the longest number in them.
      this.#at = from;
      this.#skip(NUMBER_START);
      if (this.#at <= number) this.#at = number;
      return this.#at === number ? 'comma or end' : undefined;
    }
    if (this.#skip(NUMBER_START)) return undefined;
    return this.#word() ? 'comma or end' : undefined;
  }

  #word(): boolean {
    const word = WORDS.find((one) => one.charAt(0) === this.#text.charAt(this.#at));
    if (word === undefined) return false;
    for (const char of word) {
      if (this.#text.charAt(this.#at) !== char) return false;
      this.#at += 1;
    }
    return true;
  }

  #string(): boolean {
    this.#at += 1;
    for (;;) {
      this.#skip(PLAIN);
      if (this.#text.charAt(this.#at) === '"') {
        this.#at += 1;
        return true;
      }
      if (this.#skip(ESCAPE)) continue;
      this.#skip(ESCAPE_START);
      return false;
    }
  }

  /** Moves over what the pattern matches here. False: nothing. */
  #skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    const length = pattern.exec(this.#text)?.[0].length ?? 0;
    this.#at += length;
    return length > 0;
  }
}
