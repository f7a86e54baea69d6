import { context, TAG } from './der-reader.ts';
import { encodeOid, OIDS, type OidName } from './oids.ts';
import { X509Error } from './x509-error.ts';

/** Tag and minimal length of an element with `length` content octets. */
export function derHeader(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length]);
  const octets: number[] = [];
  for (let left = length; left > 0; left = Math.floor(left / 256)) octets.unshift(left % 256);
  return Buffer.from([tag, 0x80 | octets.length, ...octets]);
}

/** One element made of its contents. */
export function der(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const content of contents) length += content.length;
  return Buffer.concat([derHeader(tag, length), ...contents]);
}

export function sequence(...contents: readonly Uint8Array[]): Buffer {
  return der(TAG.sequence, ...contents);
}

/** SET OF: elements in the order that DER asks for (X.690 section 11.6). */
export function setOf(...elements: readonly Buffer[]): Buffer {
  return der(TAG.set, ...[...elements].sort(Buffer.compare));
}

/** `[n] EXPLICIT`, or a constructed type under `[n] IMPLICIT`. */
export function explicit(number: number, ...contents: readonly Uint8Array[]): Buffer {
  return der(context(number, 'constructed'), ...contents);
}

/** INTEGER from an unsigned big-endian number: leading zeros are dropped, a zero octet is added where the high bit is set. */
export function unsignedInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const digits = bytes.subarray(start);
  const first = digits[0];
  if (first === undefined) return der(TAG.integer, Buffer.of(0));
  return first >= 0x80 ? der(TAG.integer, Buffer.of(0), digits) : der(TAG.integer, digits);
}

/** INTEGER of a small number, 0 to 2^31-1. */
export function smallInteger(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return unsignedInteger(bytes);
}

export function oid(name: OidName): Buffer {
  return der(TAG.oid, encodeOid(OIDS[name]));
}

export function derNull(): Buffer {
  return der(TAG.null);
}

export function boolean(value: boolean): Buffer {
  return der(TAG.boolean, Buffer.of(value ? 0xff : 0));
}

export function octetString(content: Uint8Array): Buffer {
  return der(TAG.octetString, content);
}

/** BIT STRING of whole octets. */
export function bitString(content: Uint8Array): Buffer {
  return der(TAG.bitString, Buffer.of(0), content);
}

/** BIT STRING with named bits: trailing zero bits are left out, as DER asks (X.690 section 11.2.2). Bit 0 is the highest. */
export function namedBits(bits: readonly number[]): Buffer {
  if (bits.length === 0) return der(TAG.bitString, Buffer.of(0));
  const highest = Math.max(...bits);
  const octets = Buffer.alloc(Math.floor(highest / 8) + 1);
  for (const bit of bits) {
    const index = Math.floor(bit / 8);
    octets[index] = (octets[index] ?? 0) | (0x80 >> (bit % 8));
  }
  return der(TAG.bitString, Buffer.of(7 - (highest % 8)), octets);
}

/** Time of a Validity: UTCTime until 2049, GeneralizedTime after (RFC 5280, 4.1.2.5). Whole seconds, rounded down. */
export function time(instant: Date): Buffer {
  const text = formatTime(instant);
  return der(text.length === 13 ? TAG.utcTime : TAG.generalizedTime, Buffer.from(text, 'latin1'));
}

/** The content of {@link time}: 13 characters for UTCTime, 15 for GeneralizedTime. */
export function formatTime(instant: Date): string {
  const year = instant.getUTCFullYear();
  if (!(year >= 1950 && year <= 9999)) {
    throw new X509Error('time', 'a validity time is not between the years 1950 and 9999');
  }
  const rest =
    twoDigits(instant.getUTCMonth() + 1) +
    twoDigits(instant.getUTCDate()) +
    twoDigits(instant.getUTCHours()) +
    twoDigits(instant.getUTCMinutes()) +
    twoDigits(instant.getUTCSeconds());
  return `${year < 2050 ? twoDigits(year % 100) : year}${rest}Z`;
}

const TWO_DIGITS = Array.from({ length: 100 }, (_, n) => String(n).padStart(2, '0'));

function twoDigits(n: number): string {
  return TWO_DIGITS[n] ?? '';
}

/**
 * Writes DER from its end to its beginning into one buffer that is used again and again: content first, then the header in front of it,
 * whose length is known by then. Cheaper than concatenating by far, which is what the hot path needs.
 */
export class DerBackwardWriter {
  /** Place of the first octet written so far. */
  position = 0;
  private buffer: Buffer;

  constructor(capacity: number) {
    this.buffer = Buffer.allocUnsafeSlow(capacity);
  }

  /** Begins anew, with room for at least `capacity` octets. */
  start(capacity: number): this {
    if (capacity > this.buffer.length) this.buffer = Buffer.allocUnsafeSlow(capacity * 2);
    this.position = this.buffer.length;
    return this;
  }

  byte(value: number): void {
    this.position -= 1;
    this.buffer[this.position] = value;
  }

  bytes(content: Uint8Array): void {
    this.position -= content.length;
    this.buffer.set(content, this.position);
  }

  latin1(text: string): void {
    this.position -= text.length;
    this.buffer.write(text, this.position, 'latin1');
  }

  /** Tag and minimal length in front of what was written since `end` was the position. */
  header(tag: number, end: number): void {
    const length = end - this.position;
    if (length < 0x80) {
      this.byte(length);
    } else {
      let octets = 0;
      for (let left = length; left > 0; left >>>= 8) {
        this.byte(left & 0xff);
        octets++;
      }
      this.byte(0x80 | octets);
    }
    this.byte(tag);
  }

  /** A copy of what was written since `end` was the position. */
  written(end: number): Buffer {
    return Buffer.from(this.buffer.subarray(this.position, end));
  }
}
