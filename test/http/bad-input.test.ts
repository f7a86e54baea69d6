import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodePem } from '../../src/x509/pem.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';
import { MALFORMED_CSRS } from '../x509/malformed-csr.ts';

let test: TestApp;
beforeAll(async () => {
  test = await startTestApp();
  await test.ok('PUT', '/meshes/default', builtinMesh('default'));
});
afterAll(() => test.close());

const PATH = '/meshes/default/dataplanes/web-1/_certificate';
const MAX_BODY = 128 * 1024;
const TAGS = { 'kuma.io/service': 'web' };

const BODIES: readonly { name: string; body: string; status: number; field?: string }[] = [
  { name: 'no JSON', body: '{', status: 400 },
  { name: 'a list', body: '[]', status: 400 },
  { name: 'null', body: 'null', status: 400 },
  { name: 'an unknown field', body: '{"tagz": {}}', status: 400, field: 'tagz' },
  { name: 'an unknown field with blanks', body: '{"a b": {}}', status: 400, field: '["a b"]' },
  { name: 'tags of a wrong type', body: '{"tags": 5}', status: 400, field: 'tags' },
  {
    name: 'a tag value of a wrong type',
    body: '{"tags": {"kuma.io/service": 5}}',
    status: 400,
    field: 'tags["kuma.io/service"]',
  },
  { name: 'force of a wrong type', body: '{"force": "yes"}', status: 400, field: 'force' },
  { name: 'a csr of a wrong type', body: '{"csr": {}}', status: 400, field: 'csr' },
  { name: 'a csr that is no PEM', body: JSON.stringify({ csr: 'hello', tags: TAGS }), status: 400, field: 'csr' },
  {
    name: 'a certificate as csr',
    body: JSON.stringify({ csr: encodePem('CERTIFICATE', Buffer.alloc(3)), tags: TAGS }),
    status: 400,
    field: 'csr',
  },
  {
    name: '10,000 tags',
    body: JSON.stringify({ tags: Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`t${i}`, 'v'])) }),
    status: 400,
  },
  {
    name: '1,000 tags',
    body: JSON.stringify({
      tags: { ...TAGS, ...Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`t${i}`, 'v'])) },
    }),
    status: 400,
    field: 'tags',
  },
  { name: 'a service with a slash', body: '{"tags": {"kuma.io/service": "a/b"}}', status: 400 },
  { name: 'a service with a line break', body: '{"tags": {"kuma.io/service": "a\\r\\nb"}}', status: 400 },
  { name: 'no service', body: '{"tags": {"version": "v1"}}', status: 400 },
  { name: '10 MB', body: JSON.stringify({ csr: 'x'.repeat(10_000_000) }), status: 413 },
  { name: 'deep nesting', body: `${'['.repeat(60_000)}${']'.repeat(60_000)}`, status: 400 },
];

describe('a request for a certificate with', () => {
  it.each(BODIES)('$name is refused with a clear problem', async ({ body, status, field }) => {
    const answer = await test.request('POST', PATH, body);
    expect(answer.status).toBe(status);
    expectProblem(answer);
    if (field !== undefined) expect(answer.json.invalid_parameters?.[0]?.field).toBe(field);
  });

  it.each(MALFORMED_CSRS.map(({ name, build, rule }) => ({ name, build, rule })))(
    'the CSR "$name" is refused by its rule',
    async ({ build, rule }) => {
      const csr = encodePem('CERTIFICATE REQUEST', build());
      const answer = await test.request('POST', PATH, { csr, tags: TAGS });
      expectProblem(answer);
      if (csr.length > MAX_BODY) return expect(answer.status).toBe(413);
      expect([answer.status, answer.json.invalid_parameters?.[0]?.field]).toEqual([400, 'csr']);
      expect(String(answer.json.detail)).toContain(build().length === 0 ? '(pem-base64)' : `(${rule})`);
    },
  );

  it('any mistake stores nothing', async () => {
    await test.ok('PUT', '/meshes/default/dataplanes/web-1', {
      type: 'Dataplane',
      mesh: 'default',
      name: 'web-1',
      networking: { address: '127.0.0.1', inbound: [{ port: 1, tags: TAGS }] },
    });
    const { json } = await test.ok('GET', '/meshes/default/dataplanes/web-1/_overview');
    expect(json.dataplaneInsight?.mTLS).toBeUndefined();
  });
});

