import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { context, DerReader, TAG } from '../../src/x509/der-reader.ts';
import {
  bitString,
  boolean,
  DerBackwardWriter,
  der,
  namedBits,
  sequence,
  setOf,
  smallInteger,
  unsignedInteger,
} from '../../src/x509/der-writer.ts';
import { encodeOid, formatOid } from '../../src/x509/oids.ts';
import { X509Error } from '../../src/x509/x509-error.ts';

const read = (bytes: Buffer): DerReader => new DerReader(bytes, 'the value');

/** A DER value as a tree: a primitive with its content, or a constructed one with its parts. */
type Tree = { tag: number; content: Uint8Array } | { tag: number; parts: Tree[] };

const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { depthSize: 'small', maxDepth: 8 },
    fc.record({
      tag: fc.constantFrom(TAG.octetString, TAG.utf8String, context(2)),
      content: fc.uint8Array({ maxLength: 400 }),
    }),
    fc.record({
      tag: fc.constantFrom(TAG.sequence, TAG.set, context(0, 'constructed')),
      parts: fc.array(tie('tree'), { maxLength: 5 }),
    }),
  ),
}));

function write(value: Tree): Buffer {
  return 'parts' in value ? der(value.tag, ...value.parts.map(write)) : der(value.tag, value.content);
}

function writeBackward(writer: DerBackwardWriter, value: Tree): void {
  const end = writer.position;
  if ('parts' in value) for (const part of [...value.parts].reverse()) writeBackward(writer, part);
  else writer.bytes(value.content);
  writer.header(value.tag, end);
}

function readTree(reader: DerReader): Tree {
  const { tag } = reader.next();
  if ((tag & 0x20) === 0) return { tag, content: Uint8Array.from(reader.content()) };
  const inner = reader.inside();
  const parts: Tree[] = [];
  while (!inner.atEnd) parts.push(readTree(inner));
  return { tag, parts };
}

