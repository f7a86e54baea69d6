import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';
import { type FakeApi, startFakeApi } from './fake-api.ts';
import { type RunOptions, run } from './run.ts';

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const TOKEN = `${encode({ alg: 'RS256', kid: '1' })}.${encode({ jti: 'id-1', exp: 1_767_409_445 })}.c2lnbmF0dXJl`;
const CALL = 'POST /tokens/dataplane';

let api: FakeApi;
let folder: TempDir;
beforeEach(async () => {
  api = await startFakeApi();
  folder = await makeTempDir();
  api.canned.set(CALL, { status: 200, text: TOKEN, headers: { 'content-type': 'text/plain' } });
});
afterEach(async () => {
  await api.close();
  await folder.remove();
});

const generate = (argv: readonly string[], options: RunOptions = {}) =>
  run(['generate', 'dataplane-token', ...argv], { env: { MESH_CA_ADDRESS: api.address }, ...options });

describe('generate dataplane-token', () => {
  it('prints the bare token, as kumactl does', async () => {
    expect(await generate(['--name', 'web-1', '--valid-for', '24h'])).toEqual({ code: 0, stdout: TOKEN, stderr: '' });
    expect(api.received).toMatchObject([
      {
        method: 'POST',
        path: '/tokens/dataplane',
        body: { mesh: 'default', name: 'web-1', tags: {}, validFor: '24h' },
      },
    ]);
  });

  it('ends the line on a terminal', async () => {
    expect((await generate(['--valid-for', '24h'], { tty: true })).stdout).toBe(`${TOKEN}\n`);
  });

  it('asks for what its options say', async () => {
    const tags = ['--tag', 'kuma.io/service=web,web-api', '--tag', 'version=v1', '--tag', 'version=v2'];
    await generate(['-m', 'demo', ...tags, '--proxy-type', 'ingress', '--valid-for', '1h30m']);
    expect(api.received[0]?.body).toEqual({
      mesh: 'demo',
      tags: { 'kuma.io/service': ['web', 'web-api'], version: ['v1', 'v2'] },
      type: 'ingress',
      validFor: '1h30m',
    });
  });

  it('tells machines what a revocation needs, too', async () => {
    const { stdout } = await generate(['--name', 'web-1', '--valid-for', '24h', '-o', 'json']);
    expect(JSON.parse(stdout)).toEqual({
      mesh: 'default',
      name: 'web-1',
      tags: {},
      jti: 'id-1',
      expiresAt: '2026-01-03T03:04:05.000Z',
      token: TOKEN,
    });
  });

  it('writes it into a file that others cannot read, and then shows nothing of it', async () => {
    const file = join(folder.path, 'tokens', 'web-1.token');
    expect(await generate(['--valid-for', '24h', '--write', file])).toEqual({
      code: 0,
      stdout: `wrote ${file}, valid until 2026-01-03 03:04:05\n`,
      stderr: '',
    });
    expect([await readFile(file, 'utf8'), (await stat(file)).mode & 0o777]).toEqual([TOKEN, 0o600]);
    const { stdout } = await generate(['--valid-for', '24h', '--write', file, '-o', 'yaml']);
    expect(stdout).toContain(`file: ${file}\n`);
    expect(stdout).not.toContain(TOKEN);
  });

  it.each<[string, string[], string]>([
    ['no time', [], "required option '--valid-for <duration>' not specified"],
    ['days', ['--valid-for', '7d'], 'Go durations have no days: --valid-for 168h'],
    ['no duration', ['--valid-for', 'soon'], 'write numbers with units of h, m, s: --valid-for 24h30m'],
    ['less than a second', ['--valid-for', '1ms'], '--valid-for 1ms is no duration of 1s or more'],
    ['a name that is none', ['--name', 'Web 1', '--valid-for', '1h'], 'the name "Web 1" is not usable'],
    ['an unknown type', ['--proxy-type', 'x', '--valid-for', '1h'], 'Allowed choices are dataplane, ingress, egress'],
    ['a tag without value', ['--tag', 'version', '--valid-for', '1h'], 'write it as TAG=VALUE'],
  ])('refuses %s before anybody is asked', async (_name, argv, says) => {
    const { code, stdout, stderr } = await generate(argv);
    expect([code, stdout, api.received]).toEqual([2, '', []]);
    expect(stderr).toContain(says);
  });

  it('tells of a mesh that is not there, and what to type', async () => {
    const fix = 'name one of those that there are: mesh-ca get meshes';
    const problem = { title: 'Signing Key not found', detail: 'there is no mesh "x"', code: 'ERR_NOT_FOUND', fix };
    api.canned.set(CALL, { status: 404, json: problem });
    const { code, stderr } = await generate(['-m', 'x', '--valid-for', '1h']);
    expect(code).toBe(3);
    for (const line of ['Signing Key not found', 'there is no mesh "x"', fix]) expect(stderr).toContain(line);
  });

  it.each(['', '{}', 'a b c', 'a.b.c', `${TOKEN}\n`, `<html>${TOKEN}</html>`])(
    'does not take %j for a token, nor shows it',
    async (text) => {
      api.canned.set(CALL, { status: 200, text });
      const { code, stdout, stderr } = await generate(['--valid-for', '1h']);
      expect([code, stdout]).toEqual([5, '']);
      expect(stderr).toContain('what was answered is no token');
      expect(stderr).not.toContain(TOKEN);
    },
  );
});
