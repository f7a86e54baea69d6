import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import { type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { pollUntil } from '../../testcontainers/server-process.ts';
import { setUpPki } from '../../testcontainers/vault-pki.ts';
import { makeTempDir, type TempDir } from '../support/temp-dir.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';

const WITHIN_MS = 10_000;
const CERTIFICATE = /-+BEGIN CERTIFICATE-+[^-]+/g;

let bao: StartedOpenBao;
let pki: Awaited<ReturnType<typeof setUpPki>>;
let login: object;
let folder: TempDir;
let test: TestApp;
beforeAll(async () => {
  bao = await startOpenBao();
  pki = await setUpPki(bao, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' });
  await bao.must('POST', 'sys/auth/approle', { type: 'approle' });
  const text = await readFile(new URL('../../policies/vault/auth-approle.json', import.meta.url), 'utf8');
  await bao.must('POST', 'auth/approle/role/mesh-ca', JSON.parse(text));
  const { data: role } = Object(await bao.must('GET', 'auth/approle/role/mesh-ca/role-id'));
  const { data: secret } = Object(await bao.must('POST', 'auth/approle/role/mesh-ca/secret-id'));
  login = { approle: { roleId: role.role_id, secretId: { inlineString: secret.secret_id } } };
  folder = await makeTempDir();
  test = await startTestApp({ store: `sqlite:${join(folder.path, 'ca.db')}` });
});
afterAll(async () => {
  await test?.close();
  await bao?.close();
  await folder?.remove();
});

const mesh = () => ({
  ...{ type: 'Mesh', name: 'default' },
  mtls: {
    enabledBackend: 'vault-1',
    backends: [
      {
        ...{ name: 'vault-1', type: 'vault' },
        conf: { fromCp: { address: bao.address, pki: pki.mount, role: pki.role, auth: login } },
      },
    ],
  },
});

/** Tokens, and certificates that it has kept. */
async function leftAtVault(): Promise<readonly number[]> {
  const lists = await Promise.all(
    ['auth/token/accessors', `${pki.mount}/certs`].map((path) => bao.must('GET', `${path}?list=true`)),
  );
  return lists.map((list) => Object(list).data.keys.length);
}

it('validations leave no token and no certificate behind, also where the caller hangs up', async () => {
  const before = await leftAtVault();
  for (let i = 0; i < 5; i += 1) {
    const answers = await Promise.all([1, 2, 3, 4].map(() => test.ok('POST', '/_validate', mesh())));
    for (const { json } of answers) expect(json.ok).toBe(true);
  }
  // At every stage of it: connecting, logging in, looking, signing.
  const hangingUp = Array.from({ length: 20 }, (_, index) =>
    fetch(`${test.app.address}/_validate`, {
      ...{ method: 'POST', body: JSON.stringify(mesh()), signal: AbortSignal.timeout(5 + 12 * index) },
      headers: { 'content-type': 'application/json' },
    }).then(
      ({ status }) => status,
      () => 'gone' as const,
    ),
  );
  expect(await Promise.all(hangingUp)).toContain('gone');
  let left: readonly number[] = [];
  await pollUntil(WITHIN_MS, async () => {
    left = await leftAtVault();
    return JSON.stringify(left) === JSON.stringify(before);
  }).catch(() => expect(left).toEqual(before));
});

it('a test certificate and its key stand nowhere', async () => {
  await test.ok('PUT', '/meshes/default', mesh());
  await test.ok('POST', '/meshes/default/_backends/vault-1/_validate');
  const resources = await test.ok('GET', '/meshes/default/dataplanes/_overview');
  expect(resources.json.total).toBe(0);
  const bundle = (await test.ok('GET', '/meshes/default/_trust-bundle')).text;
  await test.app.close();
  const files = (await readdir(folder.path)).filter((name) => name.startsWith('ca.db'));
  const database = await Promise.all(files.map((name) => readFile(join(folder.path, name), 'latin1')));
  const all = [...database, ...test.log];
  expect(all.some((text) => text.includes('BackendProof'))).toBe(true);
  const roots = new Set(bundle.match(CERTIFICATE));
  const certificates = all.flatMap((text) => text.replaceAll('\\n', '\n').match(CERTIFICATE) ?? []);
  expect(certificates.filter((one) => !roots.has(one))).toEqual([]);
  const pem = ['PRIVATE KEY', 'MIGHAgEAMBMG'];
  expect(all.flatMap((text) => pem.filter((begin) => text.includes(begin)))).toEqual([]);
  // How each PKCS#8 key on P-256 begins, in DER.
  const begin = (await generateKeyPair('EC-P256')).pkcs8Der.subarray(3, 29).toString('latin1');
  expect(database.filter((text) => text.includes(begin))).toEqual([]);
});
