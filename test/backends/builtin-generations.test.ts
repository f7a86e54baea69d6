import { expect, it, onTestFinished } from 'vitest';
import { createBuiltinIssuer } from '../../adapters/builtin/issuer.ts';
import { module } from '../../adapters/builtin/module.ts';
import { ADAPTERS } from '../../adapters/index.ts';
import type { IssuerModule } from '../../src/issuer/issuer.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { live } from '../conformance/issuer.ts';
import { builtinMesh, startTestApp } from '../support/test-app.ts';

const GENERATIONS = 'default.ca-builtin-gens-ca-1';

/** mesh-ca with a mesh, and the builtin issuers that it has made, the newest last. */
async function start() {
  const made: ReturnType<typeof createBuiltinIssuer>[] = [];
  const noted: IssuerModule<unknown> = {
    ...module,
    create(context, _conf, deps) {
      const conf = module.parseConf({ caCert: { keyType: 'EC-P256' } }, context);
      const issuer = createBuiltinIssuer(context, conf, deps);
      made.push(issuer);
      return issuer;
    },
  };
  const app = await startTestApp({}, { adapters: { ...ADAPTERS, builtin: async () => noted } });
  onTestFinished(app.close);
  await app.ok('PUT', '/meshes/default', builtinMesh('default'));
  const tags = { 'kuma.io/service': 'web' };
  return {
    app,
    /** Key identifier of the CA that signs. */
    async signedBy() {
      const { json } = await app.ok('POST', '/meshes/default/dataplanes/web-1/_certificate', { tags, force: true });
      return keyId(parsePem(String(json.certificate)).authorityKeyId);
    },
    /** Key identifiers of the roots in the bundle. */
    async trusted() {
      const { text } = await app.ok('GET', '/meshes/default/_trust-bundle');
      return decodePem(text).map(({ der }) => keyId(parseCertificate(der).subjectKeyId));
    },
    issuer() {
      const newest = made.at(-1);
      if (newest === undefined) throw new Error('no issuer was made');
      return newest;
    },
    get count() {
      return made.length;
    },
  };
}

it('each step of a new generation is followed at once by certificates and trust bundle, with a new issuer', async () => {
  const mesh = await start();
  const old = await mesh.signedBy();
  expect(await mesh.trusted()).toEqual([old]);
  const count = mesh.count;

  const { others } = await mesh.issuer().prepareNext(live());
  const next = keyId(parseCertificate(others[0] ?? Buffer.alloc(0)).subjectKeyId);
  expect((await mesh.trusted()).sort()).toEqual([old, next].sort());
  expect(await mesh.signedBy()).toBe(old);
  expect(mesh.count).toBe(count + 1);

  await mesh.issuer().signWith(others[0] ?? Buffer.alloc(0), live());
  expect(await mesh.signedBy()).toBe(next);
  expect((await mesh.trusted()).sort()).toEqual([old, next].sort());

  await mesh.issuer().dropOthers(live());
  expect(await mesh.signedBy()).toBe(next);
  expect(await mesh.trusted()).toEqual([next]);
  await mesh.app.ok('PUT', '/meshes/default', builtinMesh('default'));
  expect(await mesh.signedBy()).toBe(next);
});

it('the secret of the generations cannot be deleted while the mesh uses it, and goes with the mesh', async () => {
  const mesh = await start();
  await mesh.signedBy();
  await mesh.issuer().prepareNext(live());
  const path = `/meshes/default/secrets/${GENERATIONS}`;
  const { status, json } = await mesh.app.request('DELETE', path);
  expect([status, json.invalid_parameters?.[0]?.field]).toEqual([400, 'name']);
  await mesh.app.ok('GET', path);
  await mesh.app.ok('PUT', '/meshes/default', builtinMesh('default'));
  expect((await mesh.issuer().generations(live())).others).toHaveLength(1);
  await mesh.app.ok('DELETE', '/meshes/default');
  await mesh.app.ok('PUT', '/meshes/default', { type: 'Mesh', name: 'default' });
  expect((await mesh.app.request('GET', path)).status).toBe(404);
});

function keyId(id: Buffer | undefined): string {
  return id?.toString('hex') ?? 'none';
}

function parsePem(text: string) {
  return parseCertificate(decodePem(text)[0]?.der ?? Buffer.alloc(0));
}
