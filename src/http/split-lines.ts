/** A line without its newline. `bytes` is undefined where it was too long to be kept. */
export interface RawLine {
  /** Starts at 1; empty lines count. */
  readonly number: number;
  readonly bytes: Buffer | undefined;
}

/** Cuts chunks into lines and never holds more than one line of `maxBytes`. A longer one is told once and passed over. */
export class LineSplitter {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #size = 0;
  #tooLong = false;
  #number = 1;
  #passedOver = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes of too long lines so far. */
  get passedOver(): number {
    return this.#passedOver;
  }

  *push(chunk: Buffer): Generator<RawLine> {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      yield* this.#add(chunk.subarray(from, end));
      yield* this.end();
      from = end + 1;
    }
    yield* this.#add(chunk.subarray(from));
  }

  /** The line that is under way, for the end of the text. */
  *end(): Generator<RawLine> {
    const line = { number: this.#number, bytes: Buffer.concat(this.#parts, this.#size) };
    const known = this.#tooLong;
    this.#parts = [];
    this.#size = 0;
    this.#tooLong = false;
    this.#number += 1;
    if (!known) yield line;
  }

  *#add(part: Buffer): Generator<RawLine> {
    if (this.#tooLong) this.#passedOver += part.length;
    else if (this.#size + part.length > this.#maxBytes) {
      this.#passedOver += this.#size + part.length;
      this.#parts = [];
      this.#size = 0;
      this.#tooLong = true;
      yield { number: this.#number, bytes: undefined };
    } else if (part.length > 0) {
      this.#parts.push(part);
      this.#size += part.length;
    }
  }
}
