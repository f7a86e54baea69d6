import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { run } from './run.ts';

let api: FakeApi;
let folder: string;
beforeEach(async () => {
  api = await startFakeApi();
  folder = await mkdtemp(join(tmpdir(), 'mesh-ca-cli-'));
});
afterEach(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

const cli = (line: string, options: Parameters<typeof run>[1] = {}) =>
  run(line.split(' '), { ...options, env: { MESH_CA_ADDRESS: api.address, ...options.env } });

function store(path: string, item: Record<string, unknown>): void {
  api.resources.set(path, { creationTime: '2026-01-01T00:00:00Z', modificationTime: '2026-01-02T03:03:05Z', ...item });
}

describe('get', () => {
  beforeEach(() => {
    store('/meshes/default', {
      type: 'Mesh',
      name: 'default',
      mtls: {
        enabledBackend: 'ca-1',
        backends: [
          { name: 'ca-0', type: 'vault' },
          { name: 'ca-1', type: 'builtin' },
        ],
      },
      metrics: { enabledBackend: 'prom', backends: [{ name: 'prom', type: 'prometheus' }] },
      logging: {
        backends: [
          { name: 'l1', type: 'tcp' },
          { name: 'l2', type: 'file' },
        ],
      },
      routing: { zoneEgress: true },
    });
    store('/meshes/plain', { type: 'Mesh', name: 'plain', modificationTime: '2020-01-01T00:00:00Z' });
    store('/meshes/with-mtls-off', { type: 'Mesh', name: 'with-mtls-off', mtls: { backends: [] } });
    store('/meshes/default/secrets/default.ca-builtin-cert-ca-1', {
      type: 'Secret',
      mesh: 'default',
      name: 'default.ca-builtin-cert-ca-1',
      data: 'c2VjcmV0',
    });
    store('/meshes/default/secrets/default.ca-builtin-key-ca-1', {
      type: 'Secret',
      mesh: 'default',
      name: 'default.ca-builtin-key-ca-1',
      data: 'c2VjcmV0',
    });
    store('/meshes/default/dataplanes/web-01', {
      type: 'Dataplane',
      mesh: 'default',
      name: 'web-01',
      networking: {
        address: '192.168.0.1',
        advertisedAddress: '10.0.0.1',
        inbound: [
          { port: 80, tags: { 'kuma.io/service': 'web', version: 'v1' } },
          { port: 81, tags: { 'kuma.io/service': 'api', version: 'v1' } },
        ],
      },
    });
  });

  it("shows meshes in kumactl's columns, over all pages", async () => {
    expect(await cli('get meshes')).toEqual({
      code: 0,
      stderr: '',
      stdout: [
        'NAME            mTLS           METRICS           LOGGING           TRACING   LOCALITY   ZONEEGRESS   AGE',
        'default         builtin/ca-1   prometheus/prom   tcp/l1, file/l2   off       off        on           1m',
        'plain           off            off               off               off       off        off          6y',
        'with-mtls-off   off            off               off               off       off        off          1m',
        '',
      ].join('\n'),
    });
  });

  it('shows secrets as the product page does', async () => {
    expect((await cli('get secrets')).stdout).toBe(
      [
        'MESH      NAME                           AGE',
        'default   default.ca-builtin-cert-ca-1   1m',
        'default   default.ca-builtin-key-ca-1    1m',
        '',
      ].join('\n'),
    );
  });

  it('shows data planes with merged tags and the advertised address', async () => {
    expect((await cli('get dataplanes')).stdout).toBe(
      [
        'MESH      NAME     TAGS                                 ADDRESS    AGE',
        'default   web-01   kuma.io/service=api,web version=v1   10.0.0.1   1m',
        '',
      ].join('\n'),
    );
  });

  it.each(['get dataplane web-01', 'get dataplanes web-01', 'get Dataplane web-01'])(
    'finds one by name: %s',
    async (line) => {
      expect((await cli(line)).stdout.split('\n')).toHaveLength(3);
    },
  );

  it('prints lists as JSON like the API, without pages', async () => {
    const { total, items, next } = JSON.parse((await cli('get meshes -o json')).stdout);
    expect({ total, next, names: items.map(({ name }: { name: string }) => name) }).toEqual({
      total: 3,
      next: null,
      names: ['default', 'plain', 'with-mtls-off'],
    });
  });

  it('prints an item as YAML as it is', async () => {
    expect((await cli('get secret default.ca-builtin-cert-ca-1 -o yaml')).stdout).toContain('data: c2VjcmV0\n');
  });

  it('takes the mesh before or after the command', async () => {
    await cli('-m plain get secrets');
    await cli('get secrets --mesh plain');
    expect(api.received.map(({ path }) => path)).toEqual(Array(2).fill('/meshes/plain/secrets?size=1000'));
  });

  it('shows nothing that a terminal would obey', async () => {
    store('/meshes/default', { type: 'Mesh', name: 'a\u001b[31mb\nc\u0007\u202e' });
    const { stdout } = await cli('get mesh default');
    expect(stdout.split('\n')[1]).toMatch(/^ab c +off/);
  });

  it("says in kumactl's words that there is none", async () => {
    expect(await cli('get dataplane web-9 -m default')).toEqual({
      code: 3,
      stdout: '',
      stderr: [
        'error: there is no Dataplane with name "web-9"',
        '  why: looked in mesh "default"',
        '  fix: see what there is: mesh-ca get dataplanes -m default',
        '',
      ].join('\n'),
    });
  });

  it('tells which resource has a shape that it does not know, and prints it as JSON all the same', async () => {
    store('/meshes/odd', { type: 'Mesh', name: 'odd', mtls: 7 });
    expect(await cli('get mesh odd')).toMatchObject({
      code: 5,
      stderr: expect.stringContaining('why: Mesh odd: mtls'),
    });
    expect(await cli('get mesh odd -o json')).toMatchObject({ code: 0 });
  });
});

describe('delete', () => {
  it('says what it deleted', async () => {
    store('/meshes/default/secrets/s1', { type: 'Secret', mesh: 'default', name: 's1' });
    expect(await cli('delete secret s1')).toEqual({ code: 0, stdout: 'deleted Secret "s1"\n', stderr: '' });
    expect(api.resources.size).toBe(0);
  });

  it('says that there is none', async () => {
    expect(await cli('delete mesh x')).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^error: there is no Mesh with name "x"\n {2}fix: /),
    });
  });

  it('tells why the server refuses', async () => {
    api.canned.set('DELETE /meshes/default/secrets/s1', {
      status: 400,
      json: {
        title: 'Could not delete a resource',
        detail: 'Resource is not valid',
        code: 'ERR_CONFIG_INVALID',
        invalid_parameters: [
          {
            field: 'name',
            reason: 'The secret "s1" that you are trying to remove is currently in use in Mesh "default"',
          },
        ],
      },
    });
    expect(await cli('delete secret s1')).toEqual({
      code: 5,
      stdout: '',
      stderr: [
        'error: Could not delete a resource (Resource is not valid)',
        '  why: name: The secret "s1" that you are trying to remove is currently in use in Mesh "default"',
        '',
      ].join('\n'),
    });
  });
});

