import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEMS } from '../../src/http/problem.ts';
import { ERROR_CODES } from '../../src/issuer/errors.ts';
import { VERSION } from '../../src/version.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

let test: TestApp;
beforeAll(async () => {
  test = await startTestApp();
  await test.ok('PUT', '/meshes/default', builtinMesh('default'));
});
afterAll(() => test.close());

describe('the service', () => {
  it('has a status for every error code', () => {
    expect(Object.keys(PROBLEMS).sort()).toEqual([...ERROR_CODES].sort());
  });

  it('tells its product, so that kumactl talks to it', async () => {
    const { json } = await test.ok('GET', '/');
    expect(json).toMatchObject({ product: 'Kuma', version: '2.14.3', meshCaVersion: VERSION });
    const { version } = JSON.parse(await readFile('package.json', 'utf8'));
    expect(VERSION).toBe(version);
  });

  it('has metrics with one label set, and none of a data plane', async () => {
    await test.ok('POST', '/meshes/default/dataplanes/metered/_certificate', { tags: { 'kuma.io/service': 'a' } });
    const { text } = await test.ok('GET', '/metrics');
    expect(text).toContain(
      'mesh_ca_certificates_total{mesh="default",backend="ca-1",type="builtin",outcome="issued"} 1',
    );
    expect(text).not.toContain('metered');
  });
});
