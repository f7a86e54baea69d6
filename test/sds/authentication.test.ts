import { generateKeyPair as generateKeyPairOf } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ChannelCredentials, status } from '@grpc/grpc-js';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/issuer/errors.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { createLeafSigner } from '../../src/x509/leaf-signer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createFakeCa } from '../fakes/fake-issuer.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';
import { node } from './sds-client.ts';
import { createSdsWorld, leafOf, type SdsWorld, type WorldSettings } from './sds-world.ts';

const IDENTITY = ['identity_cert'];
const HOUR_MS = 3_600_000;
const WEB = { 'kuma.io/service': 'web' };
/** Tells a refusal from an answer without waiting for it in vain. */
const GRANTED = 'granted';

interface PemPair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

let ca: Awaited<ReturnType<typeof createFakeCa>>;
/** Made once: an RSA key takes a while. */
let signingKey: string;
beforeAll(async () => {
  ca = await createFakeCa('server root');
  const { privateKey } = await promisify(generateKeyPairOf)('rsa', { modulusLength: 2048 });
  signingKey = privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
});

/** A certificate for the server, or for a client with any names. */
async function makePair(names: { dnsNames?: string[]; uriSans?: string[] }, from = ca, hours = 1): Promise<PemPair> {
  const keys = await generateKeyPair('EC-P256');
  const signer = createLeafSigner({ certificate: from.certificate, privateKey: from.keyPair.privateKey });
  const leaf = await signer.sign({
    ...{ spkiDer: keys.spkiDer, uriSans: [], dnsNames: [], commonName: '', ...names },
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Math.floor(Date.now() / 1000) * 1000 + hours * HOUR_MS),
    serialNumber: Buffer.from('0123456789abcdef', 'hex'),
  });
  const key = keys.privateKey.export({ type: 'pkcs8', format: 'pem' });
  return { cert: Buffer.from(encodePem('CERTIFICATE', leaf)), key: Buffer.from(key) };
}

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function makeWorld(settings: WorldSettings): Promise<SdsWorld> {
  const world = await createSdsWorld(settings);
  cleanups.push(() => world.close());
  return world;
}

async function makeTokenWorld(): Promise<SdsWorld> {
  const world = await makeWorld({ sdsAuth: 'token' });
  await world.putSecret('dataplane-token-signing-key-default-1', signingKey);
  return world;
}

/** What comes first: the certificate, or the end. */
async function outcome(
  world: SdsWorld,
  options: { node: object; token?: string; credentials?: ChannelCredentials },
): Promise<{ code: status | typeof GRANTED; details: string; sans: readonly string[] }> {
  const stream = world.connect(options.credentials, HOST).open({ names: IDENTITY, ...options });
  const got = await Promise.race([
    stream.next().then(({ secrets }) => ({ code: GRANTED, details: '', sans: leafOf(secrets[0]).uriSans }) as const),
    stream.ended.then(({ code, details }) => ({ code, details, sans: [] })),
  ]);
  stream.cancel();
  return got;
}

const HOST = { 'grpc.ssl_target_name_override': 'localhost', 'grpc.default_authority': 'localhost' };

