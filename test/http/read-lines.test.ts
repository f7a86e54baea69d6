import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type Line, readLines } from '../../src/http/read-lines.ts';
import { systemClock } from '../../src/runtime/clock.ts';

const schema = z.strictObject({ dataplane: z.string() });
const MAX = 64;

/** The data planes of the lines, and the messages of those that are none. */
async function read(chunks: Iterable<Buffer>, idleMs = 60_000): Promise<string[]> {
  const told: string[] = [];
  const body = Readable.from(chunks, { objectMode: false, highWaterMark: 1024 });
  for await (const line of readLines(body, schema, { maxLineBytes: MAX, idleMs, clock: systemClock })) {
    told.push(tell(line));
  }
  return told;
}

function tell({ value, error }: Line<{ dataplane: string }>): string {
  return value?.dataplane ?? (error instanceof Error ? error.message : 'neither');
}

const line = (name: string) => JSON.stringify({ dataplane: name });
const TOO_LONG = 'x'.repeat(MAX + 1);

describe('lines of a body', () => {
  it.each([
    ['in one chunk', [`${line('a')}\n${TOO_LONG}\n${line('b')}\n${line('c')}`]],
    [
      'with the newline in a later chunk',
      [`${line('a')}\n${TOO_LONG}`, TOO_LONG, `\n${line('b')}\n`, `${line('c')}\n`],
    ],
  ])('are all read where one is too long, which is told: %s', async (_name, chunks) => {
    expect(await read(chunks.map((text) => Buffer.from(text)))).toEqual([
      'a',
      'line 2 is larger than 64 bytes',
      'b',
      'c',
    ]);
  });

  it('are told by their number where they are no JSON', async () => {
    expect(await read([Buffer.from(`${line('a')}\n\n{"dataplane": secret}\r\n${line('b')}\r\n`)])).toEqual([
      'a',
      'line 3 is not JSON: unexpected character at line 1, column 15',
      'b',
    ]);
  });

  it('end with the last one, also when nothing ends it, however it is too long', async () => {
    expect(await read([Buffer.from(`${line('a')}\n${TOO_LONG}`)])).toEqual(['a', 'line 2 is larger than 64 bytes']);
    expect(await read([])).toEqual([]);
  });

  it('are the same however they are cut into chunks', async () => {
    const lines = fc.array(
      fc.oneof(fc.string({ maxLength: 20 }).map(line), fc.constant(TOO_LONG), fc.constant(''), fc.constant('{')),
      { maxLength: 12 },
    );
    await fc.assert(
      fc.asyncProperty(
        lines,
        fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 8 }),
        async (all, cuts) => {
          const text = Buffer.from(all.join('\n'));
          const chunks: Buffer[] = [];
          for (let at = 0, turn = 0; at < text.length; turn += 1) {
            const size = cuts[turn % cuts.length] ?? 1;
            chunks.push(text.subarray(at, at + size));
            at += size;
          }
          expect(await read(chunks)).toEqual(await read([text]));
          expect(await read([text])).toHaveLength(all.filter((one) => one !== '').length);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('are at most 100,000, empty ones too', async () => {
    const told = await read([Buffer.from('\n'.repeat(100_000)), Buffer.from(line('one more'))]);
    expect(told).toEqual(['more than 100000 lines in one request']);
  });

  it('are read to the end only while not too much is too long', async () => {
    const mebibyte = Buffer.alloc(1024 * 1024, 120);
    const told = await read([...Array.from({ length: 17 }, () => mebibyte), Buffer.from(`\n${line('late')}`)]);
    expect(told).toEqual(['line 1 is larger than 64 bytes', 'too much of the request is in too long lines']);
  });

  it('end with an error when their sender falls silent', async () => {
    const body = new Readable({ read() {} });
    body.push(`${line('a')}\n`);
    const lines = readLines(body, schema, { maxLineBytes: MAX, idleMs: 50, clock: systemClock });
    const told: string[] = [];
    for await (const one of lines) told.push(tell(one));
    expect(told).toEqual(['a', 'no line for 0.05 s']);
    expect(body.destroyed).toBe(false);
  });

  it('break off when their sender is gone', async () => {
    const body = new Readable({ read() {} });
    body.push(`${line('a')}\n`);
    const lines = readLines(body, schema, { maxLineBytes: MAX, idleMs: 60_000, clock: systemClock });
    expect((await lines.next()).value).toEqual({ value: { dataplane: 'a' }, dataplane: 'a' });
    body.destroy();
    await expect(lines.next()).rejects.toThrow('the request ended before its body');
  });
});
