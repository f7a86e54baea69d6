import { describe, expect, it } from 'vitest';
import { createResponseReader } from '../../bench/response-reader.ts';

/** Status and body of the answers, the bytes given in pieces of that size. */
function read(text: string, pieceSize: number): { status: number; body: string }[] {
  const reader = createResponseReader();
  const bytes = Buffer.from(text, 'latin1');
  const answers: { status: number; body: string }[] = [];
  for (let at = 0; at < bytes.length; at += pieceSize) {
    const answer = reader.push(bytes.subarray(at, at + pieceSize));
    if (answer !== undefined) answers.push({ status: answer.status, body: answer.body.toString('latin1') });
  }
  return answers;
}

const WITH_LENGTH = 'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a":12}';
const CHUNKED =
  'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\nB\r\n\r\n3456789}\r\r\n0\r\n\r\n';

const CASES: readonly { name: string; text: string; status: number; body: string }[] = [
  { name: 'a body of known length', text: WITH_LENGTH, status: 201, body: '{"a":12}' },
  { name: 'chunks, with line ends inside them', text: CHUNKED, status: 200, body: '{"a":\r\n3456789}\r' },
  { name: 'an empty body', text: 'HTTP/1.1 304 Not Modified\r\ncontent-length: 0\r\n\r\n', status: 304, body: '' },
  { name: 'no body at all', text: 'HTTP/1.1 204 No Content\r\nserver: x\r\n\r\n', status: 204, body: '' },
];

describe('the reader of answers', () => {
  for (const { name, text, status, body } of CASES) {
    it(`reads ${name}, however it is cut into pieces`, () => {
      for (let size = 1; size <= text.length; size += 1) expect(read(text, size)).toEqual([{ status, body }]);
    });
  }

  it('reads one answer after another', () => {
    const reader = createResponseReader();
    const statuses = [WITH_LENGTH, CHUNKED, WITH_LENGTH].map((text) => reader.push(Buffer.from(text))?.status);
    expect(statuses).toEqual([201, 200, 201]);
  });

  const refused: readonly { name: string; text: string; message: string }[] = [
    { name: 'an answer that nobody asked for', text: `${WITH_LENGTH}HTTP/1.1 200`, message: 'follow an answer' },
    { name: 'what is no HTTP', text: 'SSH-2.0\r\n\r\n', message: 'not an answer of HTTP/1.1' },
    { name: 'an answer without an end', text: 'HTTP/1.1 200 OK\r\n\r\nabc', message: 'of unknown length' },
    {
      name: 'a chunk without a size',
      text: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n',
      message: 'without a size',
    },
    {
      name: 'a chunk longer than it says',
      text: 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabcd\r\n',
      message: 'longer than it says',
    },
    { name: 'an endless answer', text: 'x'.repeat(1024 * 1024 + 1), message: 'longer than 1048576' },
  ];
  for (const { name, text, message } of refused) {
    it(`refuses ${name}`, () => expect(() => createResponseReader().push(Buffer.from(text))).toThrow(message));
  }
});