describe('a data plane token', () => {
  interface Case {
    readonly name: string;
    readonly token: object | string | undefined;
    /** Tags of the Dataplane resource; absent: there is none. */
    readonly resource?: Readonly<Record<string, string>>;
    readonly proxy?: Readonly<Record<string, string | readonly string[]>>;
    readonly code: status | typeof GRANTED;
    readonly says?: RegExp;
  }
  const cases: readonly Case[] = [
    { name: 'of its name', token: { name: 'web-1' }, resource: WEB, code: GRANTED },
    { name: 'of any name', token: {}, resource: WEB, code: GRANTED },
    { name: 'of its tags', token: { tags: { 'kuma.io/service': ['web'] } }, resource: WEB, code: GRANTED },
    {
      name: 'of its tags, which only the proxy tells',
      token: { tags: { 'kuma.io/service': ['web', 'web-api'], version: ['1'] } },
      proxy: { 'kuma.io/service': ['web', 'web-api'], version: '1' },
      code: GRANTED,
    },
    {
      name: 'that is missing',
      token: undefined,
      resource: WEB,
      code: status.UNAUTHENTICATED,
      says: /no data plane token.*generate dataplane-token -m default --name web-1 --valid-for 720h/,
    },
    { name: 'that is no token', token: 'nonsense', resource: WEB, code: status.UNAUTHENTICATED },
    {
      name: 'of another name',
      token: { name: 'web-2' },
      resource: WEB,
      code: status.PERMISSION_DENIED,
      says: /"web-2", not for "web-1"/,
    },
    {
      name: 'of a zone ingress',
      token: { type: 'ingress' },
      resource: WEB,
      code: status.PERMISSION_DENIED,
      says: /ingress/,
    },
    {
      name: 'of other tags',
      token: { tags: { 'kuma.io/service': ['db'] } },
      resource: WEB,
      code: status.PERMISSION_DENIED,
      says: /kuma\.io\/service=web, which its token does not allow/,
    },
    {
      name: 'of tags that it does not have',
      token: { tags: { team: ['a'] } },
      resource: WEB,
      code: status.PERMISSION_DENIED,
      says: /has no tag "team"/,
    },
    {
      name: 'of its name, with tags that only the proxy tells',
      token: { name: 'web-1' },
      proxy: WEB,
      code: status.PERMISSION_DENIED,
      says: /its token does not name/,
    },
    {
      name: 'of its service, with one more tag that only the proxy tells',
      token: { tags: { 'kuma.io/service': ['web'] } },
      proxy: { ...WEB, version: '2' },
      code: status.PERMISSION_DENIED,
      says: /version/,
    },
    { name: 'without any tags anywhere', token: { name: 'web-1' }, code: status.NOT_FOUND, says: /mesh-ca apply/ },
  ];

  it('lets in whom it names, and nobody else', async () => {
    const world = await makeTokenWorld();
    for (const { name, token, resource, proxy, code, says = /./s } of cases) {
      await world.store.deleteResource({ type: 'Dataplane', mesh: 'default', name: 'web-1' });
      if (resource !== undefined) await world.putDataplane('web-1', resource);
      const text =
        typeof token === 'object'
          ? await world.tokens.generate({ mesh: 'default', validForMs: HOUR_MS, ...token })
          : token;
      const got = await outcome(world, {
        node: node('default.web-1', proxy),
        ...(text !== undefined && { token: text }),
      });
      expect.soft(got.code, name).toBe(code);
      if (code !== GRANTED) expect.soft(got.details, name).toMatch(says);
      if (text !== undefined) expect.soft(JSON.stringify([got.details, world.lines]), name).not.toContain(text);
      await world.disconnect();
    }
  });

  it('that is missing is told in the log, once, however often its proxy comes', async () => {
    const world = await makeTokenWorld();
    for (let i = 0; i < 3; i += 1) await outcome(world, { node: node('default.web-1') });
    expect(world.lines.filter(({ message }) => message === 'SDS: a proxy was refused')).toMatchObject([
      {
        mesh: 'default',
        dataplane: 'web-1',
        err: expect.objectContaining({ message: 'no data plane token was sent' }),
      },
    ]);
  });

  it('of another mesh proves nothing', async () => {
    const world = await makeTokenWorld();
    await world.putMesh('ca-1', ['ca-1'], 'other');
    await world.putSecret('dataplane-token-signing-key-other-1', signingKey, 'other');
    const token = await world.tokens.generate({ mesh: 'other', name: 'web-1', validForMs: HOUR_MS });
    await world.putDataplane('web-1', WEB);
    expect((await outcome(world, { node: node('default.web-1'), token })).code).toBe(status.UNAUTHENTICATED);
  });

  it('that expires ends the stream before the next certificate is made for it', async () => {
    const world = await makeTokenWorld();
    await world.putDataplane('web-1', WEB);
    const token = await world.tokens.generate({ mesh: 'default', name: 'web-1', validForMs: HOUR_MS });
    const stream = world.connect().open({ node: node('default.web-1'), names: IDENTITY, token });
    await stream.next();
    await world.oversleep(2 * HOUR_MS);
    expect(world.server.readings().streams).toBe(1);
    await world.putMesh('ca-2', ['ca-1', 'ca-2']);
    const ended = await stream.ended;
    expect(ended.code).toBe(status.UNAUTHENTICATED);
    expect(ended.details).toMatch(/expired/);
    expect(stream.received).toHaveLength(1);
  });

  it('that is revoked ends the stream before the next certificate is made for it', async () => {
    const world = await makeTokenWorld();
    await world.putDataplane('web-1', WEB);
    const token = await world.tokens.generate({ mesh: 'default', name: 'web-1', validForMs: HOUR_MS });
    const stream = world.connect().open({ node: node('default.web-1'), names: IDENTITY, token });
    await stream.next();
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    await world.putSecret('dataplane-token-revocations-default', jti);
    await world.oversleep(61_000);
    await world.putMesh('ca-2', ['ca-1', 'ca-2']);
    expect((await stream.ended).details).toMatch(/revoked/);
  });

  it('does not cover tags that the operator gives its data plane later', async () => {
    const world = await makeTokenWorld();
    await world.putDataplane('web-1', WEB);
    const token = await world.tokens.generate({
      mesh: 'default',
      tags: { 'kuma.io/service': ['web'] },
      validForMs: HOUR_MS,
    });
    const stream = world.connect().open({ node: node('default.web-1'), names: IDENTITY, token });
    await stream.next();
    await world.putDataplane('web-1', { 'kuma.io/service': 'db' });
    expect((await stream.ended).code).toBe(status.PERMISSION_DENIED);
    expect(world.issued).toEqual(['web-1 issued']);
  });
});

