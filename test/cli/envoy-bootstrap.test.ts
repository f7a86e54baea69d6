import { readFileSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { parseDocuments } from '../../src/mesh/documents.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { run } from './run.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TOKEN = ['--dataplane-token-file', '/etc/mesh-ca/web-1.token'];

let api: FakeApi;
let folder: TempDir;
beforeEach(async () => {
  api = await startFakeApi();
  folder = await makeTempDir();
  putMesh('default', { mode: 'STRICT' });
});
afterEach(async () => {
  await api.close();
  await folder.remove();
});

const bootstrap = (argv: readonly string[]) =>
  run(['envoy-bootstrap', ...argv], { env: { MESH_CA_ADDRESS: api.address } });

function put(path: string, body: Record<string, unknown>): void {
  api.resources.set(path, { ...body, creationTime: '2026-01-02T03:00:05Z', modificationTime: '2026-01-02T03:00:05Z' });
}

function putMesh(name: string, { mode, enabledBackend = 'ca-1' }: { mode?: string; enabledBackend?: string }): void {
  const backends = [{ name: 'ca-1', type: 'builtin', ...(mode === undefined ? {} : { mode }) }];
  put(`/meshes/${name}`, { type: 'Mesh', name, mtls: { enabledBackend, backends } });
}

type Tags = Readonly<Record<string, string>>;
interface Port {
  readonly port: number;
  readonly tags: Tags;
  readonly servicePort?: number;
  readonly address?: string;
}

function putDataplane(name: string, networking: { inbound?: Port[]; outbound?: Port[]; address?: string }): void {
  put(`/meshes/default/dataplanes/${name}`, {
    type: 'Dataplane',
    mesh: 'default',
    name,
    networking: { address: '192.0.2.1', ...networking },
  });
}

/** What the tests look at, of all that Envoy knows. */
interface Bootstrap {
  readonly node: { readonly id: string; readonly cluster: string; readonly metadata?: { readonly tags: unknown } };
  readonly admin: unknown;
  readonly static_resources: {
    readonly secrets?: readonly unknown[];
    readonly listeners: readonly Named[];
    readonly clusters: readonly Named[];
  };
}
interface Named {
  readonly name: string;
  readonly [field: string]: unknown;
}

async function printed(argv: readonly string[]): Promise<Bootstrap> {
  const { code, stdout, stderr } = await bootstrap(argv);
  expect([code, stderr]).toEqual([0, '']);
  return parse(stdout);
}

/** All values of a field, wherever it stands. */
function findAll(value: unknown, field: string): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, one]) => [...(name === field ? [one] : []), ...findAll(one, field)]);
}

const WEB = { port: 8443, servicePort: 8080, tags: { 'kuma.io/service': 'web', 'kuma.io/protocol': 'http' } };
const sockets = (value: unknown) => findAll(value, 'socket_address');