describe('inspect dataplanes', () => {
  const mTLS = {
    certificateExpirationTime: '2020-05-11T16:01:34Z',
    lastCertificateRegeneration: '2026-01-02T03:04:02.994549539Z',
    certificateRegenerations: 2,
    issuedBackend: 'ca-1',
    supportedBackends: ['ca-1', 'ca-2'],
  };
  const dataplane = { networking: { address: '1.1.1.1', inbound: [{ port: 80, tags: { service: 'web' } }] } };
  const total = { responsesSent: '4', responsesRejected: 1 };
  const connected = { connectTime: '2026-01-02T03:04:00Z', status: { lastUpdateTime: '2026-01-02T03:04:02Z', total } };

  it("shows the page's columns and those of the backends", async () => {
    api.overviews.push(
      {
        type: 'DataplaneOverview',
        mesh: 'default',
        name: 'web-01',
        dataplane,
        dataplaneInsight: { subscriptions: [connected], mTLS },
      },
      { type: 'DataplaneOverview', mesh: 'default', name: 'web-02', dataplane },
    );
    expect((await cli('inspect dataplanes')).stdout).toBe(
      [
        'MESH      NAME     TAGS          STATUS    LAST CONNECTED AGO   LAST UPDATED AGO   TOTAL UPDATES   TOTAL ERRORS   CERT REGENERATED AGO   CERT EXPIRATION       CERT REGENERATIONS   CERT BACKEND   SUPPORTED CERT BACKENDS',
        'default   web-01   service=web   Online    5s                   3s                 4               1              2s                     2020-05-11 16:01:34   2                    ca-1           ca-1,ca-2',
        'default   web-02   service=web   Offline   never                never              0               0              never                  -                     0                    -              -',
        '',
      ].join('\n'),
    );
  });

  const notReady = { port: 81, tags: { service: 'x' }, state: 'NotReady' };
  it.each([
    {
      name: 'a closed subscription',
      subscriptions: [{ ...connected, disconnectTime: '2026-01-02T03:04:03Z' }],
      inbound: [],
      status: 'Offline',
    },
    {
      name: 'one of two open',
      subscriptions: [{ ...connected, disconnectTime: 'x' }, connected],
      inbound: [],
      status: 'Online',
    },
    {
      name: 'an inbound that is not ready',
      subscriptions: [connected],
      inbound: [{ port: 80, tags: {} }, notReady],
      status: 'Partially degraded',
    },
    { name: 'no inbound ready', subscriptions: [connected], inbound: [notReady], status: 'Offline' },
    {
      name: 'an inbound whose health says no',
      subscriptions: [connected],
      inbound: [{ port: 1, tags: {}, health: {} }],
      status: 'Offline',
    },
  ])('calls $name $status', async ({ subscriptions, inbound, status }) => {
    api.overviews.push({
      type: 'DataplaneOverview',
      mesh: 'default',
      name: 'web-01',
      dataplane: { networking: { inbound } },
      dataplaneInsight: { subscriptions },
    });
    expect((await cli('inspect dataplanes')).stdout).toContain(`   ${status}   `);
  });

  it('sends filters, and keeps them on every page', async () => {
    for (let index = 0; index < 3; index += 1)
      api.overviews.push({ type: 'DataplaneOverview', mesh: 'm', name: `d${index}` });
    await cli('inspect dataplanes -m m --tag kuma.io/service=web --tag version=v1 --gateway');
    const filters = 'tag=kuma.io%2Fservice%3Aweb&tag=version%3Av1&gateway=true&size=1000';
    expect(api.received.map(({ path }) => path)).toEqual([
      `/meshes/m/dataplanes/_overview?${filters}`,
      `/meshes/m/dataplanes/_overview?${filters}&offset=2`,
    ]);
  });
});

