import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { type RunOptions, run } from './run.ts';

let api: FakeApi;
let folder: string;
beforeEach(async () => {
  api = await startFakeApi();
  folder = await mkdtemp(join(tmpdir(), 'mesh-ca-validate-'));
});
afterEach(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

const validate = (line: string, { env, ...options }: RunOptions = {}) =>
  run(['validate', ...line.split(' ').filter(Boolean)], {
    ...options,
    env: { MESH_CA_ADDRESS: api.address, ...env },
  });
const posts = () => api.received.filter(({ method }) => method === 'POST');
const lines = (...all: string[]) => all.map((line) => `${line}\n`).join('');

interface CheckJson {
  readonly name: string;
  readonly status: string;
  readonly durationMs: number;
  readonly message: string;
  readonly cause?: string;
  readonly fix?: string;
  readonly dependsOn?: string;
}

const PASSED: CheckJson = { name: 'vault.unsealed', status: 'passed', durationMs: 3, message: 'Vault is unsealed' };
const CLOCK: CheckJson = {
  name: 'vault.clock',
  status: 'warning',
  durationMs: 0,
  message: 'the clocks differ by 7 s',
  cause: 'the clock of Vault is behind',
  fix: 'run NTP on both machines',
};
const SIGN: CheckJson = {
  name: 'vault.sign-permitted',
  status: 'failed',
  durationMs: 2,
  message: 'the token may not use pki/sign/dp',
  cause: 'no policy allows "update" on it',
  fix: 'bao policy write kmesh policies/vault/dataplane.hcl',
};
const SKIPPED: CheckJson = {
  name: 'certificate.issued',
  status: 'skipped',
  durationMs: 0,
  message: 'not looked at: depends on vault.sign-permitted',
  dependsOn: 'vault.sign-permitted',
};
const NOTHING_THERE: CheckJson = {
  name: 'vault.tls-name',
  status: 'skipped',
  durationMs: 0,
  message: 'not looked at: there is no TLS',
};

interface Spec {
  readonly checks: readonly CheckJson[];
  readonly retry?: boolean;
  readonly durationMs?: number;
}

const proof = (backend: string, { checks, retry, durationMs = 812 }: Spec, mesh = 'default', type = 'vault') => ({
  mesh,
  backend,
  type,
  ok: checks.every(({ status }) => status !== 'failed'),
  ...(retry === undefined ? {} : { retry }),
  durationMs,
  checks,
});
const answerOf = (...backends: readonly ReturnType<typeof proof>[]) => ({
  ok: backends.every(({ ok }) => ok),
  backends,
});

/** A stored mesh, and what is found when each of its backends is proven. */
function store(mesh: string, backends: Readonly<Record<string, Spec>>): void {
  const list = Object.keys(backends).map((name) => ({ name, type: 'vault' }));
  api.resources.set(`/meshes/${mesh}`, { type: 'Mesh', name: mesh, mtls: { enabledBackend: '', backends: list } });
  for (const [name, spec] of Object.entries(backends)) {
    const path = `/meshes/${mesh}/_backends/${name}/_validate`;
    api.canned.set(`POST ${path}`, { status: 200, json: answerOf(proof(name, spec, mesh)) });
  }
}

describe('validate', () => {
  it('shows every check of a stored backend, with cause and fix below those that are not well', async () => {
    const waiting = { ...SKIPPED, name: 'vault.role-readable' };
    store('default', { 'vault-1': { checks: [PASSED, NOTHING_THERE, waiting, CLOCK, SIGN, SKIPPED] } });
    expect(await validate('')).toEqual({
      code: 5,
      stderr: '',
      stdout: lines(
        'vault-1 (vault) in mesh default   ✗ 1 of 6 checks failed, 1 warning, 3 skipped, 812 ms',
        '  ✓ vault.unsealed        Vault is unsealed',
        '  - vault.tls-name        not looked at: there is no TLS',
        '  ! vault.clock           the clocks differ by 7 s',
        '      cause: the clock of Vault is behind',
        '      fix: run NTP on both machines',
        '  ✗ vault.sign-permitted  the token may not use pki/sign/dp',
        '      cause: no policy allows "update" on it',
        '      fix: bao policy write kmesh policies/vault/dataplane.hcl',
        '  not looked at until vault.sign-permitted has passed:',
        '  - vault.role-readable',
        '  - certificate.issued',
        '',
        'the backend failed',
        'next: follow the fixes from the top, then: mesh-ca validate default --backend vault-1',
      ),
    });
    expect(posts()).toMatchObject([{ path: '/meshes/default/_backends/vault-1/_validate', body: {} }]);
  });

  it('proves all backends of a mesh, and tells them in its order', async () => {
    store('demo', {
      b: { checks: [PASSED], durationMs: 1849 },
      a: { checks: [PASSED, CLOCK] },
      c: { checks: [SIGN] },
    });
    const { code, stdout } = await validate('demo');
    expect(code).toBe(5);
    expect(stdout.split('\n').filter((line) => /^\S/.test(line))).toEqual([
      'b (vault) in mesh demo   ✓ 1 check passed, 1.8 s',
      'a (vault) in mesh demo   ! 1 of 2 checks passed, 1 warning, 812 ms',
      'c (vault) in mesh demo   ✗ 1 of 1 check failed, 812 ms',
      '1 of 3 backends failed',
      'next: follow the fixes from the top, then: mesh-ca validate demo --backend c',
    ]);
  });

  it('proves only the backends that were named', async () => {
    store('default', { a: { checks: [SIGN] }, b: { checks: [PASSED] }, c: { checks: [CLOCK] } });
    const { code, stdout } = await validate('--backend c --backend b');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^b [\s\S]*\nc [\s\S]*\nall 2 backends can issue .*; look at the warnings\nnext: mesh-ca issue DATAPLANE -m default --out certs\n$/,
    );
    expect(posts()).toHaveLength(2);
  });

  it('takes the mesh as a name or by -m', async () => {
    store('demo', { a: { checks: [PASSED] } });
    for (const line of ['demo', '-m demo', 'demo -m demo']) expect((await validate(line)).code).toBe(0);
    expect(posts().map(({ path }) => path)).toEqual(Array(3).fill('/meshes/demo/_backends/a/_validate'));
  });

  it.each<[name: string, backends: Readonly<Record<string, Spec>>, code: number]>([
    ['nothing failed', { a: { checks: [PASSED, SKIPPED] }, b: { checks: [CLOCK] } }, 0],
    ['all that failed may pass by itself', { a: { checks: [SIGN], retry: true }, b: { checks: [PASSED] } }, 4],
    ['one of two failures stays', { a: { checks: [SIGN], retry: true }, b: { checks: [SIGN], retry: false } }, 5],
    ['the server does not say whether it may pass', { a: { checks: [SIGN] } }, 5],
  ])('ends as the table of exit codes says when %s', async (_name, backends, code) => {
    store('default', backends);
    expect((await validate('')).code).toBe(code);
    expect((await validate('-o json')).code).toBe(code);
  });

  it('says that a failure may pass, and what to type then', async () => {
    store('default', { a: { checks: [SIGN], retry: true } });
    expect((await validate('')).stdout).toMatch(
      /\n\nthe backend failed, which may pass by itself\nnext: wait, or follow the fixes, then: mesh-ca validate default --backend a\n$/,
    );
  });

  it.each([
    ['no mtls', { type: 'Mesh', name: 'plain' }],
    ['empty mtls', { type: 'Mesh', name: 'plain', mtls: {} }],
    ['mtls without backends', { type: 'Mesh', name: 'plain', mtls: { backends: [] } }],
    ['mtls null', { type: 'Mesh', name: 'plain', mtls: null }],
  ])('says that there is nothing to validate: %s', async (_name, mesh) => {
    api.resources.set('/meshes/plain', mesh);
    expect(await validate('plain')).toEqual({
      code: 0,
      stderr: '',
      stdout: 'mesh plain has no mTLS backend: there is nothing to validate\n',
    });
    expect(JSON.parse((await validate('plain -o json')).stdout)).toEqual({ ok: true, backends: [] });
  });

  it("prints the server's answers as one, with all that they hold", async () => {
    const spec: Spec = { checks: [PASSED, { ...SIGN }] };
    store('default', { a: spec, b: { checks: [PASSED] } });
    const withMore = { ...proof('a', spec), caExpiresAt: '2030-01-01T00:00:00Z' };
    api.canned.set('POST /meshes/default/_backends/a/_validate', { status: 200, json: answerOf(withMore) });
    const merged = { ok: false, backends: [withMore, proof('b', { checks: [PASSED] })] };
    expect(JSON.parse((await validate('-o json')).stdout)).toEqual(merged);
    expect(parse((await validate('--output yaml')).stdout)).toEqual(merged);
    expect(JSON.parse((await validate('--backend a -o json')).stdout)).toEqual(answerOf(withMore));
  });

  it('shows nothing that a terminal would obey', async () => {
    const message = 'red\u0007 \u001b[31mtext\nand\u202e more';
    store('default', { a: { checks: [{ ...SIGN, message, cause: message, fix: message, status: 'failed' }] } });
    const { stdout } = await validate('');
    expect(stdout).toContain('  ✗ vault.sign-permitted  red text and more\n');
    for (const obeyed of ['\u001b', '\u0007', '\u202e']) expect(stdout).not.toContain(obeyed);
  });

  it('tells a cause only when it is more than the message', async () => {
    store('default', { a: { checks: [{ ...SIGN, cause: SIGN.message }] } });
    const { stdout } = await validate('');
    expect(stdout).toContain(`${SIGN.message}\n      fix: `);
  });

  it('marks a status that it does not know', async () => {
    store('default', { a: { checks: [{ ...PASSED, status: 'postponed' }] } });
    expect((await validate('')).stdout).toContain('  ? vault.unsealed  Vault is unsealed\n');
  });
});