describe('a body that is not JSON', () => {
  it.each([
    ['PUT', '/meshes/default/secrets/s', '{"type": "Secret", "data": bm90aGluZyB0byBzZWU=}', 'line 1, column 28'],
    ['POST', PATH, '{"csr":\n bm90aGluZyB0byBzZWU=}', 'line 2, column 2'],
    ['POST', PATH, '{"csr": "bm90aGluZyB0byBzZWU=', 'line 1, column 30'],
  ])('is told by its place and never by its content: %s %s %s', async (method, path, body, place) => {
    const answer = await test.request(method, path, body);
    expect(answer.status).toBe(400);
    expect(String(answer.json.detail)).toContain(place);
    expect(answer.text).not.toContain('bm90');
  });
});

const REQUESTS: readonly {
  name: string;
  method: string;
  path: string;
  status: number;
  body?: string;
  headers?: Record<string, string>;
}[] = [
  { name: 'an unknown path', method: 'GET', path: '/nothing', status: 404 },
  { name: 'a method that is not there', method: 'PATCH', path: '/meshes/default', status: 405 },
  {
    name: 'a mesh that is not there',
    method: 'POST',
    path: '/meshes/none/dataplanes/web/_certificate',
    status: 404,
    body: '{"tags":{"kuma.io/service":"a"}}',
  },
  {
    name: 'a data plane name with capitals',
    method: 'POST',
    path: '/meshes/default/dataplanes/Web/_certificate',
    status: 400,
    body: '{}',
  },
  { name: 'a name that cannot be decoded', method: 'GET', path: '/meshes/%ff', status: 400 },
  { name: 'a name with a NUL', method: 'GET', path: '/meshes/%00', status: 404 },
  {
    name: 'a form instead of JSON',
    method: 'PUT',
    path: '/meshes/form',
    status: 415,
    body: 'a=b',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  },
  {
    name: 'a Mesh of 10 MB',
    method: 'PUT',
    path: '/meshes/big',
    status: 413,
    body: JSON.stringify({ x: 'y'.repeat(10_000_000) }),
  },
  { name: 'a Mesh that is a list', method: 'PUT', path: '/meshes/list', status: 400, body: '[]' },
  {
    name: 'a Mesh nested 10,000 deep',
    method: 'PUT',
    path: '/meshes/deep',
    status: 400,
    body: `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
  },
  { name: 'a wait that is no duration', method: 'GET', path: '/meshes/default/_trust-bundle?wait=soon', status: 400 },
  {
    name: 'an Accept that we do not have',
    method: 'GET',
    path: '/meshes/default/_trust-bundle',
    status: 406,
    headers: { accept: 'image/png' },
  },
];

describe('a request with', () => {
  it.each(REQUESTS)('$name is $status, as a problem', async ({ method, path, status, body, headers }) => {
    const answer = await test.request(method, path, body, headers);
    expect(answer.status).toBe(status);
    expectProblem(answer);
  });

  it('something that is no HTTP is 400 and the connection ends', async () => {
    const { port } = new URL(test.app.address);
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.write('hello\r\n\r\n'));
      let all = '';
      socket.on('data', (chunk) => {
        all += chunk.toString();
      });
      socket.on('close', () => resolve(all)).on('error', reject);
    });
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe('after all of that', () => {
  it('the service still serves, and no stack and no secret went out or into the log', async () => {
    expect((await test.request('POST', PATH, { tags: TAGS })).status).toBe(201);
    expect((await test.request('GET', '/readyz')).status).toBe(200);
    const log = test.log.join('');
    expect(log).not.toMatch(/PRIVATE KEY|"level":"error"/);
  });
});

function expectProblem(answer: Awaited<ReturnType<TestApp['request']>>): void {
  expect(answer.headers.get('content-type')).toBe('application/json');
  expect(answer.json).toMatchObject({
    type: '/std-errors',
    status: answer.status,
    title: expect.any(String),
    detail: expect.any(String),
    code: expect.stringMatching(/^ERR_[A-Z_]+$/),
    retry: false,
  });
  expect(answer.text).not.toMatch(/\bat .*:\d+:\d+|node_modules|PRIVATE KEY/);
  expect(answer.text.length).toBeLessThan(20_000);
}
