import { type ClientRequest, request } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import { createFakeIssuer, type FakeBackend } from '../fakes/fake-issuer.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

let test: TestApp;
let backend: FakeBackend;
const rejections: unknown[] = [];
const note = (reason: unknown) => void rejections.push(reason);
beforeEach(async () => {
  rejections.length = 0;
  process.on('unhandledRejection', note);
  const fake = await createFakeIssuer();
  backend = fake.backend;
  test = await startTestApp({ requestTimeout: '1s' }, { adapters: { ...ADAPTERS, fake: async () => fake.module } });
  await test.ok(
    'PUT',
    '/meshes/default',
    builtinMesh('default', {
      enabledBackend: 'ext',
      backends: [{ name: 'ext', type: 'fake', conf: {} }],
      skipValidation: true,
    }),
  );
});
afterEach(async () => {
  process.off('unhandledRejection', note);
  await test.close();
});

const line = (name: string, more: object = {}) =>
  `${JSON.stringify({ dataplane: name, tags: { 'kuma.io/service': 'web' }, ...more })}\n`;

/** A request whose body is still being sent. */
function openStream(onAnswer: (text: string) => void = () => {}): ClientRequest {
  return request(`${test.app.address}/meshes/default/_certificates`, { method: 'POST' }, (response) => {
    response.on('data', (chunk: Buffer) => onAnswer(chunk.toString())).on('error', () => {});
  }).on('error', () => {});
}

describe('a stream of requests', () => {
  it('whose client is gone while 16 lines are worked on does no harm', async () => {
    let open: () => void = () => {};
    backend.gate = new Promise((resolve) => {
      open = resolve;
    });
    const client = openStream();
    for (let count = 0; count < 16; count += 1) client.write(line(`dp-${count}`));
    await expect.poll(() => backend.signs).toBe(16);
    await new Promise((resolve) => client.once('close', resolve).destroy());
    // By the second answer the server has seen the end of the other connection.
    for (let count = 0; count < 2; count += 1) await test.ok('GET', '/healthz');
    // Nobody holds the keys that were made for them.
    await expect
      .poll(async () => (await test.ok('GET', '/metrics')).text)
      .toMatch(/mesh_ca_backend_calls_in_flight\{.*\} 0/);
    open();
    expect((await test.request('POST', '/meshes/default/_certificates', line('after'))).status).toBe(200);
    expect(rejections).toEqual([]);
  });
});
