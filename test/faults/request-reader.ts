/** One HTTP request as a client wrote it. */
export interface ReadRequest {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

const HEAD_END = '\r\n\r\n';
const REQUEST_LINE = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/;

/**
 * Reads the requests of one plain HTTP/1.1 connection from its bytes, as they arrive in whatever pieces; bodies by Content-Length, as the clients
 * of our backends send them. What is no HTTP is left alone.
 */
export function createRequestReader(onRequest: (request: ReadRequest) => void): (chunk: Buffer) => void {
  let bytes: Buffer = Buffer.alloc(0);
  let isHttp = true;

  return (chunk) => {
    if (!isHttp) return;
    bytes = Buffer.concat([bytes, chunk]);
    for (;;) {
      const headEnd = bytes.indexOf(HEAD_END);
      if (headEnd < 0) return;
      const [first = '', ...lines] = bytes.subarray(0, headEnd).toString('latin1').split('\r\n');
      const match = REQUEST_LINE.exec(first);
      if (match === null) {
        isHttp = false;
        return;
      }
      const headers = new Map(lines.map(readHeader));
      const bodyEnd = headEnd + HEAD_END.length + Number(headers.get('content-length') ?? 0);
      if (bytes.length < bodyEnd) return;
      const body = bytes.subarray(headEnd + HEAD_END.length, bodyEnd).toString('utf8');
      bytes = bytes.subarray(bodyEnd);
      onRequest({ method: match[1] ?? '', path: match[2] ?? '', headers, body });
    }
  };
}

function readHeader(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
}