describe('a client certificate', () => {
  let files: TempDir;

  async function start(settings: WorldSettings = {}): Promise<SdsWorld> {
    files = await makeTempDir();
    cleanups.push(() => files.remove());
    const { cert, key } = await makePair({ dnsNames: ['localhost'] });
    const [certFile, keyFile] = [join(files.path, 'cert.pem'), join(files.path, 'key.pem')];
    await writeFile(certFile, cert);
    await writeFile(keyFile, key);
    return makeWorld({ sdsAuth: 'mtls', apiTlsCertFile: certFile, apiTlsKeyFile: keyFile, ...settings });
  }

  const trust = () => Buffer.from(encodePem('CERTIFICATE', ca.certificate.der));
  const using = ({ key, cert }: PemPair) => ChannelCredentials.createSsl(trust(), key, cert);

  async function issued(world: SdsWorld, service: string, mesh = 'default'): Promise<PemPair> {
    const tags = createTags([['kuma.io/service', service]]);
    const answer = await world.certificates.issue(
      { mesh, dataplane: 'bootstrap', tags },
      { signal: new AbortController().signal },
    );
    const key = encodePem('PRIVATE KEY', answer.privateKeyDer ?? Buffer.alloc(0));
    return { cert: Buffer.from(encodePem('CERTIFICATE', answer.leaf)), key: Buffer.from(key) };
  }

  it('under the roots of the mesh gets a certificate of the services that it proves', async () => {
    const world = await start();
    const credentials = using(await issued(world, 'web'));
    const got = await outcome(world, { node: node('default.web-1', WEB), credentials });
    expect(got.code, got.details).toBe(GRANTED);
    expect(got.sans[0]).toBe('spiffe://default/web');
  });

  it('that proves nothing, or something else, is refused with words', async () => {
    const world = await start();
    await world.putMesh('ca-2', ['ca-2'], 'other');
    const meshCa = world.fake.ca;
    const cases: readonly {
      name: string;
      credentials: ChannelCredentials;
      tags?: object;
      code: status;
      says: RegExp;
    }[] = [
      {
        name: 'missing',
        credentials: ChannelCredentials.createSsl(trust()),
        code: status.UNAUTHENTICATED,
        says: /no client certificate/,
      },
      {
        name: 'foreign',
        credentials: using(await makePair({ uriSans: ['spiffe://default/web'] })),
        code: status.UNAUTHENTICATED,
        says: /not valid in mesh "default"/,
      },
      {
        name: 'expired',
        credentials: using(await makePair({ uriSans: ['spiffe://default/web'] }, meshCa, -0.01)),
        code: status.UNAUTHENTICATED,
        says: /ended at/,
      },
      {
        name: 'of another mesh',
        credentials: using(await issued(world, 'web', 'other')),
        code: status.UNAUTHENTICATED,
        says: /not valid in mesh/,
      },
      {
        name: 'without a SPIFFE ID of the mesh',
        credentials: using(await makePair({ uriSans: ['spiffe://other/web'] }, meshCa)),
        code: status.UNAUTHENTICATED,
        says: /no SPIFFE ID of mesh "default"/,
      },
      {
        name: 'of another service',
        credentials: using(await issued(world, 'db')),
        code: status.PERMISSION_DENIED,
        says: /does not prove spiffe:\/\/default\/web/,
      },
    ];
    for (const { name, credentials, code, says } of cases) {
      const got = await outcome(world, { node: node('default.web-1', WEB), credentials });
      expect.soft(got.code, name).toBe(code);
      expect.soft(got.details, name).toMatch(says);
    }
    expect(world.issued).toEqual([]);
  });

  it('may prove less than all tags where the operator wrote them, but its service', async () => {
    const world = await start();
    await world.putDataplane('web-1', { ...WEB, version: '2' });
    const credentials = using(await issued(world, 'web'));
    expect((await outcome(world, { node: node('default.web-1'), credentials })).code).toBe(GRANTED);
    const told = node('default.web-2', { ...WEB, version: '2' });
    expect((await outcome(world, { node: told, credentials })).code).toBe(status.PERMISSION_DENIED);
  });

  it('with a SPIFFE ID alone proves no tag but its service', async () => {
    const world = await start({ certificateProfile: 'spiffe' });
    const credentials = using(await issued(world, 'web'));
    const got = await outcome(world, { node: node('default.web-1', { ...WEB, team: 'payments' }), credentials });
    expect([got.code, got.details]).toEqual([status.PERMISSION_DENIED, expect.stringContaining('the tag team')]);
  });

  it('under a root that is gone ends its streams at once, and opens none', async () => {
    const world = await start();
    const credentials = using(await issued(world, 'web'));
    const client = world.connect(credentials, HOST);
    const [identity, trust] = [IDENTITY, ['mesh_ca']].map((names) =>
      client.open({ node: node('default.web-1', WEB), names }),
    );
    await Promise.all([identity?.next(), trust?.next()]);
    await world.putMesh('ca-2', ['ca-2']);
    expect((await identity?.ended)?.code).toBe(status.UNAUTHENTICATED);
    expect((await trust?.ended)?.code).toBe(status.UNAUTHENTICATED);
    expect(identity?.received).toHaveLength(1);
    const again = await outcome(world, { node: node('default.web-1', WEB), credentials });
    expect([again.code, again.details]).toEqual([status.UNAUTHENTICATED, expect.stringContaining('not valid in mesh')]);
  });

  it('of the server is read again when its files change', async () => {
    const world = await start();
    const credentials = using(await issued(world, 'web'));
    const renewed = await createFakeCa('next server root');
    const { cert, key } = await makePair({ dnsNames: ['localhost'] }, renewed);
    await writeFile(join(files.path, 'cert.pem'), cert);
    await writeFile(join(files.path, 'key.pem'), key);
    await world.pass(10_000);
    await world.until(() => world.lines.some(({ message }) => message.includes('read again')), 'new files');
    const refused = await outcome(world, { node: node('default.web-1', WEB), credentials });
    expect(refused.code).toBe(status.UNAVAILABLE);
    const other = Buffer.from(encodePem('CERTIFICATE', renewed.certificate.der));
    const again = await issued(world, 'web');
    const good = ChannelCredentials.createSsl(other, again.key, again.cert);
    expect((await outcome(world, { node: node('default.web-1', WEB), credentials: good })).code).toBe(GRANTED);
  });
});

