import { expect, it, onTestFinished } from 'vitest';
import { ADAPTERS } from '../../adapters/index.ts';
import type { IssuerDeps, IssuerModule } from '../../src/issuer/issuer.ts';
import { createFakeIssuer } from '../fakes/fake-issuer.ts';
import { startTestApp } from '../support/test-app.ts';

const secret = (name: string, text: string) => ({
  type: 'Secret',
  mesh: 'default',
  name,
  data: Buffer.from(text).toString('base64'),
});

it('a secret that an issuer follows is told to it, and any other used secret makes a new issuer', async () => {
  const { backend, module } = await createFakeIssuer();
  const told: string[] = [];
  const following: IssuerModule<unknown> = {
    ...module,
    usedSecrets: () => ['token', 'ca'],
    followedSecrets: () => ['token'],
    create(context, conf, deps: IssuerDeps) {
      const stop = deps.secrets.onChange(async () => told.push(String(await deps.secrets.read('token'))));
      const issuer = module.create(context, conf, deps);
      return {
        ...issuer,
        async close() {
          stop();
          await issuer.close();
        },
      };
    },
  };
  const app = await startTestApp({}, { adapters: { ...ADAPTERS, fake: async () => following } });
  onTestFinished(app.close);
  await app.ok('PUT', '/meshes/default', { type: 'Mesh', name: 'default' });
  for (const name of ['token', 'ca']) {
    await app.ok('PUT', `/meshes/default/secrets/${name}`, secret(name, 'first'));
  }
  await app.ok('PUT', '/meshes/default', {
    type: 'Mesh',
    name: 'default',
    mtls: { enabledBackend: 'ca-1', backends: [{ name: 'ca-1', type: 'fake' }] },
  });
  const issue = () =>
    app.ok('POST', '/meshes/default/dataplanes/web-1/_certificate', {
      tags: { 'kuma.io/service': 'web' },
      force: true,
    });
  await issue();
  const before = { created: backend.created, closed: backend.closed };

  await app.ok('PUT', '/meshes/default/secrets/token', secret('token', 'second'));
  await issue();
  expect([backend.created, backend.closed]).toEqual([before.created, before.closed]);
  expect(told.at(-1)).toBe('second');

  await app.ok('PUT', '/meshes/default/secrets/ca', secret('ca', 'second'));
  await issue();
  expect([backend.created, backend.closed]).toEqual([before.created + 1, before.closed + 1]);

  await app.ok('DELETE', '/meshes/default');
  const heard = told.length;
  await app.ok('PUT', '/meshes/default', { type: 'Mesh', name: 'default' });
  await app.ok('PUT', '/meshes/default/secrets/token', secret('token', 'third'));
  expect(told.length).toBe(heard);
});