describe('DER', () => {
  it('reads back every tree that it wrote, forward or backward', () => {
    fc.assert(
      fc.property(tree, (value) => {
        const bytes = write(value);
        const reader = read(bytes);
        expect(readTree(reader)).toEqual(value);
        reader.finish();
        const writer = new DerBackwardWriter(16).start(bytes.length);
        const end = writer.position;
        writeBackward(writer, value);
        expect(writer.written(end).equals(bytes)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('has one encoding for each value: what the reader accepts, the writer writes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (random) => {
        const bytes = Buffer.from(random);
        const outcome = attempt(() => {
          const reader = read(bytes);
          const value = readTree(reader);
          reader.finish();
          return write(value);
        });
        expect(outcome instanceof X509Error || bytes.equals(outcome)).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it.each([0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 31 - 1])('keeps the number %i', (value) => {
    expect(read(smallInteger(value)).smallInteger()).toBe(value);
  });

  it('writes any unsigned number minimally, with leading zeros and high bits', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (bytes) => {
        const content = read(unsignedInteger(bytes)).integer();
        expect(content.readUInt8(0)).toBeLessThan(0x80);
        expect(BigInt(`0x${content.toString('hex')}`)).toBe(BigInt(`0x${Buffer.from(bytes).toString('hex')}`));
      }),
    );
  });

  it('keeps the order that DER asks for in a SET OF', () => {
    const parts = [smallInteger(300), smallInteger(2), smallInteger(1)];
    expect(setOf(...parts).toString('hex')).toBe('310a020101020102' + '0202012c');
  });

  it.each<[number[], string]>([
    [[], '030100'],
    [[0], '03020780'],
    [[5, 6], '03020106'],
    [[0, 2, 4], '030203a8'],
    [[8], '0303070080'],
  ])('writes the named bits %j without trailing zeros', (bits, hex) => {
    expect(namedBits(bits).toString('hex')).toBe(hex);
  });

  it.each(['2.5.4.3', '1.2.840.113549.1.1.11', '0.9.2342.19200300.100.1.1', '2.999.3', '1.3.6.1.4.1.4294967296'])(
    'keeps the object identifier %s',
    (dotted) => {
      const key = read(der(TAG.oid, encodeOid(dotted))).oid();
      expect(formatOid(key)).toBe(dotted);
    },
  );
});

describe('the DER reader refuses', () => {
  it.each<[string, string, (reader: DerReader) => unknown, string]>([
    ['an indefinite length', '30800000', (r) => r.next(), 'indefinite-length'],
    [
      'a length in too many octets',
      '0481 7f'.replace(' ', '') + '00'.repeat(127),
      (r) => r.next(),
      'non-minimal-length',
    ],
    ['a length with a leading zero', `04820080${'00'.repeat(128)}`, (r) => r.next(), 'non-minimal-length'],
    ['a length of four octets', '048401000000', (r) => r.next(), 'length-too-large'],
    ['a length whose octets are cut off', '0482', (r) => r.next(), 'truncated'],
    ['content that is cut off', '040201', (r) => r.next(), 'truncated'],
    ['a lonely tag', '04', (r) => r.next(), 'truncated'],
    ['a multi-byte tag', '1f8101' + '00', (r) => r.next(), 'high-tag-number'],
    ['another tag', '0400', (r) => r.expect(TAG.sequence), 'unexpected-tag'],
    ['trailing bytes', '040000', (r) => r.next() && r.finish(), 'trailing-bytes'],
    ['BOOLEAN 0x01', '010101', (r) => r.boolean(), 'boolean'],
    ['BOOLEAN of two octets', '0102ffff', (r) => r.boolean(), 'boolean'],
    ['an empty BOOLEAN', '0100', (r) => r.boolean(), 'boolean'],
    ['an empty INTEGER', '0200', (r) => r.integer(), 'integer-not-minimal'],
    ['INTEGER 0001', '02020001', (r) => r.integer(), 'integer-not-minimal'],
    ['INTEGER ff80', '0202ff80', (r) => r.integer(), 'integer-not-minimal'],
    ['a negative number where none may be', '0201ff', (r) => r.smallInteger(), 'integer-range'],
    ['a number of five octets', '02050100000000', (r) => r.smallInteger(), 'integer-range'],
    ['an empty BIT STRING', '0300', (r) => r.wholeBitString(), 'unused-bits'],
    ['unused bits in whole octets', '030204f0', (r) => r.wholeBitString(), 'unused-bits'],
    ['unused bits that are not 0', '030204ff', (r) => r.flags(), 'unused-bits'],
    ['8 unused bits', '03020800', (r) => r.flags(), 'unused-bits'],
    ['unused bits of nothing', '030101', (r) => r.flags(), 'unused-bits'],
    ['an empty OID', '0600', (r) => r.oid(), 'oid'],
    ['an OID that is cut off', '06022a86', (r) => r.oid(), 'oid'],
    ['an OID with a padded arc', '06032a8001', (r) => r.oid(), 'oid'],
    ['a SEQUENCE in primitive form', '1000', (r) => r.checkRest(), 'unexpected-tag'],
    ['17 levels', '3000', () => read(nested(17)).checkRest(), 'depth'],
  ])('%s', (_, hex, action, rule) => {
    expect(() => action(read(Buffer.from(hex, 'hex')))).toThrow(expect.objectContaining({ name: 'X509Error', rule }));
  });

  it('but not 16 levels', () => {
    expect(() => read(nested(16)).checkRest()).not.toThrow();
    expect(() =>
      read(Buffer.concat([boolean(true), bitString(Buffer.of(1)), boolean(false)])).checkRest(),
    ).not.toThrow();
  });
});

function nested(levels: number): Buffer {
  let value = sequence();
  for (let i = 1; i < levels; i++) value = sequence(value);
  return value;
}

function attempt(action: () => Buffer): Buffer | X509Error {
  try {
    return action();
  } catch (error) {
    if (error instanceof X509Error) return error;
    throw error;
  }
}
