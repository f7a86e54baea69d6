import { createPrivateKey, X509Certificate } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { run } from './run.ts';

let api: FakeApi;
let folder: string;
beforeEach(async () => {
  api = await startFakeApi();
  folder = await mkdtemp(join(tmpdir(), 'mesh-ca-issue-'));
});
afterEach(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

const TAGS = ['--tag', 'kuma.io/service=web', '--tag', 'version=v1', '--tag', 'version=v2'];
const out = () => join(folder, 'certs');
const issue = (...argv: string[]) =>
  run(['issue', 'web-1', ...TAGS, '--out', out(), ...argv], { env: { MESH_CA_ADDRESS: api.address } });
const read = (name: string) => readFile(join(out(), name), 'utf8');
const calls = () => api.received.map(({ method, path }) => `${method} ${path.split('/').at(-1)}`);

describe('issue', () => {
  it('makes the key here, writes four files with mode 0600 and tells what is in them', async () => {
    expect(await issue()).toEqual({
      code: 0,
      stderr: '',
      stdout: [
        'DATA PLANE      web-1 of mesh default',
        'OUTCOME         issued, backend ca-1 (builtin)',
        'SERIAL NUMBER   11',
        'URI SANS        spiffe://default/web',
        '                kuma://kuma.io/service/web',
        '                kuma://version/v1',
        '                kuma://version/v2',
        'COMMON NAME     -',
        'NOT AFTER       2036-01-01 00:00:00',
        'RENEW AT        2034-01-01 00:00:00',
        'TRUST BUNDLE    version 6',
        `FILES           ${out()}/web-1.key`,
        `                ${out()}/web-1.crt`,
        `                ${out()}/web-1.chain.crt`,
        `                ${out()}/ca.crt`,
        '',
      ].join('\n'),
    });
    expect((await readdir(out())).sort()).toEqual(['ca.crt', 'web-1.chain.crt', 'web-1.crt', 'web-1.key']);
    for (const name of await readdir(out())) expect((await stat(join(out(), name))).mode & 0o777).toBe(0o600);
    const leaf = new X509Certificate(await read('web-1.crt'));
    expect(leaf.checkPrivateKey(createPrivateKey(await read('web-1.key')))).toBe(true);
    expect(await read('web-1.chain.crt')).toBe((await read('web-1.crt')) + (await read('ca.crt')));
    expect(leaf.verify(new X509Certificate(await read('ca.crt')).publicKey)).toBe(true);
  });

  it('never sends the private key', async () => {
    await issue();
    const sent = JSON.stringify(api.received);
    expect(sent).toContain('BEGIN CERTIFICATE REQUEST');
    expect(sent).not.toContain('PRIVATE KEY');
    expect(api.received[0]?.body).toEqual({ tags: { 'kuma.io/service': ['web'], version: ['v1', 'v2'] } });
  });

  it('states the bundle that it wrote', async () => {
    await issue();
    expect(calls()).toEqual(['POST _identity', 'POST _certificate', 'GET _trust-bundle']);
    expect(api.received[2]?.headers).toMatchObject({ 'if-none-match': '"6"', accept: 'application/x-pem-file' });
  });

  it('writes a newer bundle first, then states that', async () => {
    api.bundleVersion = 9;
    expect((await issue()).stdout).toContain('TRUST BUNDLE    version 9\n');
    expect(await read('ca.crt')).toMatch(/^# version 9\n/);
    expect(api.received.slice(2).map(({ headers }) => headers['if-none-match'])).toEqual(['"6"', '"9"']);
  });

  it('succeeds with a warning when the bundle cannot be stated', async () => {
    api.canned.set('GET /meshes/default/dataplanes/web-1/_trust-bundle', { status: 503, json: { title: 'Not now' } });
    expect(await issue()).toMatchObject({
      code: 0,
      stderr: 'warning: could not tell mesh-ca that the trust bundle is in place: Not now\n',
    });
  });

  it('keeps key and certificate when it is run again', async () => {
    await issue();
    const before = [await read('web-1.key'), await read('web-1.crt')];
    expect((await issue()).stdout).toContain('OUTCOME         reused, backend ca-1 (builtin)\n');
    expect([await read('web-1.key'), await read('web-1.crt')]).toEqual(before);
  });

  it('makes both anew with --force', async () => {
    await issue();
    const before = await read('web-1.key');
    expect((await issue('--force')).stdout).toContain('OUTCOME         issued');
    expect(await read('web-1.key')).not.toBe(before);
    expect(api.received.at(-2)?.body.force).toBe(true);
  });

  it.each([
    { keyTypes: ['RSA-2048'], type: 'rsa' },
    { keyTypes: ['RSA-2048', 'EC-P384'], type: 'ec' },
  ])('makes a key that the backend signs: $keyTypes', async ({ keyTypes, type }) => {
    api.keyTypes = keyTypes;
    expect((await issue()).code).toBe(0);
    expect(createPrivateKey(await read('web-1.key')).asymmetricKeyType).toBe(type);
  });

  it('sends the certificate of before along, and does not ask the backend for names while it stands', async () => {
    await issue();
    api.received.length = 0;
    expect((await issue()).code).toBe(0);
    expect(calls()).toEqual(['POST _certificate', 'GET _trust-bundle']);
    const sent = api.received.find(({ path }) => path.endsWith('_certificate'))?.body;
    expect(sent?.current).toBe(await read('web-1.crt'));
  });

  it('makes a new key when the backend does not sign the one of before', async () => {
    await issue();
    api.keyTypes = ['RSA-2048'];
    expect((await issue()).code).toBe(0);
    expect(createPrivateKey(await read('web-1.key')).asymmetricKeyType).toBe('rsa');
  });

  it('takes no key over the network without being told to', async () => {
    api.keyTypes = [];
    expect(await issue()).toEqual({
      code: 3,
      stdout: '',
      stderr: [
        'error: the backend does not sign keys that are made here',
        '  why: it tells no key type at all',
        '  fix: let the key be made there: add --key-from-server (the private key then crosses the network once)',
        '',
      ].join('\n'),
    });
    expect((await issue('--key-from-server')).code).toBe(0);
    const leaf = new X509Certificate(await read('web-1.crt'));
    expect(leaf.checkPrivateKey(createPrivateKey(await read('web-1.key')))).toBe(true);
    expect(calls().slice(1)).toEqual(['POST _certificate', 'GET _trust-bundle']);
  });

  it("uses a caller's request, and writes no key", async () => {
    const keyPair = await generateKeyPair('EC-P256');
    const csr = encodePem('CERTIFICATE REQUEST', createCsr(keyPair, { uriSans: [], dnsNames: [], commonName: 'x' }));
    await writeFile(join(folder, 'web.csr'), csr);
    expect((await issue('--csr', join(folder, 'web.csr'))).code).toBe(0);
    expect((await readdir(out())).sort()).toEqual(['ca.crt', 'web-1.chain.crt', 'web-1.crt']);
    expect(new X509Certificate(await read('web-1.crt')).checkPrivateKey(keyPair.privateKey)).toBe(true);
  });

  it.each([
    { name: 'no PEM', text: 'hello', stderr: /it holds no PEM block CERTIFICATE REQUEST/ },
    {
      name: 'no request in the PEM',
      text: encodePem('CERTIFICATE REQUEST', Buffer.from('3000', 'hex')),
      stderr: /cannot be used\n {2}why: /,
    },
  ])('refuses a request file with $name before any call', async ({ text, stderr }) => {
    await writeFile(join(folder, 'web.csr'), text);
    expect(await issue('--csr', join(folder, 'web.csr'))).toEqual({
      code: 3,
      stdout: '',
      stderr: expect.stringMatching(stderr),
    });
    expect(api.received).toEqual([]);
  });

  it('writes nothing when the certificate is for another key', async () => {
    api.foreignKey = true;
    expect(await issue()).toMatchObject({
      code: 5,
      stderr: expect.stringMatching(/^error: the certificate for web-1 does not belong to the key made here\n/),
    });
    await expect(readdir(out())).rejects.toThrow();
  });

  it('leaves what is there alone when the server refuses', async () => {
    await issue();
    const before = await read('web-1.key');
    api.canned.set('POST /meshes/default/dataplanes/web-1/_certificate', {
      status: 503,
      json: {
        title: 'Backend not available',
        detail: 'issuer(vault v1): no answer',
        code: 'ERR_ISSUER_UNAVAILABLE',
        retryAfterSeconds: 3,
      },
    });
    expect(await issue('--force')).toEqual({
      code: 4,
      stdout: '',
      stderr: [
        'error: Backend not available',
        '  why: issuer(vault v1): no answer',
        '  fix: try again in 3 s',
        '',
      ].join('\n'),
    });
    expect(await read('web-1.key')).toBe(before);
    expect(await readdir(out())).toHaveLength(4);
  });

  describe('when the backend fails', () => {
    const CERTIFICATE = 'POST /meshes/default/dataplanes/web-1/_certificate';
    const CAUSE = { code: 'ERR_ISSUER_UNAVAILABLE', detail: 'issuer(vault v1): no answer within 5 s' };
    const problem = { title: 'Backend not available', code: 'ERR_ISSUER_UNAVAILABLE', retry: true };

    it('tells of a backend that was not asked the breaker, the cause and the time', async () => {
      const detail = 'issuer(vault v1): not asked again before 03:04:35 UTC (breaker open): no answer within 5 s';
      const json = { ...problem, detail, breaker: 'open', cause: CAUSE, retryAfterSeconds: 30, fix: 'start Vault' };
      api.canned.set(CERTIFICATE, { status: 503, json });
      expect(await issue()).toEqual({
        code: 4,
        stdout: '',
        stderr: [
          'error: Backend not available',
          `  why: ${detail}`,
          '       breaker: open, nobody asks the backend now',
          '       cause: ERR_ISSUER_UNAVAILABLE',
          '       asked again in 30 s',
          '  fix: start Vault',
          '',
        ].join('\n'),
      });
    });

    it('tells a cause in full when nothing else has', async () => {
      const json = { ...problem, detail: 'held back', breaker: 'half-open', cause: CAUSE, retryAfterSeconds: 90 };
      api.canned.set(CERTIFICATE, { status: 503, json });
      expect((await issue()).stderr).toContain(
        [
          '  why: held back',
          '       breaker: half-open, one request is trying whether the backend is well again',
          '       cause: ERR_ISSUER_UNAVAILABLE, issuer(vault v1): no answer within 5 s',
          '       asked again in 1 min 30 s',
          '  fix: try again in 90 s',
        ].join('\n'),
      );
    });

    it.each([
      {
        name: 'all that is known',
        told: { validForSeconds: 12_100, retryAfterSeconds: 30, breaker: 'closed', cause: CAUSE },
        stderr: [
          'warning: the backend ca-1 fails; this is the certificate of before, good until 2036-01-01 00:00:00 (3 h 21 min from now)',
          '  why: breaker: closed, the backend as a whole is not held back',
          '       cause: ERR_ISSUER_UNAVAILABLE, issuer(vault v1): no answer within 5 s',
          '  fix: run the same command again in 30 s; what is wrong: mesh-ca validate default --backend ca-1',
        ],
      },
      {
        name: 'a store that fails is no fault of the backend',
        told: {
          retryAfterSeconds: 1,
          cause: { code: 'ERR_STORE_UNAVAILABLE', detail: 'the disk of the store is full' },
        },
        stderr: [
          'warning: mesh-ca cannot store a new one; this is the certificate of before, good until 2036-01-01 00:00:00',
          '  why: cause: ERR_STORE_UNAVAILABLE, the disk of the store is full',
          '  fix: run the same command again in 1 s; what is wrong: look into the log of mesh-ca',
        ],
      },
      {
        name: 'nothing more',
        told: {},
        stderr: [
          'warning: the backend ca-1 fails; this is the certificate of before, good until 2036-01-01 00:00:00',
          '  fix: run the same command again later; what is wrong: mesh-ca validate default --backend ca-1',
        ],
      },
    ])(
      'says of a stale certificate how long it holds, why, and when to come again: $name',
      async ({ told, stderr }) => {
        const body = { tags: { 'kuma.io/service': 'web' } };
        const answer = await fetch(`${api.address}/meshes/default/dataplanes/web-1/_certificate`, {
          method: 'POST',
          body: JSON.stringify(body),
        });
        api.canned.set(CERTIFICATE, {
          status: 200,
          json: { ...Object(await answer.json()), ...told, outcome: 'stale' },
        });
        const ran = await issue('--key-from-server');
        expect({ code: ran.code, stderr: ran.stderr }).toEqual({ code: 0, stderr: `${stderr.join('\n')}\n` });
        expect(ran.stdout).toContain('OUTCOME         stale, backend ca-1 (builtin)\n');
      },
    );
  });

  it('does not overwrite a key file that it cannot read', async () => {
    await mkdir(out());
    await writeFile(join(out(), 'web-1.key'), 'not a key');
    expect(await issue()).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/could not use the private key .*\n {2}why: .*\n {2}fix: .*--force/),
    });
    expect(await read('web-1.key')).toBe('not a key');
    expect((await issue('--force')).code).toBe(0);
  });

  it('leaves no temporary file behind when a file cannot take its place', async () => {
    await mkdir(join(out(), 'ca.crt', 'occupied'), { recursive: true });
    expect(await issue()).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^error: could not write files to /),
    });
    expect((await readdir(out())).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('tightens the mode of files that were open to others', async () => {
    await issue();
    await chmod(join(out(), 'web-1.key'), 0o644);
    await issue();
    expect((await stat(join(out(), 'web-1.key'))).mode & 0o777).toBe(0o600);
  });

  it('prints JSON without key and certificates', async () => {
    const { stdout } = await issue('-o', 'json');
    expect(JSON.parse(stdout)).toEqual({
      mesh: 'default',
      dataplane: 'web-1',
      backend: 'ca-1',
      type: 'builtin',
      serialNumber: '11',
      uriSans: expect.arrayContaining(['spiffe://default/web']),
      commonName: '',
      notBefore: '2026-01-01T00:00:00.000Z',
      notAfter: '2036-01-01T00:00:00.000Z',
      renewAt: '2034-01-01T00:00:00Z',
      outcome: 'issued',
      trustBundleVersion: '6',
      files: ['web-1.key', 'web-1.crt', 'web-1.chain.crt', 'ca.crt'].map((name) => join(out(), name)),
    });
  });

  it('passes on what the server says about a data plane without tags', async () => {
    const env = { MESH_CA_ADDRESS: api.address };
    expect(await run(['issue', 'web-1', '--out', out()], { env })).toMatchObject({
      code: 3,
      stderr: 'error: Bad Request\n  why: there is no Dataplane "web-1" in mesh "default"\n  fix: send tags\n',
    });
  });
});
