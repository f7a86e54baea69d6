import { readFile } from 'node:fs/promises';
import { request as requestHttps } from 'node:https';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type EchoService, startEchoService } from '../../demo/rotation/echo-service.ts';
import { type StartedEnvoy, startEnvoy } from '../../testcontainers/envoy.ts';
import { findFixedPort } from '../../testcontainers/fixed-port.ts';
import { makeServerCertificate } from '../../testcontainers/server-certificate.ts';
import { run } from '../cli/run.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';
import { builtinMesh, startTestApp, type TestApp } from '../support/test-app.ts';

/** What `mesh-ca envoy-bootstrap` prints, in real Envoys against a real mesh-ca. */

interface World {
  readonly test: TestApp;
  readonly folder: TempDir;
}

async function startWorld(flags: (folder: string) => Promise<Readonly<Record<string, unknown>>>): Promise<World> {
  const folder = await makeTempDir();
  const test = await startTestApp({ sdsPort: '0', ...(await flags(folder.path)) });
  await test.ok('PUT', '/meshes/default', builtinMesh('default'));
  return { test, folder };
}

async function command({ test }: World, ...argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(argv, { env: { MESH_CA_ADDRESS: test.app.address } });
  if (code !== 0) throw new Error(`mesh-ca ${argv.join(' ')} ended with ${code}: ${stderr}`);
  return stdout;
}

/** A file with a token of the data plane. */
async function tokenFile(world: World, dataplane: string): Promise<string> {
  const file = join(world.folder.path, `${dataplane}.token`);
  await command(world, 'generate', 'dataplane-token', '--name', dataplane, '--valid-for', '1h', '--write', file);
  return file;
}

const sdsAddress = ({ test }: World) => ['--sds-address', test.app.addresses.sds ?? ''];

async function envoyOf(world: World, dataplane: string, ...argv: readonly string[]): Promise<StartedEnvoy> {
  const file = join(world.folder.path, `${dataplane}.yaml`);
  await command(world, 'envoy-bootstrap', dataplane, ...sdsAddress(world), ...argv, '--write', file);
  return startEnvoy({ bootstrap: parse(await readFile(file, 'utf8')) });
}

function putDataplane({ test }: World, name: string, port: number, servicePort: number, outbound: object[] = []) {
  const service = name.replace(/-1$/, '');
  const tags = { 'kuma.io/service': service, 'kuma.io/protocol': 'http' };
  const networking = { address: '127.0.0.1', inbound: [{ port, servicePort, tags }], outbound };
  return test.ok('PUT', `/meshes/default/dataplanes/${name}`, { type: 'Dataplane', mesh: 'default', name, networking });
}

async function get(port: number, headers: Readonly<Record<string, string>> = {}) {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers });
  return { status: response.status, text: await response.text() };
}

/** A TLS client that shows no certificate. */
function getWithoutCertificate(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, rejectUnauthorized: false, agent: false };
    requestHttps(options, ({ statusCode }) => resolve(statusCode))
      .on('error', reject)
      .end();
  });
}