describe('calls', () => {
  it('carry the token of the file', async () => {
    await writeFile(join(folder, 'token'), 'abc.def\n');
    await cli(`get meshes --token-file ${join(folder, 'token')}`);
    await cli('get meshes', { env: { MESH_CA_TOKEN_FILE: join(folder, 'token') } });
    expect(api.received.map(({ headers }) => headers.authorization)).toEqual(['Bearer abc.def', 'Bearer abc.def']);
  });

  it.each([
    { name: 'an empty token file', content: '\n', why: 'the file is empty' },
    { name: 'a token file of several lines', content: 'a\nb\n', why: 'it is not one word of printable characters' },
  ])('refuse $name without a call', async ({ content, why }) => {
    await writeFile(join(folder, 'token'), content);
    expect(await cli(`get meshes --token-file ${join(folder, 'token')}`)).toMatchObject({
      code: 3,
      stderr: expect.stringContaining(why),
    });
    expect(api.received).toEqual([]);
  });

  it('say that a token file is not there', async () => {
    const { code, stderr } = await cli(`get meshes --token-file ${join(folder, 'none')}`);
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: `error: could not read the token from ${join(folder, 'none')}\n  why: there is no such file or folder\n`,
    });
  });

  it('say that nobody answers, and how to start somebody', async () => {
    await api.close();
    expect(await cli('get meshes')).toEqual({
      code: 4,
      stdout: '',
      stderr: [
        `error: no mesh-ca answers at ${api.address}`,
        '  why: nothing listens there',
        '  fix: start one: mesh-ca serve, or name the right one: --address http://HOST:PORT',
        '',
      ].join('\n'),
    });
  });

  it('give up after the time-out', async () => {
    api.canned.set('GET /meshes', 'hang');
    expect(await cli('get meshes --timeout 50ms')).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/did not answer in time\n {2}why: no answer within 50 ms\n {2}fix: /),
    });
  });

  it.each([
    { name: 'a web page', reply: { status: 200, text: '<html>' }, code: 5, stderr: /does not speak like mesh-ca/ },
    { name: 'other JSON', reply: { status: 200, json: { items: 'x' } }, code: 5, stderr: /has no usable items/ },
    { name: 'a redirect', reply: { status: 302, text: '' }, code: 5, stderr: /it redirects \(HTTP 302\)/ },
    {
      name: "a proxy's error page",
      reply: { status: 502, text: '<h1>Bad\u001b[31m Gateway</h1>' },
      code: 4,
      stderr: /HTTP 502 from .*\n {2}why: <h1>Bad Gateway<\/h1>/,
    },
    {
      name: 'an unknown code',
      reply: { status: 400, json: { title: 'T', code: 'ERR_NEW' } },
      code: 3,
      stderr: /^error: T\n$/,
    },
    {
      name: 'a missing right',
      reply: { status: 403, json: { title: 'Access Denied', code: 'ERR_ACCESS_DENIED' } },
      code: 3,
      stderr: /fix: .*--token-file/,
    },
    {
      name: 'a throttled backend',
      reply: { status: 429, json: { title: 'T', detail: 'd', code: 'ERR_ISSUER_RATE_LIMITED', retryAfterSeconds: 7 } },
      code: 4,
      stderr: /why: d\n {2}fix: try again in 7 s/,
    },
    {
      name: 'a bug',
      reply: {
        status: 500,
        json: { title: 'Internal Server Error', code: 'ERR_INTERNAL', fix: 'look for request 12' },
      },
      code: 1,
      stderr: /fix: look for request 12/,
    },
  ])('explain $name', async ({ reply, code, stderr }) => {
    api.canned.set('GET /meshes', reply);
    expect(await cli('get meshes')).toEqual({ code, stdout: '', stderr: expect.stringMatching(stderr) });
  });

  it('end with a list that never ends', async () => {
    api.canned.set('GET /meshes', {
      status: 200,
      json: { items: [{ type: 'Mesh', name: 'a' }], next: 'http://x/meshes?offset=0' },
    });
    expect((await cli('get meshes -o json')).code).toBe(0);
    expect(api.received).toHaveLength(1);
  });
});

