import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHotPath } from '../../src/http/hot-path.ts';
import { json, type Route } from '../../src/http/route.ts';
import { certificateRoutes } from '../../src/http/routes/certificates.ts';
import type { Serve } from '../../src/http/serve-route.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { makeTempDir } from '../support/temp-dir.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

const ONE = '/meshes/default/dataplanes/web-1/_certificate';

describe('the hot path', () => {
  /** Tells who took the request: the hot path with the names it read, or nobody. */
  let address: string;
  const serve: Serve = (route) => async (_request, response, params) => {
    response.end(JSON.stringify({ route: route.path, params }));
  };
  const cold: Route = {
    ...{ method: 'GET', path: '/cold', summary: '', tag: 'service', access: 'anyone', answers: {} },
    handle: () => json(200, {}),
  };
  const hot = createHotPath([cold, ...certificateRoutes(JSON.parse('{}'))], serve);
  const server = createServer((request, response) => {
    if (!hot(request, response)) response.end('null');
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  it.each([
    ['POST', ONE, { mesh: 'default', dataplane: 'web-1' }],
    ['POST', '/meshes/a.b_c/dataplanes/X/_certificate', { mesh: 'a.b_c', dataplane: 'X' }],
    ['POST', `${ONE}?x=1`, undefined],
    ['POST', `${ONE}/`, undefined],
    ['POST', '/meshes/default/dataplanes/web%2D1/_certificate', undefined],
    ['POST', '/meshes/default/dataplanes//_certificate', undefined],
    ['POST', `/meshes/default/dataplanes/${'a'.repeat(254)}/_certificate`, undefined],
    ['POST', '/meshes/default/dataplanes/a/b/_certificate', undefined],
    ['POST', '/meshes/default/dataplanes/web/_identity', undefined],
    ['POST', '/meshes/default/_certificates', undefined],
    ['GET', ONE, undefined],
    ['GET', '/cold', undefined],
  ])('%s %s', async (method, path, params) => {
    const taken = await (await fetch(`${address}${path}`, { method })).json();
    expect(taken).toEqual(
      params === undefined ? null : { route: '/meshes/:mesh/dataplanes/:dataplane/_certificate', params },
    );
  });
});

const TOKEN = 'a-token-for-the-test-only';

describe('the hot path and Express give the same answers', () => {
  let test: TestApp;
  let csr: string;
  let removeDir: () => Promise<void>;
  const admin = { authorization: `Bearer ${TOKEN}` };
  beforeAll(async () => {
    const dir = await makeTempDir();
    removeDir = dir.remove;
    await writeFile(join(dir.path, 'token'), TOKEN, { mode: 0o600 });
    test = await startTestApp({ localhostIsAdmin: 'false', apiTokenFile: join(dir.path, 'token') });
    await test.request('PUT', '/meshes/default', builtinMesh('default'), admin);
    const key = await generateKeyPair('EC-P256');
    csr = encodePem('CERTIFICATE REQUEST', createCsr(key, { uriSans: [], dnsNames: [], commonName: '' }));
    // What comes after is the same one again.
    await test.request('POST', ONE, good(), admin);
  });
  afterAll(async () => {
    await test.close();
    await removeDir();
  });
  const good = () => ({ csr, tags: { 'kuma.io/service': 'web' } });

  const CASES: readonly {
    name: string;
    status: number;
    body: () => unknown;
    headers?: Record<string, string>;
    path?: string;
  }[] = [
    { name: 'a certificate', status: 200, body: good },
    { name: 'tags without service', status: 400, body: () => ({ tags: { version: 'v1' } }) },
    { name: 'a bad CSR', status: 400, body: () => ({ ...good(), csr: 'x' }) },
    { name: 'no JSON', status: 400, body: () => '{' },
    { name: 'no body', status: 400, body: () => '' },
    { name: 'an unknown field', status: 400, body: () => ({ tagz: 1 }) },
    { name: 'nobody', status: 403, body: good, headers: {} },
    { name: 'a wrong token', status: 401, body: good, headers: { authorization: 'Bearer wrong' } },
    { name: 'an unknown mesh', status: 404, body: good, path: '/meshes/none/dataplanes/web-1/_certificate' },
    { name: 'a name with capitals', status: 400, body: good, path: '/meshes/default/dataplanes/Web/_certificate' },
    { name: 'too much', status: 413, body: () => ({ csr: 'x'.repeat(200_000) }) },
    { name: 'a form', status: 415, body: () => 'a=b', headers: { ...admin, 'content-type': 'text/plain' } },
  ];

  it.each(CASES)('to $name: $status', async ({ status, body, headers = admin, path = ONE }) => {
    const before = await counts();
    // A query string is what the hot path does not take.
    const [hot, slow] = [
      await test.request('POST', path, body(), headers),
      await test.request('POST', `${path}?x=1`, body(), headers),
    ];
    expect([hot.status, hot.json]).toEqual([slow.status, slow.json]);
    expect(told(hot.headers)).toEqual(told(slow.headers));
    expect(hot.status).toBe(status);
    expect((await counts()) - before).toBe(2);
  });

  /** How often the route was counted, whichever way. */
  async function counts(): Promise<number> {
    const { text } = await test.request('GET', '/metrics');
    const lines = text.match(
      /^mesh_ca_http_request_duration_seconds_count\{method="POST",route="[^"]*\/_certificate",.*$/gm,
    );
    return (lines ?? []).reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  function told(headers: Headers): object {
    return Object.fromEntries([...headers].filter(([name]) => name !== 'date'));
  }
});