describe('two Envoys with printed bootstraps', () => {
  let world: World;
  const services: EchoService[] = [];
  const envoys: StartedEnvoy[] = [];
  let web: StartedEnvoy;
  const ports = { web: 0, ledger: 0, toLedger: 0, toImpostor: 0 };

  beforeAll(async () => {
    world = await startWorld(async () => ({}));
    for (const name of ['web', 'ledger']) services.push(await startEchoService(name));
    const [webService, ledgerService] = services;
    for (const name of ['web', 'ledger', 'toLedger', 'toImpostor'] as const) ports[name] = await findFixedPort();
    await putDataplane(world, 'ledger-1', ports.ledger, ledgerService?.port ?? 0);
    // Somebody who says to serve another service at the ledger's port.
    await putDataplane(world, 'impostor-1', ports.ledger, 1);
    await putDataplane(world, 'web-1', ports.web, webService?.port ?? 0, [
      { port: ports.toLedger, tags: { 'kuma.io/service': 'ledger' } },
      { port: ports.toImpostor, tags: { 'kuma.io/service': 'impostor' } },
    ]);
    const [webToken, ledgerToken] = [await tokenFile(world, 'web-1'), await tokenFile(world, 'ledger-1')];
    web = await envoyOf(world, 'web-1', '--dataplane-token-file', webToken, '--sds-delta');
    const inline = ['--dataplane-token-file', ledgerToken, '--inline-token', '--mode', 'permissive'];
    envoys.push(web, await envoyOf(world, 'ledger-1', ...inline));
  });
  afterAll(async () => {
    for (const envoy of envoys) await envoy.close();
    for (const service of services) await service.close();
    await world.test.close();
    await world.folder.remove();
  });

  it('talk in mutual TLS, and the application knows who called', async () => {
    const { status, text } = await get(ports.toLedger);
    expect([status, JSON.parse(text).service]).toEqual([200, 'ledger']);
    expect(JSON.parse(text).caller).toMatch(/(^|;)URI=spiffe:\/\/default\/web(;|,|$)/);
  });

  it('take nobody for a service who cannot prove it', async () => {
    expect((await get(ports.toImpostor)).status).toBe(503);
    const refused = await web.stats('outbound_impostor_.*ssl.fail_verify_san');
    expect([...refused.values()].some((count) => count > 0)).toBe(true);
  });

  it('take plain text only where the mode is permissive, and never believe what it says of its caller', async () => {
    const { status, text } = await get(ports.ledger, { 'x-forwarded-client-cert': 'URI=spiffe://default/web' });
    expect([status, JSON.parse(text)]).toEqual([200, { service: 'ledger', caller: '' }]);
    await expect(get(ports.web)).rejects.toThrow('fetch failed');
  });

  it('take no TLS without a certificate, whatever the mode', async () => {
    await expect(getWithoutCertificate(ports.ledger)).rejects.toThrow();
    await expect(getWithoutCertificate(ports.web)).rejects.toThrow();
  });

  it('show the token in no configuration dump', async () => {
    const token = await readFile(join(world.folder.path, 'web-1.token'), 'utf8');
    const dump = JSON.stringify(await web.configDump());
    const [, claims = token, signature = token] = token.split('.');
    const shows = [token, claims, signature, Buffer.from(token).toString('base64')].filter((text) =>
      dump.includes(text),
    );
    expect([dump.includes('dataplane-token'), shows]).toEqual([true, []]);
  });

  it('are believed to hold what they were sent', async () => {
    const { json } = await world.test.ok('GET', '/meshes/default/dataplanes/_overview?name=web-1');
    const mtls = json.items?.[0]?.dataplaneInsight?.mTLS;
    expect([mtls?.issuedBackend, mtls?.supportedBackends]).toEqual(['ca-1', ['ca-1']]);
  });
});

describe('an Envoy on another machine', () => {
  let world: World | undefined;
  let envoy: StartedEnvoy | undefined;
  afterEach(async () => {
    await envoy?.close();
    await world?.test.close();
    await world?.folder.remove();
  });

  it.each(['token', 'mtls'])('gets its secrets over TLS, and proves itself by %s', async (sdsAuth) => {
    const files = { ca: '' };
    world = await startWorld(async (folder) => {
      const { certFile, keyFile, caCertFile } = await makeServerCertificate(folder, ['IP:127.0.0.1']);
      files.ca = caCertFile;
      return { sdsAuth, apiTlsCertFile: certFile, apiTlsKeyFile: keyFile };
    });
    const path = world.folder.path;
    await putDataplane(world, 'web-1', await findFixedPort(), 1);
    const proof = ['--sds-auth', sdsAuth, '--sds-ca-file', files.ca];
    if (sdsAuth === 'token') proof.push('--dataplane-token-file', await tokenFile(world, 'web-1'));
    else {
      await command(world, 'issue', 'web-1', '--out', path);
      proof.push('--sds-cert-file', join(path, 'web-1.chain.crt'), '--sds-key-file', join(path, 'web-1.key'));
    }
    envoy = await envoyOf(world, 'web-1', ...proof);
    const chains = JSON.stringify((await envoy.certificates()).map(({ chain }) => chain));
    expect(chains).toContain('spiffe://default/web');
  });
});