describe('validate on a terminal', () => {
  beforeEach(() => store('default', { a: { checks: [PASSED, SIGN, SKIPPED] } }));

  it.each<{ name: string; env: Record<string, string>; marks: string[] }>([
    { name: 'a UTF-8 locale', env: { LANG: 'en_GB.UTF-8' }, marks: ['✓', '✗', '-'] },
    { name: 'LC_ALL before LANG', env: { LC_ALL: 'C', LANG: 'en_GB.UTF-8' }, marks: ['+', 'x', '-'] },
    { name: 'no locale', env: {}, marks: ['+', 'x', '-'] },
  ])('has marks that it can show: $name', async ({ env, marks }) => {
    const { stdout } = await validate('--no-color', { tty: true, env });
    expect([...stdout.matchAll(/^ {2}(\S) [vc]/gm)].map(([, mark]) => mark)).toEqual(marks);
  });

  it('has colours, unless they are not wanted', async () => {
    const coloured = await validate('', { tty: true });
    expect(coloured.stdout).toContain('\u001b[31mx\u001b[39m vault.sign-permitted');
    expect(coloured.stdout).toContain('\u001b[2mcertificate.issued');
    for (const options of [{ tty: true, env: { NO_COLOR: '1' } }, { tty: false }])
      expect((await validate('', options)).stdout).not.toContain('\u001b');
  });
});

