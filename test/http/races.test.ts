import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtinMesh, dataplane, startTestApp, type TestApp } from '../support/test-app.ts';

const TIMES = 40;
const TAGS = { 'kuma.io/service': 'web' };

let test: TestApp;
beforeAll(async () => {
  test = await startTestApp({ store: undefined });
});
afterAll(() => test.close());

const names = (kind: string) => Array.from({ length: TIMES }, (_, index) => `${kind}-${index}`);

describe('over SQLite, at the same time', () => {
  it('PUT of a data plane and DELETE of its mesh never leave a data plane without a mesh', async () => {
    for (const mesh of names('orphan')) {
      await test.ok('PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh });
      const [put, deleted] = await Promise.all([
        test.request('PUT', `/meshes/${mesh}/dataplanes/dp`, dataplane(mesh, 'dp', TAGS)),
        test.request('DELETE', `/meshes/${mesh}`),
      ]);
      expect([
        [201, 400],
        [404, 200],
      ]).toContainEqual([put.status, deleted.status]);
    }
    const { json } = await test.ok('GET', '/dataplanes?size=1000');
    for (let index = 0; index < Number(json.total); index += 1) {
      expect((await test.request('GET', `/meshes/${json.items?.[index]?.mesh}`)).status).toBe(200);
    }
  });

  it('PUT and DELETE of a mesh leave a mesh that issues, or none', async () => {
    for (const mesh of names('ca')) {
      await test.ok('PUT', `/meshes/${mesh}`, builtinMesh(mesh));
      await Promise.all([
        test.request('PUT', `/meshes/${mesh}`, builtinMesh(mesh)),
        test.request('DELETE', `/meshes/${mesh}`),
      ]);
      const left = await test.request('GET', `/meshes/${mesh}`);
      const issued = await test.request('POST', `/meshes/${mesh}/dataplanes/dp/_certificate`, { tags: TAGS });
      expect(issued.status).toBe(left.status === 200 ? 201 : 404);
    }
  });

  it('DELETE of a secret and PUT of a mesh that begins to use it: one of them is refused', async () => {
    const { json } = await test.ok('GET', `/meshes/${await builtin('giver')}/secrets/giver.ca-builtin-cert-ca-1`);
    const key = await test.ok('GET', '/meshes/giver/secrets/giver.ca-builtin-key-ca-1');
    await test.ok('PUT', '/meshes/taker', { type: 'Mesh', name: 'taker' });
    const secret = (name: string, data: unknown) => ({ type: 'Secret', mesh: 'taker', name, data });
    for (let count = 0; count < TIMES / 2; count += 1) {
      await test.ok('PUT', '/meshes/taker', { type: 'Mesh', name: 'taker' });
      await test.ok('PUT', '/meshes/taker/secrets/cert', secret('cert', json.data));
      await test.ok('PUT', '/meshes/taker/secrets/key', secret('key', key.json.data));
      const conf = { cert: { secret: 'cert' }, key: { secret: 'key' } };
      const [put, deleted] = await Promise.all([
        test.request(
          'PUT',
          '/meshes/taker',
          builtinMesh('taker', { enabledBackend: 'p', backends: [{ name: 'p', type: 'provided', conf }] }),
        ),
        test.request('DELETE', '/meshes/taker/secrets/key'),
      ]);
      expect([put.status < 300, deleted.status < 300].filter(Boolean)).toHaveLength(1);
    }
  });

  it('issuing and DELETE of the mesh leave nothing for a mesh of the same name', async () => {
    for (const mesh of names('ghost')) {
      await builtin(mesh);
      await Promise.all([
        ...Array.from({ length: 4 }, (_, index) =>
          test.request('POST', `/meshes/${mesh}/dataplanes/dp-${index}/_certificate`, { tags: TAGS }),
        ),
        test.request('DELETE', `/meshes/${mesh}`),
      ]);
      await test.ok('PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh });
      expect((await test.ok('GET', `/meshes/${mesh}/dataplanes/_overview`)).json.total).toBe(0);
    }
  });
});

async function builtin(mesh: string): Promise<string> {
  await test.ok('PUT', `/meshes/${mesh}`, builtinMesh(mesh));
  return mesh;
}
