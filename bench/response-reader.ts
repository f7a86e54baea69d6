/** One answer of an HTTP/1.1 server. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: Buffer;
}

export interface ResponseReader {
  /**
   * Takes bytes as they come.
   * @returns the answer once it is whole
   * @throws Error when it is not one of the servers that we measure, or longer than 1 MiB
   */
  push(chunk: Buffer): HttpAnswer | undefined;
}

const HEAD_END = '\r\n\r\n';
const LINE_END = '\r\n';
const MAX_BYTES = 1024 * 1024;

/**
 * Reads the answers of one connection, one at a time: just enough HTTP to know where an answer ends (content-length, or chunks without
 * trailers), so that the client costs little beside the servers that it measures.
 */
export function createResponseReader(): ResponseReader {
  let bytes: Buffer = Buffer.alloc(0);
  return {
    push(chunk) {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      if (bytes.length > MAX_BYTES) throw new Error(`an answer is longer than ${MAX_BYTES} bytes`);
      const answer = readAnswer(bytes);
      if (answer === undefined) return undefined;
      if (answer.end !== bytes.length) throw new Error(`${bytes.length - answer.end} bytes follow an answer`);
      bytes = Buffer.alloc(0);
      return answer;
    },
  };
}

function readAnswer(bytes: Buffer): (HttpAnswer & { readonly end: number }) | undefined {
  const headEnd = bytes.indexOf(HEAD_END);
  if (headEnd < 0) return undefined;
  const head = bytes.toString('latin1', 0, headEnd);
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
  if (Number.isNaN(status)) throw new Error(`not an answer of HTTP/1.1: ${head.slice(0, 80)}`);
  const start = headEnd + HEAD_END.length;
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    const read = readChunks(bytes, start);
    return read === undefined ? undefined : { status, ...read };
  }
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  if (length === undefined && status !== 204) throw new Error(`an answer ${status} of unknown length`);
  const end = start + Number(length ?? 0);
  return bytes.length < end ? undefined : { status, body: bytes.subarray(start, end), end };
}

function readChunks(bytes: Buffer, start: number): { readonly body: Buffer; readonly end: number } | undefined {
  const parts: Buffer[] = [];
  let at = start;
  for (;;) {
    const lineEnd = bytes.indexOf(LINE_END, at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    if (Number.isNaN(size)) throw new Error('a chunk without a size');
    const dataStart = lineEnd + LINE_END.length;
    const dataEnd = dataStart + size;
    at = dataEnd + LINE_END.length;
    if (bytes.length < at) return undefined;
    if (bytes.toString('latin1', dataEnd, at) !== LINE_END) throw new Error('a chunk longer than it says');
    if (size === 0) return { body: Buffer.concat(parts), end: at };
    parts.push(bytes.subarray(dataStart, dataEnd));
  }
}