describe('settings that would give keys away', () => {
  const cases: readonly { name: string; settings: WorldSettings; says: RegExp; fix: RegExp }[] = [
    {
      name: 'none on a network',
      settings: { sdsHost: '0.0.0.0' },
      says: /sdsAuth: none/,
      fix: /MESH_CA_SDS_AUTH=token/,
    },
    { name: 'none on a host name', settings: { sdsHost: 'localhost.example' }, says: /sdsAuth: none/, fix: /token/ },
    {
      name: 'plain text on a network',
      settings: { sdsHost: '::', sdsAuth: 'token' },
      says: /in clear/,
      fix: /apiTlsCertFile/,
    },
    {
      name: 'mtls without TLS',
      settings: { sdsAuth: 'mtls' },
      says: /needs a server certificate/,
      fix: /apiTlsCertFile/,
    },
    {
      name: 'files that are not there',
      settings: { sdsAuth: 'token', apiTlsCertFile: '/nowhere/cert.pem', apiTlsKeyFile: '/nowhere/key.pem' },
      says: /cannot be read \(ENOENT\)/,
      fix: /PEM file/,
    },
  ];
  for (const { name, settings, says, fix } of cases) {
    it(`are refused: ${name}`, async () => {
      const error = await createSdsWorld(settings).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (!(error instanceof ConfigError)) throw new Error(`got ${String(error)}`);
      expect(error.message).toMatch(says);
      expect(error.fix).toMatch(fix);
    });
  }

  it('are refused: a port that is taken', async () => {
    const world = await makeWorld({ sdsPort: 0 });
    const { port } = world;
    await expect(createSdsWorld({ sdsPort: port })).rejects.toThrow(
      /cannot listen on 127\.0\.0\.1:\d+ for SDS: EADDRINUSE/,
    );
  });
});
