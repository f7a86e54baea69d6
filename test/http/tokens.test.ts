import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

let test: TestApp;
beforeAll(async () => {
  test = await startTestApp();
  await test.ok('PUT', '/meshes/default', builtinMesh('default'));
});
afterAll(() => test.close());

const ask = (body?: unknown, headers?: Readonly<Record<string, string>>) =>
  test.request('POST', '/tokens/dataplane', body, headers);
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
const lifetimeOf = (token: string) => claimsOf(token).exp - claimsOf(token).iat;

describe('POST /tokens/dataplane', () => {
  it('answers the bare token', async () => {
    const tags = { 'kuma.io/service': ['web', 'web-api'] };
    const { status, headers, text } = await ask({
      name: 'web-1',
      mesh: 'default',
      tags,
      type: 'dataplane',
      validFor: '24h30m',
    });
    expect([status, headers.get('content-type'), headers.get('cache-control')]).toEqual([
      200,
      'text/plain',
      'no-store',
    ]);
    expect(text).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(claimsOf(text)).toMatchObject({ Name: 'web-1', Mesh: 'default', Tags: tags, Type: 'dataplane' });
    expect(lifetimeOf(text)).toBe(24.5 * 3600);
  });

  it.each<[string, object]>([
    ['nothing', {}],
    ['nulls, as Go takes them', { name: null, mesh: null, tags: null, type: null, validFor: null }],
    ['empty words', { name: '', mesh: '', tags: {}, type: '', validFor: '', workload: '' }],
    ['fields that nobody knows', { name: '', later: 1 }],
  ])('fills in what is missing of %s: mesh default, any data plane, 10 years', async (_name, body) => {
    const { status, text } = await ask(body);
    expect(status).toBe(200);
    expect(claimsOf(text)).toMatchObject({ Name: '', Mesh: 'default', Tags: {}, Type: '' });
    expect(lifetimeOf(text)).toBe(87_600 * 3600);
  });

  it.each(['24h0m0s', '1h', '1.5s', '87600h0m0s', '1h0m0.5s'])('takes %s, as kumactl writes it', async (validFor) => {
    expect((await ask({ validFor })).status).toBe(200);
  });

  it("tells of an unknown mesh in Kuma's words", async () => {
    const { status, json } = await ask({ mesh: 'nowhere', validFor: '1h' });
    expect([status, json.title, json.code]).toEqual([404, 'Signing Key not found', 'ERR_NOT_FOUND']);
    expect([json.detail, json.fix]).toEqual([
      'there is no mesh "nowhere", so it has no signing key',
      'name one of those that there are: mesh-ca get meshes',
    ]);
  });

  it.each<[string, object, string[]]>([
    ['days', { validFor: '7d' }, ['validFor']],
    ['no time at all', { validFor: '0s' }, ['validFor']],
    ['time that is over', { validFor: '-1h' }, ['validFor']],
    ['an unknown type', { type: 'sidecar' }, ['type']],
    ['a name that no data plane has', { name: 'Web 1' }, ['name']],
    ['a mesh that no mesh is called', { mesh: '../x' }, ['mesh']],
    ['a tag without values', { tags: { version: [] } }, ['tags["version"]']],
    ['a tag that no data plane has', { tags: { 'a b': ['c'] } }, ['tags["a b"]']],
    ['tags of one value', { tags: { version: 'v1' } }, ['tags["version"]']],
    ['a workload, which would be lost', { workload: 'web' }, ['workload']],
    ['a number for a name', { name: 1 }, ['name']],
    ['all at once', { mesh: '/', type: 'x', validFor: 'x' }, ['mesh', 'type', 'validFor']],
  ])('refuses %s and names it', async (_name, body, fields) => {
    const { status, json } = await ask(body);
    expect([status, json.code]).toEqual([400, 'ERR_REQUEST_INVALID']);
    const told: { field: string }[] = JSON.parse(JSON.stringify(json.invalid_parameters));
    expect(told.map(({ field }) => field)).toEqual(fields);
  });

  it.each(['not-valid-json', '', '[]', '"x"', '{'])('refuses the body %j', async (body) => {
    expect((await ask(body)).status).toBe(400);
  });

  it('refuses a body over its cap', async () => {
    expect((await ask({ name: 'x'.repeat(1024 * 1024) })).status).toBe(413);
  });

  it('is for admins alone', async () => {
    const { status, json } = await ask({ validFor: '1h' }, { 'x-forwarded-for': '192.0.2.1' });
    expect([status, json.code]).toEqual([403, 'ERR_ACCESS_DENIED']);
  });

  it('leaves no token and no key in the log', async () => {
    const { text } = await ask({ validFor: '1h' });
    const log = test.log.join('');
    for (const part of text.split('.').slice(1)) expect(log).not.toContain(part);
    expect(log).not.toContain('PRIVATE KEY');
  });

  it('made the signing key of the mesh, a secret that goes with it', async () => {
    const path = '/meshes/default/secrets/dataplane-token-signing-key-default-1';
    const pem = Buffer.from(String((await test.ok('GET', path)).json.data), 'base64').toString();
    expect(pem).toMatch(/^-----BEGIN RSA PRIVATE KEY-----/);
    await test.ok('PUT', '/meshes/short-lived', builtinMesh('short-lived'));
    expect((await ask({ mesh: 'short-lived' })).status).toBe(200);
    const other = '/meshes/short-lived/secrets/dataplane-token-signing-key-short-lived-1';
    const hash = (text: string) => createHash('sha256').update(text).digest('hex');
    expect(hash(String((await test.ok('GET', other)).json.data))).not.toBe(hash(Buffer.from(pem).toString('base64')));
    await test.ok('DELETE', '/meshes/short-lived');
    expect((await test.request('GET', other)).status).toBe(404);
  });

  it('stands in the description of the API', async () => {
    const { json } = await test.ok('GET', '/openapi.json');
    expect(json.paths?.['/tokens/dataplane']?.post?.summary).toBe('Make a data plane token');
  });
});
