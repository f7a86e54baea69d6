import { type ClientRequest, request } from 'node:http';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createAccess } from '../../src/http/access.ts';
import { HTTP_LIMITS, type HttpLimits } from '../../src/http/limits.ts';
import type { Line } from '../../src/http/read-lines.ts';
import { type Call, json, type Route, route } from '../../src/http/route.ts';
import { createHttpServer, type HttpServer } from '../../src/http/server.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { createLog } from '../../src/runtime/create-log.ts';
import { createMetrics, type Metrics } from '../../src/runtime/metrics.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';

const common = { summary: '', tag: 'service', access: 'anyone', answers: {} } as const;
const ECHO_BODY = { kind: 'resource', schema: z.unknown(), maxBytes: 1000 } as const;

const ROUTES: readonly Route[] = [
  route<unknown>({
    ...common,
    method: 'PUT',
    path: '/echo/:name',
    body: ECHO_BODY,
    handle: ({ body }) => json(200, body),
  }),
  route<unknown>({ ...common, method: 'POST', path: '/hot/:name', hot: true, body: ECHO_BODY, handle: () => BROKEN }),
  { ...common, method: 'GET', path: '/broken', handle: () => BROKEN },
  route<AsyncIterable<Line<unknown>>>({
    ...common,
    method: 'POST',
    path: '/lines',
    body: { kind: 'lines', schema: z.unknown(), maxLineBytes: 1000 },
    handle: (call) => ({ status: 200, body: answers(call) }),
  }),
];
/** Node refuses to send such a header. */
const BROKEN = { ...json(200, {}), headers: { 'x-broken': 'a\nb' } };

async function* answers(call: Call<AsyncIterable<Line<unknown>>>): AsyncIterable<string> {
  for await (const { value, error } of call.body) {
    const told = value === 'unexpected' ? new Error('an unexpected reason') : error;
    yield `${JSON.stringify(told === undefined ? value : call.problem(told))}\n`;
  }
}

const JSON_TYPE = { 'content-type': 'application/json' };

interface Running {
  readonly port: number;
  readonly metrics: Metrics;
  readonly log: string[];
}

let server: HttpServer | undefined;
afterEach(() => server?.close(0));

async function start(limits: Partial<HttpLimits> = {}): Promise<Running> {
  const metrics = createMetrics();
  const log: string[] = [];
  server = createHttpServer({
    routes: ROUTES,
    access: createAccess({ localhostIsAdmin: true, apiToken: undefined }),
    clock: systemClock,
    random: createSystemRandom(),
    log: createLog({ level: 'debug', destination: { write: (text) => void log.push(text) } }),
    metrics,
    limits: { ...HTTP_LIMITS, ...limits },
  });
  return { port: (await server.listen('127.0.0.1', 0)).port, metrics, log };
}

/** Sends raw text and gives all that comes back until the connection ends. */
function talk(port: number, ...texts: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    let all = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(texts[0] ?? ''));
    let sent = 1;
    socket.on('data', (chunk) => {
      all += chunk.toString();
      const text = texts[sent];
      sent += 1;
      if (text !== undefined) socket.write(text);
    });
    socket.on('error', () => {}).on('close', () => resolve(all));
  });
}

function open(port: number, path: string, method = 'POST'): { client: ClientRequest; answer: Promise<string> } {
  const client = request({ port, host: '127.0.0.1', path, method });
  const answer = new Promise<string>((resolve, reject) => {
    client.on('error', reject).on('response', (response) => {
      let all = '';
      response.on('data', (chunk) => {
        all += String(chunk);
      });
      response.on('end', () => resolve(all)).on('error', reject);
    });
  });
  return { client, answer };
}