describe('command lines', () => {
  it.each([
    { line: 'get', stderr: /missing required argument 'kind'/ },
    { line: 'get cats', stderr: /there is no kind "cats"\n {2}fix: use one of meshes, secrets, dataplanes/ },
    { line: 'get meshes -o xml', stderr: /Allowed choices are table, json, yaml/ },
    { line: 'get meshes --timeout soon', stderr: /--timeout soon is no duration/ },
    { line: 'get meshes --address ftp://x', stderr: /neither http nor https/ },
    { line: 'get meshes --address nowhere', stderr: /is no URL/ },
    { line: 'get meshes --address http://user:pass@host', stderr: /holds a user name or password/ },
    { line: 'get meshes --nonsense', stderr: /unknown option '--nonsense'/ },
    { line: 'gte meshes', stderr: /Did you mean get\?/ },
    { line: 'delete mesh', stderr: /missing required argument 'name'/ },
    { line: 'apply', stderr: /required option '-f, --file/ },
    { line: 'inspect dataplanes --tag web', stderr: /write it as TAG=VALUE/ },
    { line: 'issue ../x', stderr: /the name "\.\.\/x" is not usable/ },
    { line: 'issue web-1 --csr a --key-from-server', stderr: /exclude each other/ },
    { line: 'serve --mesh x', stderr: /serve takes no --mesh/ },
  ])('that are wrong end with code 2 and no call: $line', async ({ line, stderr }) => {
    expect(await cli(line)).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(stderr) });
    expect(api.received).toEqual([]);
  });

  it.each([['--help'], ['help'], ['get', '--help'], ['help', 'apply'], ['inspect', 'dataplanes', '--help']])(
    'print help: %s %s',
    async (...argv) => {
      const { code, stdout, stderr } = await run(argv);
      expect({ code, stderr, starts: stdout.startsWith('Usage: mesh-ca') }).toEqual({
        code: 0,
        stderr: '',
        starts: true,
      });
    },
  );

  it('print the version', async () => {
    expect(await run(['--version'])).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    });
  });

  it('colour on a terminal only, and not where it is unwanted', async () => {
    const isColoured = async (options: Parameters<typeof run>[1], line = 'get meshes') =>
      (await cli(line, options)).stdout.includes('\u001b[');
    expect(await isColoured({ tty: true })).toBe(true);
    expect(await isColoured({ tty: false })).toBe(false);
    expect(await isColoured({ tty: true, env: { NO_COLOR: '1' } })).toBe(false);
    expect(await isColoured({ tty: true, env: { TERM: 'dumb' } })).toBe(false);
    expect(await isColoured({ tty: true }, 'get meshes --no-color')).toBe(false);
    expect(await isColoured({ tty: true }, 'get meshes -o json')).toBe(false);
  });
});
