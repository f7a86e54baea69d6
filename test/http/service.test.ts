import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROBLEMS } from '../../src/http/problem.ts';
import { ERROR_CODES } from '../../src/issuer/errors.ts';
import { VERSION } from '../../src/version.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
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

  it('describes itself in OpenAPI, every path with its schemas', async () => {
    const { json } = await test.ok('GET', '/openapi.json');
    expect(json.openapi).toBe('3.1.0');
    const post = json.paths?.['/meshes/{mesh}/dataplanes/{dataplane}/_certificate']?.post;
    expect(post?.requestBody?.content?.['application/json']?.schema?.additionalProperties).toBe(false);
    expect(Object.keys(post?.responses ?? {})).toEqual(['200', '201', 'default']);
    expect(json.paths?.['/meshes/{mesh}/dataplanes+insights']?.get).toBeDefined();
  });
});

describe('the hot path and Express', () => {
  it('give the same answers, right or wrong', async () => {
    const csr = encodePem(
      'CERTIFICATE REQUEST',
      createCsr(await generateKeyPair('EC-P256'), { uriSans: [], dnsNames: [], commonName: '' }),
    );
    const bodies = [
      { csr, tags: { 'kuma.io/service': 'web' } },
      { tags: { version: 'v1' } },
      { csr: 'x', tags: { 'kuma.io/service': 'web' } },
      '{',
      '',
    ];
    await test.ok('POST', '/meshes/default/dataplanes/both/_certificate', bodies[0]);
    for (const body of bodies) {
      // A query string is what the hot path does not take.
      const [hot, slow] = await Promise.all(
        ['', '?x=1'].map((query) => test.request('POST', `/meshes/default/dataplanes/both/_certificate${query}`, body)),
      );
      expect(slow?.headers.get('content-type')).toBe(hot?.headers.get('content-type'));
      expect([slow?.status, slow?.json]).toEqual([hot?.status, hot?.json]);
    }
  });
});
