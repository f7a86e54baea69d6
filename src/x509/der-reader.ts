import type { OidKey } from './oids.ts';
import { X509Error } from './x509-error.ts';

/** Tag octets of X.690 that X.509 uses. `context(n)` gives the others. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

const CONSTRUCTED = 0x20;

/** A context-specific tag: `[n]` IMPLICIT of a primitive, or EXPLICIT / of a constructed type. */
export function context(number: number, form: 'primitive' | 'constructed' = 'primitive'): number {
  return 0x80 | (form === 'constructed' ? CONSTRUCTED : 0) | number;
}

/** Deepest nesting we follow. A certificate needs 9. */
const MAX_DEPTH = 16;
/** Content octets of an OID. The longest in use have about 20. */
const MAX_OID_BYTES = 64;
/** Octets that a length may take: up to 16 MiB, far above every cap of our own. */
const MAX_LENGTH_OCTETS = 3;

/**
 * A strict reader of DER (X.690 section 10): definite, minimal lengths; low tag numbers; nothing beyond the end; nesting capped. It is a
 * cursor over one buffer: `next` or `expect` moves to an element, whose place then stands in `tag`, `start`, `contentStart` and `end`;
 * `inside` opens it. Nothing is copied, and nothing but a child reader is allocated. Every fault is an {@link X509Error}.
 */
export class DerReader {
  readonly bytes: Buffer;
  /** What is being read, for messages. */
  readonly what: string;
  /** The current element: its tag, first octet, first content octet, and the octet behind it. */
  tag = -1;
  start = 0;
  contentStart = 0;
  end: number;

  private readonly limit: number;
  private readonly depth: number;

  constructor(bytes: Buffer, what: string, from = 0, limit = bytes.length, depth = 0) {
    if (depth > MAX_DEPTH) throw new X509Error('depth', `${what} is nested more than ${MAX_DEPTH} levels deep`);
    this.bytes = bytes;
    this.what = what;
    this.end = from;
    this.limit = limit;
    this.depth = depth;
  }

  /** True when no element follows. */
  get atEnd(): boolean {
    return this.end >= this.limit;
  }

  /** Tag of the element that follows; -1 when there is none. */
  get nextTag(): number {
    return this.end < this.limit ? (this.bytes[this.end] as number) : -1;
  }