describe('envoy-bootstrap', () => {
  it('knows ports, service and protocol from the Dataplane, and the mode from the Mesh', async () => {
    putDataplane('web-1', { inbound: [WEB] });
    const { node, static_resources } = await printed(['web-1', ...TOKEN]);
    expect(node).toEqual({ id: 'default.web-1', cluster: 'web' });
    expect(static_resources.listeners.map(({ name }) => name)).toEqual(['inbound:8443']);
    expect(sockets(static_resources.listeners)).toEqual([{ address: '192.0.2.1', port_value: 8443 }]);
    expect(static_resources.clusters.map(({ name }) => name)).toEqual(['mesh-ca', 'inbound:8443']);
    expect(sockets(static_resources.clusters)).toEqual([
      { address: '127.0.0.1', port_value: 5678 },
      { address: '127.0.0.1', port_value: 8080 },
    ]);
    expect(findAll(static_resources, 'require_client_certificate')).toEqual([true]);
    expect(findAll(static_resources.listeners, 'transport_protocol')).toEqual([]);
    expect(JSON.stringify(static_resources.listeners)).toContain('http_connection_manager');
  });

  it('reaches the services of its outbounds at the data planes that serve them, and takes nobody else for them', async () => {
    const serving = (port: number): Port => ({ ...WEB, port, tags: { 'kuma.io/service': 'ledger' } });
    putDataplane('ledger-1', { inbound: [serving(9001)] });
    putDataplane('ledger-2', { inbound: [serving(9002), WEB], address: '192.0.2.2' });
    putDataplane('ledgers-1', { inbound: [{ ...WEB, tags: { 'kuma.io/service': 'ledgers' } }] });
    const outbound = [{ port: 10_001, tags: { 'kuma.io/service': 'ledger' } }];
    putDataplane('web-1', { inbound: [WEB], outbound });
    const { static_resources } = await printed(['web-1', ...TOKEN]);
    const cluster = static_resources.clusters.find(({ name }) => name === 'outbound:ledger:10001');
    expect(sockets(cluster)).toEqual([
      { address: '192.0.2.1', port_value: 9001 },
      { address: '192.0.2.2', port_value: 9002 },
    ]);
    expect(findAll(cluster, 'match_typed_subject_alt_names')).toEqual([
      [{ san_type: 'URI', matcher: { exact: 'spiffe://default/ledger' } }],
    ]);
    const listener = static_resources.listeners.find(({ name }) => name === 'outbound:ledger:10001');
    expect(sockets(listener)).toEqual([{ address: '127.0.0.1', port_value: 10_001 }]);
    expect(JSON.stringify(listener)).toContain('tcp_proxy');
  });

  it('warns of a service that nobody serves', async () => {
    putDataplane('web-1', { inbound: [WEB], outbound: [{ port: 10_001, tags: { 'kuma.io/service': 'ledger' } }] });
    const { code, stderr } = await bootstrap(['web-1', ...TOKEN]);
    expect([code, stderr]).toEqual([
      0,
      'warning: no data plane of service ledger is known; print the bootstrap again when there is one\n',
    ]);
  });

  it('takes any client of the mesh, and no other', async () => {
    putDataplane('web-1', { inbound: [WEB] });
    const { static_resources } = await printed(['web-1', ...TOKEN]);
    expect(findAll(static_resources.listeners, 'match_typed_subject_alt_names')).toEqual([
      [{ san_type: 'URI', matcher: { prefix: 'spiffe://default/' } }],
    ]);
  });

  it.each([
    { mesh: 'PERMISSIVE', typed: [], chains: ['tls', 'raw_buffer'] },
    { mesh: 'STRICT', typed: ['--mode', 'permissive'], chains: ['tls', 'raw_buffer'] },
    { mesh: 'PERMISSIVE', typed: ['--mode', 'strict'], chains: [] },
    { mesh: undefined, typed: [], chains: [] },
  ])('is for the mode $mesh of the mesh with $typed', async ({ mesh, typed, chains }) => {
    putMesh('default', mesh === undefined ? {} : { mode: mesh });
    putDataplane('web-1', { inbound: [WEB] });
    const { static_resources } = await printed(['web-1', ...TOKEN, ...typed]);
    expect(findAll(static_resources.listeners, 'transport_protocol')).toEqual(chains);
    // Whoever comes in by TLS shows a certificate, whatever the mode.
    expect(findAll(static_resources.listeners, 'require_client_certificate')).toEqual([true]);
  });

  it('serves several inbounds, and none of a gateway', async () => {
    putDataplane('web-1', { inbound: [WEB, { ...WEB, port: 8444 }] });
    const { static_resources } = await printed(['web-1', ...TOKEN, '--protocol', 'tcp']);
    expect(static_resources.listeners.map(({ name }) => name)).toEqual(['inbound:8443', 'inbound:8444']);
    expect(JSON.stringify(static_resources.listeners)).not.toContain('http_connection_manager');
    put('/meshes/default/dataplanes/gate', {
      type: 'Dataplane',
      mesh: 'default',
      name: 'gate',
      networking: { address: '192.0.2.1', gateway: { tags: { 'kuma.io/service': 'gate' } } },
    });
    const gateway = await printed(['gate', ...TOKEN]);
    expect([gateway.node.cluster, gateway.static_resources.listeners]).toEqual(['gate', []]);
  });

  it('does without a Dataplane when tags and ports are typed', async () => {
    const tags = ['--tag', 'kuma.io/service=web', '--tag', 'kuma.io/service=web-api'];
    const ports = ['--inbound-port', '8443', '--service-port', '8080', '--admin-port', '0'];
    const { node, admin, static_resources } = await printed(['web-9', ...TOKEN, ...tags, ...ports]);
    expect(node).toEqual({
      id: 'default.web-9',
      cluster: 'web',
      metadata: { tags: { 'kuma.io/service': ['web', 'web-api'] } },
    });
    expect(sockets(admin)).toEqual([{ address: '127.0.0.1', port_value: 0 }]);
    expect(sockets(static_resources.listeners)).toEqual([{ address: '127.0.0.1', port_value: 8443 }]);
  });

  it('asks for all secrets by one and the same configuration', async () => {
    putDataplane('web-1', { inbound: [WEB, { ...WEB, port: 8444 }] });
    const outbound = ['--outbound-service', 'db', '--outbound-port', '10001', '--outbound-address', 'db.example:5432'];
    const names = ['--identity-name', 'me', '--trust-name', 'roots', '--sds-delta'];
    const { static_resources } = await printed(['web-1', ...TOKEN, ...outbound, ...names]);
    const configs = findAll(static_resources, 'sds_config');
    expect(configs).toHaveLength(6);
    expect(new Set(configs.map((config) => JSON.stringify(config))).size).toBe(1);
    expect(findAll(configs[0], 'api_type')).toEqual(['DELTA_GRPC']);
    const text = JSON.stringify(static_resources);
    expect([text.match(/"name":"me"/g)?.length, text.match(/"name":"roots"/g)?.length]).toEqual([3, 3]);
  });

  it('prints JSON of the same', async () => {
    putDataplane('web-1', { inbound: [WEB] });
    const { stdout } = await bootstrap(['web-1', ...TOKEN, '-o', 'json']);
    expect(JSON.parse(stdout)).toEqual(await printed(['web-1', ...TOKEN]));
  });

  it('writes it with mode 0600, and says what to type next', async () => {
    putDataplane('web-1', { inbound: [WEB] });
    const file = join(folder.path, 'web-1.yaml');
    const { stdout } = await bootstrap(['web-1', ...TOKEN, '--write', file]);
    expect(stdout).toBe(`wrote ${file}; next: envoy -c ${file}\n`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(parse(await readFile(file, 'utf8'))).toEqual(await printed(['web-1', ...TOKEN]));
  });
});

describe('the proof of who the proxy is', () => {
  beforeEach(() => putDataplane('web-1', { inbound: [WEB] }));

  it('is a token in a file that Envoy itself reads: the bootstrap holds no secret', async () => {
    const { static_resources } = await printed(['web-1', ...TOKEN]);
    expect(static_resources.secrets).toEqual([
      { name: 'dataplane-token', generic_secret: { secret: { filename: '/etc/mesh-ca/web-1.token' } } },
    ]);
    expect(findAll(static_resources.clusters, 'header_value_prefix')).toEqual(['Bearer ']);
    expect(JSON.stringify(static_resources)).not.toContain('initial_metadata');
  });

  it('is the token itself when that is wanted, and then never on the terminal', async () => {
    const token = join(folder.path, 'web-1.token');
    await writeFile(token, 'aaa.bbb.ccc\n');
    const argv = ['web-1', '--dataplane-token-file', token, '--inline-token'];
    const refused = await bootstrap(argv);
    expect([refused.code, refused.stdout]).toEqual([2, '']);
    const file = join(folder.path, 'web-1.yaml');
    const { code, stdout } = await bootstrap([...argv, '--write', file]);
    expect([code, stdout.includes('aaa')]).toEqual([0, false]);
    expect(findAll(parse(await readFile(file, 'utf8')), 'initial_metadata')).toEqual(
      Array(2).fill([{ key: 'authorization', value: 'Bearer aaa.bbb.ccc' }]),
    );
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it('is a certificate with --sds-auth mtls', async () => {
    const files = [
      '--sds-ca-file',
      '/p/ca.crt',
      '--sds-cert-file',
      '/p/web-1.chain.crt',
      '--sds-key-file',
      '/p/web-1.key',
    ];
    const { static_resources } = await printed(['web-1', '--sds-auth', 'mtls', ...files]);
    expect(findAll(static_resources.clusters[0], 'tls_certificates')).toEqual([
      [{ certificate_chain: { filename: '/p/web-1.chain.crt' }, private_key: { filename: '/p/web-1.key' } }],
    ]);
    expect(static_resources.secrets).toBeUndefined();
  });

  it.each([
    {
      host: 'ca.example',
      matcher: { san_type: 'DNS', matcher: { exact: 'ca.example' } },
      sni: ['ca.example'],
      type: 'STRICT_DNS',
    },
    {
      host: '192.0.2.9',
      matcher: { san_type: 'IP_ADDRESS', matcher: { exact: '192.0.2.9' } },
      sni: [],
      type: 'STATIC',
    },
    {
      host: '[2001:db8::9]',
      matcher: { san_type: 'IP_ADDRESS', matcher: { exact: '2001:db8::9' } },
      sni: [],
      type: 'STATIC',
    },
  ])('is given to $host alone, whose certificate has to say so', async ({ host, matcher, sni, type }) => {
    const argv = ['--sds-address', `${host}:5678`, '--sds-ca-file', '/p/ca.crt'];
    const [cluster] = (await printed(['web-1', ...TOKEN, ...argv])).static_resources.clusters;
    expect(findAll(cluster, 'match_typed_subject_alt_names')).toEqual([[matcher]]);
    expect([findAll(cluster, 'sni'), cluster?.type]).toEqual([sni, type]);
  });

  it.each<[string, string[], string]>([
    ['no token', [], 'mesh-ca generate dataplane-token -m default --name web-1 --valid-for 720h --write web-1.token'],
    [
      'no token that names its tags',
      ['--tag', 'kuma.io/service=a', '--tag', 'kuma.io/service=b'],
      'mesh-ca generate dataplane-token -m default --name web-1 --tag kuma.io/service=a,b --valid-for 720h',
    ],
    ['another machine without TLS', [...TOKEN, '--sds-address', '192.0.2.9:5678'], '--sds-ca-file FILE'],
    ['a name that may be another machine', [...TOKEN, '--sds-address', '127.0.0.1.example:5678'], '--sds-ca-file FILE'],
    ['mtls without TLS', ['--sds-auth', 'mtls'], '--sds-ca-file FILE'],
    ['mtls without a certificate', ['--sds-auth', 'mtls', '--sds-ca-file', 'ca.crt'], 'mesh-ca issue web-1 -m default'],
    ['an address without port', [...TOKEN, '--sds-address', 'localhost'], 'write it as HOST:PORT'],
    ['a port that is none', [...TOKEN, '--sds-address', 'localhost:0'], 'write it as HOST:PORT'],
    ['a bracket around a name', [...TOKEN, '--sds-address', '[abc]:1'], 'write it as HOST:PORT'],
    ['a port beyond all ports', [...TOKEN, '--admin-port', '65536'], 'write a whole number from 0 to 65535'],
    ['an outbound in part', [...TOKEN, '--outbound-service', 'db'], '--outbound-service NAME --outbound-port PORT'],
    [
      'an inbound that calls itself',
      [...TOKEN, '--service-port', '8443', '--service-address', '192.0.2.1'],
      '--service-port PORT',
    ],
    [
      'an inbound on all addresses that calls itself',
      [...TOKEN, '--service-port', '8443', '--inbound-address', '0.0.0.0'],
      '--service-port PORT',
    ],
  ])('is not printed with %s', async (_name, argv, says) => {
    const { code, stdout, stderr } = await bootstrap(['web-1', ...argv]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(says);
  });

  it('may be left out', async () => {
    expect((await printed(['web-1', '--sds-auth', 'none'])).static_resources.secrets).toBeUndefined();
  });
});

describe('what cannot be known', () => {
  it('is told: a data plane without a resource', async () => {
    const { code, stderr } = await bootstrap(['web-9', ...TOKEN]);
    expect(code).toBe(2);
    expect(stderr).toContain('there is no Dataplane web-9 in mesh default, so nobody knows its tags and ports');
    expect(stderr).toContain('--tag kuma.io/service=NAME --inbound-port PORT --service-port PORT');
  });

  it('is told: a port of an inbound that is typed in part', async () => {
    const { stderr } = await bootstrap(['web-9', ...TOKEN, '--tag', 'a=b', '--service-port', '8080']);
    expect(stderr).toContain('name it: --inbound-port PORT');
  });

  it('is told: which of several inbounds is meant', async () => {
    putDataplane('web-1', { inbound: [WEB, { ...WEB, port: 8444 }] });
    const { code, stderr } = await bootstrap(['web-1', ...TOKEN, '--service-port', '1']);
    expect(code).toBe(2);
    expect(stderr).toContain('the Dataplane web-1 has 2 inbounds');
  });

  it('is told: a mesh whose mTLS is off', async () => {
    putMesh('default', { enabledBackend: '' });
    putDataplane('web-1', { inbound: [WEB] });
    const { code, stderr } = await bootstrap(['web-1', ...TOKEN]);
    expect(code).toBe(3);
    expect(stderr).toContain('mTLS of mesh "default" is off');
  });

  it('is told: a mesh that is not there', async () => {
    expect((await bootstrap(['web-1', '-m', 'nowhere', ...TOKEN])).code).toBe(3);
  });

  it('is told: a name that no data plane has', async () => {
    expect((await bootstrap(['Web 1', ...TOKEN])).stderr).toContain('the name "Web 1" is not usable');
  });
});

describe('examples/envoy', () => {
  it.each(['strict', 'permissive'])('%s.yaml is what the command of its README prints', async (mode) => {
    for (const { type, mesh, name, body } of parseDocuments(readFileSync(join(ROOT, 'examples/builtin.yaml'), 'utf8')))
      put(type === 'Mesh' ? `/meshes/${name}` : `/meshes/${mesh}/dataplanes/${name}`, body as Record<string, unknown>);
    const readme = readFileSync(join(ROOT, 'examples/envoy/README.md'), 'utf8').replaceAll(/ \\\n +/g, ' ');
    const ending = ` --write ${mode}.yaml`;
    const shown = readme.split('\n').find((line) => line.endsWith(ending)) ?? '';
    const argv = shown.slice('mesh-ca envoy-bootstrap '.length, -ending.length);
    const { code, stdout } = await bootstrap(argv.split(' '));
    expect(code).toBe(0);
    expect(stdout).toBe(readFileSync(join(ROOT, `examples/envoy/${mode}.yaml`), 'utf8'));
  });
});
