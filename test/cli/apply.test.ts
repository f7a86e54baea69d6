import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { type RunOptions, run } from './run.ts';

let api: FakeApi;
let folder: string;
beforeEach(async () => {
  api = await startFakeApi();
  folder = await mkdtemp(join(tmpdir(), 'mesh-ca-apply-'));
});
afterEach(async () => {
  await api.close();
  await rm(folder, { recursive: true, force: true });
});

const apply = (argv: readonly string[], options: RunOptions = {}) =>
  run(['apply', ...argv], { ...options, env: { MESH_CA_ADDRESS: api.address } });
const puts = () => api.received.filter(({ method }) => method === 'PUT').map(({ path }) => path);

const MESH = 'type: Mesh\nname: demo\n';
const SECRET = 'type: Secret\nmesh: demo\nname: ca-cert\ndata: c2VjcmV0\n';
const MESH_WITH_MTLS = `type: Mesh
name: demo
mtls:
  enabledBackend: ca-1
  backends:
    - name: ca-1
      type: provided
      conf:
        cert: { secret: ca-cert }
        key: { secret: ca-cert }
`;

describe('apply', () => {
  it('sends the documents of a file in their order, and says what each became', async () => {
    await writeFile(join(folder, 'demo.yaml'), [MESH, SECRET, MESH_WITH_MTLS].join('---\n'));
    expect(await apply(['-f', join(folder, 'demo.yaml')])).toEqual({
      code: 0,
      stderr: '',
      stdout: 'mesh/demo created\nsecret/ca-cert of mesh demo created\nmesh/demo updated\n',
    });
    expect(puts()).toEqual(['/meshes/demo', '/meshes/demo/secrets/ca-cert', '/meshes/demo']);
    expect(api.received[0]).toMatchObject({
      headers: { 'content-type': 'application/json' },
      body: { type: 'Mesh', name: 'demo' },
    });
  });

  it("takes the Kubernetes form of the product's pages", async () => {
    const stdin = 'apiVersion: kuma.io/v1alpha1\nkind: Mesh\nmetadata:\n  name: k8s\nspec: {}\n';
    expect(await apply(['-f', '-'], { stdin })).toMatchObject({ code: 0, stdout: 'mesh/k8s created\n' });
  });

  it('takes files, folders and standard input together', async () => {
    await mkdir(join(folder, 'more'));
    await writeFile(join(folder, 'more', 'b.yml'), 'type: Mesh\nname: b\n');
    await writeFile(join(folder, 'more', 'a.json'), '{"type":"Mesh","name":"a"}');
    await writeFile(join(folder, 'more', 'README.md'), '# not this');
    await writeFile(join(folder, 'c.txt'), 'type: Mesh\nname: c\n');
    const argv = ['-f', join(folder, 'more'), '-f', join(folder, 'c.txt'), '-f', '-'];
    expect((await apply(argv, { stdin: 'type: Mesh\nname: d\n' })).code).toBe(0);
    expect(puts()).toEqual(['a', 'b', 'c', 'd'].map((name) => `/meshes/${name}`));
  });

  it('reads a URL, without sending the token there', async () => {
    await writeFile(join(folder, 'token'), 'secret-token');
    api.canned.set('GET /mesh.yaml', { status: 200, text: MESH });
    const argv = ['-f', `${api.address}/mesh.yaml`, '--token-file', join(folder, 'token')];
    expect(await apply(argv)).toMatchObject({ code: 0, stdout: 'mesh/demo created\n' });
    expect(api.received.map(({ headers }) => headers.authorization)).toEqual([undefined, 'Bearer secret-token']);
  });

  it('puts resources without a mesh into the mesh of the command line', async () => {
    api.resources.set('/meshes/other', {});
    const stdin = 'type: Secret\nname: s\ndata: eA==\n';
    expect((await apply(['-f', '-', '-m', 'other'], { stdin })).code).toBe(0);
    expect(puts()).toEqual(['/meshes/other/secrets/s']);
  });

  it('sends nothing when any document cannot be read, and tells all mistakes', async () => {
    await writeFile(join(folder, 'a.yaml'), `${MESH}---\ntype: Cat\nname: x\n`);
    await writeFile(join(folder, 'b.yaml'), 'type: Mesh\n');
    const { code, stdout, stderr } = await apply(['-f', folder]);
    expect({ code, stdout }).toEqual({ code: 5, stdout: '' });
    expect(stderr).toMatch(
      /^error: nothing was applied: what was given cannot be read\n {2}why: .*a\.yaml: line 4.*Cat.*\n {7}.*b\.yaml: line 1.*name.*\n {2}fix: /,
    );
    expect(api.received).toEqual([]);
  });

  it('only tells what it would send in a dry run', async () => {
    await writeFile(join(folder, 'demo.yaml'), `${MESH}---\n${SECRET}`);
    const file = join(folder, 'demo.yaml');
    expect(await apply(['-f', file, '--dry-run'])).toEqual({
      code: 0,
      stderr: '',
      stdout: `PUT /meshes/demo   (${file}, line 1)\nPUT /meshes/demo/secrets/ca-cert   (${file}, line 4)\n`,
    });
    expect(JSON.parse((await apply(['-f', file, '--dry-run', '-o', 'json'])).stdout)[0]).toEqual({
      type: 'Mesh',
      name: 'demo',
    });
    expect(api.received).toEqual([]);
  });

  it('stops at the first refusal, with all its reasons and what became of the rest', async () => {
    const stdin = [MESH, MESH_WITH_MTLS, 'type: Mesh\nname: later\n'].join('---\n');
    expect(await apply(['-f', '-'], { stdin })).toEqual({
      code: 5,
      stdout: 'mesh/demo created\n',
      stderr: [
        'error: could not apply mesh/demo (standard input, line 4); the 1 before it stay applied, the 1 after it were not sent',
        '  why: mtls.backends[0].conf.cert: could not load data: secret "ca-cert" does not exist',
        '       mtls.backends[0].conf.key: could not load data: secret "ca-cert" does not exist',
        '',
      ].join('\n'),
    });
  });

  describe('a Mesh whose backends do not prove themselves', () => {
    const FIELD = 'mtls.backends[0].conf.fromCp.role';
    const check = (backend: string, name: string, message: string) => ({
      ...{ backend, name, status: 'failed', durationMs: 3, message },
      ...{ cause: `${name} is wrong`, fix: `mend ${name}` },
    });
    const CHECKS = [check('v1', 'vault.role-fits', 'the role takes no names'), check('v2', 'vault.unsealed', 'sealed')];
    const refuse = (retry: boolean) =>
      api.canned.set('PUT /meshes/demo', {
        status: 400,
        json: {
          title: 'Failed to update a resource',
          detail: 'Resource is not valid',
          code: 'ERR_BACKEND_INVALID',
          ...{ retry, fix: 'mend vault.role-fits', checks: CHECKS },
          invalid_parameters: [
            { field: FIELD, reason: 'the role takes no names: vault.role-fits is wrong' },
            { field: 'mtls.backends[1].conf', reason: 'sealed: vault.unsealed is wrong' },
            { field: 'routing', reason: 'is odd' },
          ],
        },
      });

    it('is refused with the failed checks, each with the key to blame, cause and fix', async () => {
      refuse(false);
      expect(await apply(['-f', '-'], { stdin: MESH })).toEqual({
        code: 5,
        stdout: '',
        stderr: [
          'error: could not apply mesh/demo (standard input, line 1)',
          '  why: no proxy could work with v1, v2: 2 checks failed',
          '       routing: is odd',
          `  ✗ v1: vault.role-fits  ${FIELD}: the role takes no names`,
          '      cause: vault.role-fits is wrong',
          '      fix: mend vault.role-fits',
          '  ✗ v2: vault.unsealed   mtls.backends[1].conf: sealed',
          '      cause: vault.unsealed is wrong',
          '      fix: mend vault.unsealed',
          '  fix: follow the fixes from the top, then run the same command again; to store it all the same: `skipValidation: true` below `mtls`',
          '',
        ].join('\n'),
      });
    });

    it('may be applied later when all that failed may pass by itself', async () => {
      refuse(true);
      const { code, stderr } = await apply(['-f', '-'], { stdin: MESH });
      expect(code).toBe(4);
      expect(stderr).toContain('  fix: wait, or follow the fixes, then run the same command again; ');
    });
  });

  describe('with --dry-run=server', () => {
    it('has each document checked by mesh-ca, and says that it would be accepted', async () => {
      api.canned.set('PUT /meshes/demo', { status: 200, json: { warnings: ['look at the clock'] } });
      expect(await apply(['-f', '-', '--dry-run=server'], { stdin: MESH_WITH_MTLS })).toEqual({
        code: 0,
        stdout: 'mesh/demo would be accepted\n',
        stderr: 'warning: mesh/demo: look at the clock\n',
      });
      expect(puts()).toEqual(['/meshes/demo?dryRun=true']);
    });

    it.each([
      ['its mesh', [SECRET]],
      ['its secret', [SECRET, MESH_WITH_MTLS]],
    ])('says that nothing was stored when a document needs one before it: %s', async (_what, after) => {
      api.canned.set('PUT /meshes/demo/secrets/other', { status: 200, json: {} });
      const other = SECRET.replace('ca-cert', 'other');
      const missing = { field: 'mtls.backends[0].conf.cert', reason: 'secret "ca-cert" does not exist' };
      if (after.length > 1) {
        api.canned.set('PUT /meshes/demo/secrets/ca-cert', { status: 200, json: {} });
        const json = {
          title: 'Failed',
          detail: 'Not valid',
          code: 'ERR_CONFIG_INVALID',
          invalid_parameters: [missing],
        };
        api.canned.set('PUT /meshes/demo', { status: 400, json });
      }
      const { stderr } = await apply(['-f', '-', '--dry-run=server'], { stdin: [other, ...after].join('---\n') });
      expect(stderr).toMatch(/^error: could not apply [^;]*\n/);
      expect(stderr).toContain('fix: a dry run stores nothing: apply what stands before it first\n');
    });

    it('is one of two words', async () => {
      const { code, stderr } = await apply(['-f', '-', '--dry-run=maybe'], { stdin: MESH });
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('client, server') });
    });
  });

  it('says which secret has to come first when it stands later in the file', async () => {
    const { stderr } = await apply(['-f', '-'], { stdin: [MESH_WITH_MTLS, SECRET].join('---\n') });
    expect(stderr).toContain(
      'fix: put secret/ca-cert of mesh demo (standard input, line 12) before it; the secret itself needs a Mesh without mtls first',
    );
  });

  it('prints warnings beside the result', async () => {
    const { code, stdout, stderr } = await apply(['-f', '-'], { stdin: 'type: Mesh\nname: Odd\n' });
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: 'mesh/Odd created\n',
      stderr: "warning: mesh/Odd: Invalid name: 'Odd'\n",
    });
  });

  it.each([
    {
      name: 'a file that is not there',
      argv: ['-f', 'no-such-file.yaml'],
      code: 3,
      stderr: /from no-such-file\.yaml\n {2}why: there is no such file/,
    },
    { name: 'nothing at all', argv: ['-f', '-'], code: 2, stderr: /there is no resource in what was given/ },
    {
      name: 'a host that is not there',
      argv: ['-f', 'http://127.0.0.1:1/x'],
      code: 4,
      stderr: /could not read resources from http:\/\/127/,
    },
  ])('explains $name', async ({ argv, code, stderr }) => {
    expect(await apply(argv)).toEqual({ code, stdout: '', stderr: expect.stringMatching(stderr) });
  });

  it('explains an empty folder, a URL that answers otherwise, and too much input', async () => {
    expect((await apply(['-f', folder])).stderr).toContain('the folder holds no .yaml, .yml or .json file');
    expect((await apply(['-f', `${api.address}/none`])).stderr).toContain('it answers HTTP 404');
    expect((await apply(['-f', '-'], { stdin: '#'.repeat(5_000_000) })).stderr).toContain('it is larger than');
    await writeFile(join(folder, 'big.yaml'), '#'.repeat(5_000_000));
    expect((await apply(['-f', folder])).stderr).toContain('it is larger than');
  });
});