  /** Moves to the element that follows, whatever its tag. */
  next(): this {
    const { bytes, limit } = this;
    const start = this.end;
    if (start + 2 > limit) throw new X509Error('truncated', `${this.what} ends before its time`);
    const tag = bytes[start] as number;
    if ((tag & 0x1f) === 0x1f) throw new X509Error('high-tag-number', `${this.what} holds a multi-byte tag`);
    let contentStart = start + 2;
    let length = bytes[start + 1] as number;
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0)
        throw new X509Error('indefinite-length', `${this.what} holds an indefinite length (BER, not DER)`);
      if (octets > MAX_LENGTH_OCTETS) throw new X509Error('length-too-large', `${this.what} claims a huge length`);
      if (contentStart + octets > limit) throw new X509Error('truncated', `${this.what} ends before its time`);
      length = 0;
      for (let i = 0; i < octets; i++) length = length * 256 + (bytes[contentStart + i] as number);
      if (length < 0x80 || bytes[contentStart] === 0) {
        throw new X509Error('non-minimal-length', `${this.what} holds a length that is not minimal (BER, not DER)`);
      }
      contentStart += octets;
    }
    if (contentStart + length > limit) throw new X509Error('truncated', `${this.what} ends before its time`);
    this.tag = tag;
    this.start = start;
    this.contentStart = contentStart;
    this.end = contentStart + length;
    return this;
  }

  /** Moves to the element that follows, which must have this tag. */
  expect(tag: number): this {
    if (this.nextTag !== tag) {
      const found = this.atEnd ? 'its end' : `tag 0x${this.nextTag.toString(16).padStart(2, '0')}`;
      const wanted = `0x${tag.toString(16).padStart(2, '0')}`;
      throw new X509Error('unexpected-tag', `${this.what} has ${found} where tag ${wanted} must stand`);
    }
    return this.next();
  }

  /** Opens the current element. */
  inside(what: string = this.what): DerReader {
    return new DerReader(this.bytes, what, this.contentStart, this.end, this.depth + 1);
  }

  /** Ends reading: nothing may follow. */
  finish(): void {
    if (!this.atEnd)
      throw new X509Error('trailing-bytes', `${this.what} is followed by bytes that do not belong to it`);
  }

  /** A view of the current element's content. */
  content(): Buffer {
    return this.bytes.subarray(this.contentStart, this.end);
  }

  /** A view of the current element with its tag and length. */
  element(): Buffer {
    return this.bytes.subarray(this.start, this.end);
  }

  /** BOOLEAN: one octet, 0x00 or 0xff. */
  boolean(): boolean {
    this.expect(TAG.boolean);
    this.checkBoolean();
    return this.bytes[this.contentStart] === 0xff;
  }

  /** INTEGER: the content octets, two's complement, minimal. */
  integer(): Buffer {
    this.expect(TAG.integer);
    this.checkInteger();
    return this.content();
  }

  /** INTEGER that must be between 0 and 2^31-1. */
  smallInteger(): number {
    const content = this.integer();
    if (content.length > 4 || (content[0] as number) >= 0x80) {
      throw new X509Error('integer-range', `${this.what} holds a number that is out of range`);
    }
    return content.readUIntBE(0, content.length);
  }

  oid(): OidKey {
    this.expect(TAG.oid);
    this.checkOid();
    return this.bytes.toString('latin1', this.contentStart, this.end);
  }

  /** BIT STRING of whole octets (signatures, keys): a view without the leading "unused bits" octet, which must be 0. */
  wholeBitString(): Buffer {
    this.expect(TAG.bitString);
    if (this.end === this.contentStart || this.bytes[this.contentStart] !== 0) {
      throw new X509Error('unused-bits', `${this.what} holds a bit string that is not made of whole octets`);
    }
    return this.bytes.subarray(this.contentStart + 1, this.end);
  }

  /** BIT STRING of flags: the octets without the leading one. Unused bits must be 0. */
  flags(): Buffer {
    this.expect(TAG.bitString);
    this.checkBitString();
    return this.bytes.subarray(this.contentStart + 1, this.end);
  }

  /** Checks everything that is left, to the bottom, against the rules that hold for every type. For values we do not interpret. */
  checkRest(): void {
    while (!this.atEnd) {
      this.next();
      if ((this.tag & CONSTRUCTED) !== 0) this.inside().checkRest();
      else this.checkPrimitive();
    }
  }

  private checkPrimitive(): void {
    if (this.tag === TAG.boolean) this.checkBoolean();
    else if (this.tag === TAG.integer) this.checkInteger();
    else if (this.tag === TAG.bitString) this.checkBitString();
    else if (this.tag === TAG.oid) this.checkOid();
    else if (this.tag === TAG.null && this.end !== this.contentStart) {
      throw new X509Error('null', `${this.what} holds a NULL that is not empty`);
    } else if (this.tag === TAG.sequence - CONSTRUCTED || this.tag === TAG.set - CONSTRUCTED) {
      throw new X509Error('unexpected-tag', `${this.what} holds a SEQUENCE or SET in primitive form`);
    }
  }

  private checkBoolean(): void {
    const value = this.bytes[this.contentStart];
    if (this.end - this.contentStart !== 1 || (value !== 0 && value !== 0xff)) {
      throw new X509Error('boolean', `${this.what} holds a BOOLEAN that is neither 0x00 nor 0xff`);
    }
  }

  private checkInteger(): void {
    const { bytes, contentStart } = this;
    const length = this.end - contentStart;
    if (length === 0) throw new X509Error('integer-not-minimal', `${this.what} holds an INTEGER without content`);
    if (length === 1) return;
    const first = bytes[contentStart];
    const second = bytes[contentStart + 1] as number;
    if ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80)) {
      throw new X509Error('integer-not-minimal', `${this.what} holds an INTEGER that is not minimal`);
    }
  }

  private checkBitString(): void {
    const length = this.end - this.contentStart;
    const unused = this.bytes[this.contentStart] ?? 8;
    const last = this.bytes[this.end - 1] as number;
    if (length === 0 || unused > 7 || (length === 1 && unused !== 0) || (last & ((1 << unused) - 1) && length > 1)) {
      throw new X509Error('unused-bits', `${this.what} holds a BIT STRING whose unused bits are not 0`);
    }
  }

  private checkOid(): void {
    const { bytes, contentStart, end } = this;
    const length = end - contentStart;
    if (length > MAX_OID_BYTES) {
      throw new X509Error('oid-length', `${this.what} holds an object identifier of more than ${MAX_OID_BYTES} bytes`);
    }
    let atArcStart = true;
    for (let i = contentStart; i < end; i++) {
      const byte = bytes[i] as number;
      if (atArcStart && byte === 0x80)
        throw new X509Error('oid', `${this.what} holds an object identifier that is not minimal`);
      atArcStart = byte < 0x80;
    }
    if (length === 0 || !atArcStart)
      throw new X509Error('oid', `${this.what} holds an object identifier that is cut off`);
  }
}
