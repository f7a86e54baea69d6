import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTempDir, type TempDir } from '../../support/temp-dir.ts';
import { startTestApp, type TestApp } from '../../support/test-app.ts';
import { startTellTale, TELLINGS } from './tell-tale-server.ts';

/** Secrets of no known form, where one may have such, so that only who knows them can keep them. */
const CANARIES = {
  vaultInline: 'canary-inline-3f9a71c05d',
  vaultStored: 'canary-stored-81be4470aa',
  secretId: 'canary-secretid-5501c9f2',
  jwt: 'canary-jwt-f0f0a1b2c3d4',
  serviceAccount: 'canary-account-77aa01ee',
  accessKey: 'AKIACANARYACCESS0123',
  accessKeySecret: 'canary/accesskeysecret+0123456789abcdef01',
  sessionToken: `canarysession${'Q0FOQVJZ/'.repeat(12)}==`,
  kubeToken: 'canary-kube-c0ffee1234',
  kubePassword: 'canary-password-9c9c9c',
} as const;
const { accessKey, accessKeySecret } = CANARIES;

const inline = (inlineString: string) => ({ inlineString });
const ARN = 'arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/6ba7b810-9dad-11d1-80b4-00c04fd430c8';
const vault = (name: string, address: string, auth: object) => ({
  ...{ name, type: 'vault' },
  conf: { fromCp: { address, pki: 'pki', role: 'dp', auth } },
});
const BACKENDS = (address: string) => [
  vault('inline', address, { token: inline(CANARIES.vaultInline) }),
  vault('stored', address, { token: { secret: 'vault-token' } }),
  vault('approle', address, { approle: { roleId: 'role', secretId: inline(CANARIES.secretId) } }),
  vault('jwt', address, { jwt: { role: 'dp', token: inline(CANARIES.jwt) } }),
  vault('account', address, { kubernetes: { role: 'dp', token: inline(CANARIES.serviceAccount) } }),
  {
    ...{ name: 'key', type: 'acmpca' },
    conf: {
      ...{ arn: ARN, endpoint: address },
      auth: { awsCredentials: { accessKey: inline(accessKey), accessKeySecret: inline(accessKeySecret) } },
    },
  },
  { name: 'chain', type: 'acmpca', conf: { arn: ARN, endpoint: address } },
  { name: 'kube', type: 'certmanager', conf: { issuerRef: { name: 'ca' } } },
];

/** What adapters read from the environment. */
async function setEnvironment(folder: string, server: string): Promise<void> {
  process.env.KUBECONFIG = join(folder, 'kubeconfig');
  process.env.AWS_ACCESS_KEY_ID = accessKey;
  process.env.AWS_SECRET_ACCESS_KEY = accessKeySecret;
  process.env.AWS_SESSION_TOKEN = CANARIES.sessionToken;
  const user = { token: CANARIES.kubeToken, password: CANARIES.kubePassword, username: 'admin' };
  const config = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'c' },
    clusters: [{ name: 'c', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'c', user }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'c' } }],
  };
  await writeFile(process.env.KUBECONFIG, JSON.stringify(config));
}

const NAMES = ['KUBECONFIG', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'] as const;
const before = Object.fromEntries(NAMES.map((name) => [name, process.env[name]]));

let folder: TempDir;
let server: Awaited<ReturnType<typeof startTellTale>>;
let test: TestApp;
beforeAll(async () => {
  folder = await makeTempDir();
  server = await startTellTale();
  await setEnvironment(folder.path, server.address);
  test = await startTestApp({ store: `sqlite:${join(folder.path, 'ca.db')}` });
});
afterAll(async () => {
  await test.close();
  await server.close();
  await folder.remove();
  for (const name of NAMES) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
});

/** Secrets, or a good part of one, that stand in a text, with what stands before it. */
function leaksIn(text: string): readonly string[] {
  return Object.entries(CANARIES).flatMap(([name, secret]) => {
    const part = secret.slice(0, 20);
    const forms = [part, Buffer.from(part).toString('base64').slice(0, 18), Buffer.from(part).toString('hex')];
    return forms.flatMap((form) => {
      const at = text.indexOf(form);
      return at < 0 ? [] : [`${name}: ${text.slice(Math.max(0, at - 200), at + 40)}`];
    });
  });
}

/** What a terminal obeys, and what turns text around; a line end, too. */
const OBEYED = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, member]) => [name, ...textsOf(member)]);
}

async function storeMesh(mesh: string): Promise<object> {
  const data = Buffer.from(CANARIES.vaultStored).toString('base64');
  await test.ok('PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh });
  await test.ok('PUT', `/meshes/${mesh}/secrets/vault-token`, { type: 'Secret', mesh, name: 'vault-token', data });
  const mtls = { enabledBackend: 'inline', backends: BACKENDS(server.address) };
  await test.ok('PUT', `/meshes/${mesh}`, { type: 'Mesh', name: mesh, mtls: { ...mtls, skipValidation: true } });
  return { type: 'Mesh', name: mesh, mtls };
}

describe('a hostile server that answers with all that it heard', () => {
  it.each(TELLINGS.map((telling, index) => ({ ...telling, mesh: `told-${index}` })))(
    'gets no secret into an answer, and nothing that a terminal obeys: $name',
    async ({ mesh, ...telling }) => {
      server.telling = telling;
      const spec = await storeMesh(mesh);
      const path = `/meshes/${mesh}`;
      const tags = { 'kuma.io/service': 'web' };
      const answers = await Promise.all([
        test.request('PUT', path, spec, {}),
        ...BACKENDS('').map(({ name }) => test.request('POST', `${path}/_backends/${name}/_validate`)),
        test.request('POST', `${path}/dataplanes/web-1/_certificate`, { tags }),
        test.request('POST', '/_validate', { ...spec, name: `${mesh}-new` }),
      ]);
      for (const { json } of answers) expect(json.ok).not.toBe(true);
      expect(answers.flatMap(({ text }) => leaksIn(text))).toEqual([]);
      expect(answers.flatMap(({ json }) => textsOf(json)).filter((text) => OBEYED.test(text))).toEqual([]);
    },
  );

  it('gets none into the log, into what everybody may read, or into the database', async () => {
    const open = await Promise.all(['/metrics', '/readyz'].map((path) => test.ok('GET', path)));
    await test.app.close();
    const files = (await readdir(folder.path)).filter((name) => name.startsWith('ca.db'));
    const database = await Promise.all(files.map((name) => readFile(join(folder.path, name), 'latin1')));
    expect(database.some((bytes) => bytes.includes('BackendProof'))).toBe(true);
    expect(database.some((bytes) => bytes.includes('BackendState'))).toBe(true);
    const texts = [...test.log, ...open.map(({ text }) => text), ...database];
    expect(texts.flatMap(leaksIn)).toEqual([]);
    expect(test.log.filter((line) => OBEYED.test(line.trimEnd()))).toEqual([]);
  });
});
