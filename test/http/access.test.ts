import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTempDir } from '../support/temp-dir.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

const TOKEN = 'a-token-for-the-test-only';

let local: TestApp;
let remote: TestApp;
let removeDir: () => Promise<void>;
beforeAll(async () => {
  const dir = await makeTempDir();
  removeDir = dir.remove;
  await writeFile(join(dir.path, 'token'), `${TOKEN}\n`, { mode: 0o600 });
  local = await startTestApp();
  remote = await startTestApp({ localhostIsAdmin: 'false', apiTokenFile: join(dir.path, 'token') });
  for (const test of [local]) await test.ok('PUT', '/meshes/default', builtinMesh('default'));
});
afterAll(async () => {
  await Promise.all([local.close(), remote.close()]);
  await removeDir();
});

/** fetch refuses to send some of these headers. */
function status(test: TestApp, headers: object, path = '/meshes'): Promise<number> {
  return new Promise((resolve, reject) => {
    request(`${test.app.address}${path}`, { headers: { ...headers } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    })
      .on('error', reject)
      .end();
  });
}

describe('localhost is admin', () => {
  it.each([
    { name: 'from loopback', headers: {}, expected: 200 },
    { name: 'but not for another Host (DNS rebinding)', headers: { host: 'mesh.example' }, expected: 403 },
    { name: 'but not through a proxy', headers: { 'x-forwarded-for': '10.0.0.1' }, expected: 403 },
    { name: 'but not with Forwarded', headers: { forwarded: 'for=10.0.0.1' }, expected: 403 },
    { name: 'but not with Via', headers: { via: '1.1 proxy' }, expected: 403 },
    { name: 'but not with X-Forwarded-Proto', headers: { 'x-forwarded-proto': 'https' }, expected: 403 },
    { name: 'but not with X-Real-IP', headers: { 'x-real-ip': '10.0.0.1' }, expected: 403 },
    { name: 'but not for a page of another site', headers: { 'sec-fetch-site': 'cross-site' }, expected: 403 },
    { name: 'but not for another origin', headers: { origin: 'http://evil.example' }, expected: 403 },
    { name: 'for a page of ours', headers: { 'sec-fetch-site': 'same-origin' }, expected: 200 },
    { name: 'even with a wrong token, as in Kuma', headers: { authorization: 'Bearer wrong' }, expected: 200 },
  ])('$name', async ({ headers, expected }: { headers: object; expected: number }) => {
    expect(await status(local, headers)).toBe(expected);
  });
});

describe('without it', () => {
  it.each([
    { name: 'nobody without a token', headers: {}, expected: 403 },
    { name: 'nobody with a wrong token', headers: { authorization: 'Bearer wrong' }, expected: 401 },
    { name: 'nobody with half of the token', headers: { authorization: `Bearer ${TOKEN.slice(0, 5)}` }, expected: 401 },
    { name: 'nobody by Basic', headers: { authorization: 'Basic YTpi' }, expected: 401 },
    { name: 'who has the token', headers: { authorization: `Bearer ${TOKEN}` }, expected: 200 },
  ])('$name', async ({ headers, expected }: { headers: object; expected: number }) => {
    expect(await status(remote, headers)).toBe(expected);
  });

  it.each(['/', '/healthz', '/readyz', '/metrics', '/openapi.json'])('%s stays open', async (path) => {
    expect(await status(remote, {}, path)).toBe(200);
  });

  it.each([
    ['nobody', {}, 200, ['mesh-system:anonymous', ['mesh-system:unauthenticated']]],
    ['the admin', { authorization: `Bearer ${TOKEN}` }, 200, ['mesh-system:admin', ['mesh-system:admin']]],
    ['a wrong token', { authorization: 'Bearer wrong' }, 401, [undefined, undefined]],
  ])('/who-am-i tells %s', async (_name, headers, expected, who) => {
    const { status: code, json } = await remote.request('GET', '/who-am-i', undefined, headers);
    expect([code, [json.name, json.groups]]).toEqual([expected, who]);
  });

  it.each([
    ['/meshes/m/secrets/s', 'the resource of type "Secret"'],
    ['/meshes/m/dataplanes/_overview', 'the resource of type "Dataplane"'],
    ['/meshes', 'the resource of type "Mesh"'],
    ['/policies', 'this resource'],
  ])('the 403 of %s names who asked for what, in the words of Kuma', async (path, what) => {
    const { status: code, json } = await remote.request('GET', path);
    expect([code, json.detail]).toEqual([
      403,
      `user "mesh-system:anonymous/mesh-system:unauthenticated" cannot access ${what}`,
    ]);
  });

  it.each(['/_validate', '/meshes/m/_backends/b/_validate'])('nobody proves a backend by POST %s', async (path) => {
    expect((await remote.request('POST', path, {})).status).toBe(403);
  });

  it("tells what was refused and what to do, with Kuma's title", async () => {
    const { status: code, json } = await remote.request('PUT', '/meshes/m', { type: 'Mesh', name: 'm' });
    expect([code, json.title, json.code]).toEqual([403, 'Access Denied', 'ERR_ACCESS_DENIED']);
    expect(String(json.fix)).toContain('MESH_CA_API_TOKEN_FILE');
  });

  it('refuses before it reads the body', async () => {
    const { status: code } = await remote.request('PUT', '/meshes/m', 'no json');
    expect(code).toBe(403);
  });
});
