import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRequestReader } from './request-reader.ts';
import { shortenAnswer } from './shorten-answer.ts';

describe('the reader of HTTP requests', () => {
  it('finds the same requests however their bytes are cut', () => {
    const request = fc.record({
      method: fc.constantFrom('GET', 'POST', 'PUT'),
      path: fc.stringMatching(/^\/[a-z0-9/]{0,20}$/),
      body: fc.string({ maxLength: 60 }),
    });
    fc.assert(
      fc.property(fc.array(request, { maxLength: 5 }), fc.integer({ min: 1, max: 40 }), (requests, pieceLength) => {
        const bytes = Buffer.from(
          requests
            .map(
              ({ method, path, body }) =>
                `${method} ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
            )
            .join(''),
        );
        const read: unknown[] = [];
        const feed = createRequestReader(({ method, path, body }) => void read.push({ method, path, body }));
        for (let at = 0; at < bytes.length; at += pieceLength) feed(bytes.subarray(at, at + pieceLength));
        expect(read).toEqual(requests);
      }),
      { numRuns: 60 },
    );
  });

  it('leaves alone what is no HTTP', () => {
    const feed = createRequestReader(() => expect.unreachable());
    feed(Buffer.from([0x16, 0x03, 0x01, 0x0d, 0x0a, 0x0d, 0x0a]));
    feed(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  });
});

describe('an answer that is shortened', () => {
  const CASES = [
    {
      name: 'of known length',
      answer: 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: y\r\n\r\n{"a":"b"}',
      short: 'HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\n{"a"',
    },
    {
      name: 'in chunks',
      answer: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{"a":"b"}\r\n0\r\n\r\n',
      short: 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"a"',
    },
    { name: 'that is no HTTP', answer: '\x16\x03\x01\x02\x03', short: '\x16\x03\x01\x02' },
  ];
  it.each(CASES)('$name is whole as HTTP, and its body stops early', ({ answer, short }) => {
    expect(shortenAnswer(Buffer.from(answer), 4).toString()).toBe(short);
  });
});