describe('apply of a Mesh that is too soon for its rotation', () => {
  const reason = '2 of 3 online data planes do not trust the CA of "ca-2" yet';
  const fix = 'wait until mesh-ca rotate demo says that it may switch, then apply it again';
  const refuse = (many: number) => {
    const blockers = Array.from({ length: Math.min(many, 10) }, (_, index) => ({
      dataplane: `web-${index}`,
      zone: '',
      waitingFor: 'trust bundle 7 (has 6)',
      since: '2026-01-02T03:03:55Z',
    }));
    api.canned.set('PUT /meshes/demo', {
      status: 400,
      json: {
        title: 'Too soon for this step of the rotation',
        detail: reason,
        code: 'ERR_ROTATION_NOT_READY',
        retry: true,
        invalid_parameters: [{ field: 'mtls.enabledBackend', reason }],
        fix,
        blockers,
        blockersTotal: many,
      },
    });
  };

  it('tells the field, the reason, who is waited for since when, and what to type', async () => {
    refuse(2);
    expect(await apply(['-f', '-'], { stdin: MESH })).toEqual({
      code: 4,
      stdout: '',
      stderr: `error: could not apply mesh/demo (standard input, line 1)
  why: mtls.enabledBackend: ${reason}
  waiting for 2 data planes:
    DATA PLANE   WAITING FOR              SINCE
    web-0        trust bundle 7 (has 6)   10 s
    web-1        trust bundle 7 (has 6)   10 s
  fix: ${fix}
`,
    });
  });

  it('names ten of many', async () => {
    refuse(1234);
    const { stderr } = await apply(['-f', '-'], { stdin: MESH });
    expect(stderr).toContain('\n  waiting for 1234 data planes; the first 10:\n');
    expect(stderr.match(/web-\d/g)).toHaveLength(10);
  });
});

describe('apply --force', () => {
  it('is said for a Mesh, and for nothing else', async () => {
    const stdin = [MESH, SECRET].join('---\n');
    expect((await apply(['-f', '-', '--force'], { stdin })).code).toBe(0);
    expect((await apply(['-f', '-', '--force', '--dry-run=server'], { stdin: MESH })).code).toBe(0);
    expect(puts()).toEqual([
      '/meshes/demo?force=true',
      '/meshes/demo/secrets/ca-cert',
      '/meshes/demo?dryRun=true&force=true',
    ]);
    expect((await apply(['-f', '-', '--force', '--dry-run'], { stdin: MESH })).stdout).toBe(
      'PUT /meshes/demo?force=true   (standard input, line 1)\n',
    );
  });

  it('is refused when there is no Mesh', async () => {
    const { code, stderr } = await apply(['-f', '-', '--force'], { stdin: SECRET });
    expect([code, api.received]).toEqual([2, []]);
    expect(stderr).toContain('--force is for a Mesh');
  });
});