const MESH = `type: Mesh
name: demo
mtls:
  enabledBackend: vault-1
  backends:
    - name: vault-1
      type: vault
`;

const SECRET = 'type: Secret\nmesh: demo\nname: token\ndata: eA==\n';

describe('validate -f', () => {
  it('sends the Mesh, stores nothing, and says how to store it', async () => {
    const file = join(folder, 'mesh.yaml');
    await writeFile(file, MESH);
    api.canned.set('POST /_validate', { status: 200, json: answerOf(proof('vault-1', { checks: [PASSED] }, 'demo')) });
    expect(await validate(`-f ${file}`)).toEqual({
      code: 0,
      stderr: '',
      stdout: lines(
        'vault-1 (vault) in mesh demo   ✓ 1 check passed, 812 ms',
        '  ✓ vault.unsealed  Vault is unsealed',
        '',
        'the backend can issue certificates that proxies accept',
        `next: mesh-ca apply -f ${file}`,
      ),
    });
    expect(api.received).toMatchObject([
      { method: 'POST', path: '/_validate', body: { type: 'Mesh', name: 'demo', mtls: { enabledBackend: 'vault-1' } } },
    ]);
  });

  it('takes several Meshes, also of the Kubernetes form and from standard input, and tells them as one', async () => {
    const failed = answerOf(proof('vault-1', { checks: [SIGN], retry: true }, 'demo'));
    api.canned.set('POST /_validate', { status: 200, json: failed });
    const stdin = `${MESH}---\napiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata:\n  name: k8s\nspec: {}\n`;
    const { code, stdout } = await validate('-f - -o json', { stdin });
    expect(code).toBe(4);
    expect(JSON.parse(stdout)).toEqual({ ok: false, backends: [...failed.backends, ...failed.backends] });
    expect(posts().map(({ body }) => body.name)).toEqual(['demo', 'k8s']);
    expect((await validate('-f -', { stdin })).stdout).toMatch(/then: mesh-ca validate -f -\n$/);
  });

  it('says when a Mesh has no backend', async () => {
    api.canned.set('POST /_validate', { status: 200, json: { ok: true, backends: [] } });
    expect(await validate('-f -', { stdin: 'type: Mesh\nname: plain\n' })).toEqual({
      code: 0,
      stderr: '',
      stdout: 'the Mesh has no mTLS backend: there is nothing to validate\n',
    });
  });

  it('takes the Mesh out of a file that holds more, and says what was passed over', async () => {
    api.canned.set('POST /_validate', { status: 200, json: answerOf(proof('vault-1', { checks: [PASSED] }, 'demo')) });
    const dataplane = (name: string) =>
      `---\ntype: Dataplane\nmesh: demo\nname: ${name}\nnetworking: {address: 127.0.0.1}\n`;
    const { code, stdout, stderr } = await validate('-f -', {
      stdin: `${SECRET}---\n${MESH}${dataplane('a')}${dataplane('b')}`,
    });
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toContain(
      '\n\nnot looked at: 1 Secret, 2 Dataplanes; secrets were read as they are stored\nthe backend can issue',
    );
    expect(posts().map(({ body }) => body.type)).toEqual(['Mesh']);
  });

  it('refuses what holds no Mesh, and sends nothing', async () => {
    const stdin = SECRET;
    expect(await validate('-f -', { stdin })).toEqual({
      code: 3,
      stdout: '',
      stderr: lines(
        'error: nothing was validated: only a Mesh can be',
        '  why: secret/token of mesh demo (standard input, line 1) is a Secret',
        '  fix: name the file of the Mesh: mesh-ca validate -f mesh.yaml',
      ),
    });
    expect(api.received).toEqual([]);
  });

  it("tells the mistakes of a Mesh as apply does, with the Mesh's place", async () => {
    api.canned.set('POST /_validate', {
      status: 400,
      json: {
        title: 'Configuration is not valid',
        detail: 'Resource is not valid',
        code: 'ERR_CONFIG_INVALID',
        invalid_parameters: [{ field: 'mtls.backends[0].conf', reason: 'must be set' }],
      },
    });
    expect(await validate('-f -', { stdin: MESH })).toEqual({
      code: 5,
      stdout: '',
      stderr: lines(
        'error: could not validate mesh/demo (standard input, line 1)',
        '  why: mtls.backends[0].conf: must be set',
      ),
    });
  });
});