describe('a slow caller', () => {
  it('is cut off with 408 when its header does not come', async () => {
    const { port } = await start({ headersMs: 50, checkMs: 20 });
    expect(await talk(port, 'GET / HTTP/1.1\r\nhost: a\r\n')).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
  });

  it('is told 408 when its body does not come', async () => {
    const { port } = await start({ bodyMs: 50, restMs: 20 });
    const text = await talk(port, 'PUT /echo/a HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{"a"');
    expect(text).toMatch(/^HTTP\/1\.1 408 /);
    expect(text).toContain('the body did not come within 0.05 s');
  });

  it('may send lines for as long as it likes, when each comes in time', async () => {
    const { port } = await start({ bodyMs: 50, headersMs: 50, checkMs: 10, idleMs: 10_000 });
    const { client, answer } = open(port, '/lines');
    for (let count = 0; count < 6; count += 1) {
      client.write(`${count}\n`);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
    client.end();
    expect(await answer).toBe('0\n1\n2\n3\n4\n5\n');
  });

  it('that falls silent between lines gets the answers so far, the reason, and the end', async () => {
    const { port } = await start({ idleMs: 50, restMs: 20 });
    const { client, answer } = open(port, '/lines');
    client.write('1\n');
    const lines = (await answer).trim().split('\n');
    expect([lines.length, lines[0], JSON.parse(lines[1] ?? '')]).toEqual([
      2,
      '1',
      expect.objectContaining({ status: 408, detail: 'no line for 0.05 s' }),
    ]);
  });
});

describe('a caller whose HTTP breaks', () => {
  it('inside an answer sees the connection end, and no other answer in it', async () => {
    const { port } = await start();
    const text = await talk(
      port,
      'POST /lines HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n1\n\r\n',
      'no chunk\r\n',
    );
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(text).not.toContain('HTTP/1.1 4');
  });

  it.each([
    ['no HTTP', 'hello\r\n\r\n', '400 Bad Request'],
    ['too large headers', `GET / HTTP/1.1\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`, '431 Request Header Fields Too Large'],
  ])('with %s is told so', async (_name, text, status) => {
    const { port } = await start();
    expect((await talk(port, text)).split('\r\n')[0]).toBe(`HTTP/1.1 ${status}`);
  });
});

describe('an answer that cannot be sent', () => {
  it.each([
    ['GET', '/broken'],
    ['POST', '/hot/a'],
  ])('is a 500 and ends nothing: %s %s', async (method, path) => {
    const { port, log } = await start();
    const call = () =>
      fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        ...(method === 'POST' ? { body: '{}', headers: JSON_TYPE } : {}),
      });
    for (let count = 0; count < 2; count += 1) {
      const response = await call();
      const { instance, detail } = (await response.json()) as { instance: string; detail: string };
      expect([response.status, detail]).toEqual([500, 'Internal Server Error']);
      expect(log.join('')).toContain(instance);
    }
  });
});

describe('an unexpected error inside a stream', () => {
  it('is told by the id under which it stands in the log, and not by its text', async () => {
    const { port, log } = await start();
    const { client, answer } = open(port, '/lines');
    client.end('"unexpected"\n');
    const { instance, fix, detail } = JSON.parse(await answer);
    expect([detail, fix]).toEqual(['Internal Server Error', `look for request ${instance} in the log of mesh-ca`]);
    const lines = log.filter((text) => text.includes('an unexpected reason')).map((text) => JSON.parse(text));
    expect(lines).toEqual([expect.objectContaining({ level: 'error', requestId: instance })]);
  });
});

describe('metrics of requests', () => {
  it('name the route as OpenAPI does, and what no route takes "other"', async () => {
    const { port, metrics } = await start();
    const call = async (method: string, path: string) => {
      const body = method === 'PUT' ? { body: '{}', headers: JSON_TYPE } : {};
      await (await fetch(`http://127.0.0.1:${port}${path}`, { method, ...body })).arrayBuffer();
    };
    for (const [method, path] of [
      ['PUT', '/echo/one'],
      ['PUT', '/echo/two'],
      ['GET', '/echo/one'],
      ['GET', '/nowhere'],
      ['GET', '/%ff'],
    ] as const)
      await call(method, path);
    const counts = (await metrics.text()).match(/^mesh_ca_http_request_duration_seconds_count.*$/gm);
    expect(counts?.sort()).toEqual([
      'mesh_ca_http_request_duration_seconds_count{method="GET",route="other",status="404"} 2',
      'mesh_ca_http_request_duration_seconds_count{method="GET",route="other",status="405"} 1',
      'mesh_ca_http_request_duration_seconds_count{method="PUT",route="/echo/{name}",status="200"} 2',
    ]);
  });
});