describe('validate explains', () => {
  it.each([
    {
      name: 'a mesh that is not there',
      argv: 'gone',
      code: 3,
      stderr: lines('error: there is no Mesh with name "gone"', '  fix: see what there is: mesh-ca get meshes'),
    },
    {
      name: 'a backend that the mesh does not have',
      argv: '--backend b',
      code: 3,
      stderr: lines(
        'error: mesh default has no backend "b"',
        '  why: it has a',
        '  fix: mesh-ca validate default --backend a',
      ),
    },
    {
      name: 'a backend of a mesh without mTLS',
      argv: 'plain --backend b',
      code: 3,
      stderr: lines('error: mesh plain has no backend "b"', '  why: it has none'),
    },
    {
      name: 'two meshes',
      argv: 'a -m b',
      code: 2,
      stderr: lines('error: two meshes were given: a and -m b', '  fix: name one'),
    },
    {
      name: 'a mesh and a file',
      argv: 'a -f mesh.yaml',
      code: 2,
      stderr: lines(
        'error: -f validates what is in the file: it takes no mesh and no --backend',
        '  fix: drop one of them',
      ),
    },
    {
      name: 'an empty file',
      argv: '-f -',
      code: 2,
      stderr: lines('error: there is no resource in what was given', '  fix: see mesh-ca validate --help'),
    },
    {
      name: 'a file that cannot be read',
      argv: '-f -',
      stdin: 'type: Cat\nname: x\n',
      code: 5,
      stderr: expect.stringMatching(/^error: nothing was validated: what was given cannot be read\n.*Cat/),
    },
  ])('$name', async ({ argv, stdin = '', code, stderr }) => {
    store('default', { a: { checks: [PASSED] } });
    api.resources.set('/meshes/plain', { type: 'Mesh', name: 'plain' });
    expect(await validate(argv, { stdin })).toEqual({ code, stdout: '', stderr });
    expect(posts()).toEqual([]);
  });

  it('which backend could not be asked for, and gives the code of that', async () => {
    store('default', { a: { checks: [PASSED] }, b: { checks: [PASSED] } });
    const json = { title: 'Access Denied', detail: 'only admins may', code: 'ERR_ACCESS_DENIED' };
    api.canned.set('POST /meshes/default/_backends/b/_validate', { status: 403, json });
    expect(await validate('')).toEqual({
      code: 3,
      stdout: '',
      stderr: lines(
        'error: could not validate backend b of mesh default',
        '  why: only admins may',
        '  fix: call from the machine that mesh-ca runs on, or give an admin token: --token-file FILE',
      ),
    });
  });

  it('an answer that is none of mesh-ca', async () => {
    store('default', { a: { checks: [PASSED] } });
    api.canned.set('POST /meshes/default/_backends/a/_validate', { status: 200, json: { ok: true } });
    const { code, stderr } = await validate('');
    expect({ code, stderr }).toEqual({ code: 5, stderr: expect.stringContaining('has no usable backends') });
  });
});
