import { createPublicKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair, type KeyPair } from '../../src/x509/key-pair.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { createToken, setUpPki } from '../../testcontainers/vault-pki.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import { startTestApp, type TestApp } from '../support/test-app.ts';

const TAGS = { 'kuma.io/service': 'my_backend', version: 'v1' };
const SANS = ['spiffe://default/my_backend', 'kuma://kuma.io/service/my_backend', 'kuma://version/v1'];
const TEMPLATE = '{{ tag "kuma.io/service" | replace "_" "-" }}.mesh';

let bao: StartedOpenBao;
let test: TestApp;
let key: KeyPair;
beforeAll(async () => {
  [bao, test, key] = await Promise.all([
    startOpenBao({ print: (line) => process.stdout.write(`${line}\n`) }),
    startTestApp(),
    generateKeyPair('RSA-2048'),
  ]);
});
afterAll(async () => {
  await test?.close();
  await bao?.close();
});

/** The mesh `default` on a fresh set-up, as the Vault page has it; `fromCp` changes the conf. */
async function useVault(token: string, fromCp: object = {}, skipValidation = false): Promise<void> {
  await test.ok('PUT', '/meshes/default', { type: 'Mesh', name: 'default' });
  await test.ok('PUT', '/meshes/default/secrets/vault-token', {
    type: 'Secret',
    mesh: 'default',
    name: 'vault-token',
    data: Buffer.from(token).toString('base64'),
  });
  const conf = {
    fromCp: {
      address: bao.address,
      pki: 'kmesh-pki-default',
      role: 'dataplane-proxies',
      auth: { token: { secret: 'vault-token' } },
      ...fromCp,
    },
  };
  await test.ok('PUT', '/meshes/default', {
    type: 'Mesh',
    name: 'default',
    mtls: { skipValidation, enabledBackend: 'vault-1', backends: [{ name: 'vault-1', type: 'vault', conf }] },
  });
}

let count = 0;
const issue = (body: object) => {
  count += 1;
  return test.request('POST', `/meshes/default/dataplanes/dp-${count}/_certificate`, { tags: TAGS, ...body });
};
const csrOf = (pair: KeyPair, uriSans: readonly string[] = [], commonName = '') =>
  encodePem('CERTIFICATE REQUEST', createCsr(pair, { uriSans, dnsNames: [], commonName }));

/** A proxy's view, by another program: the leaf, the chain that came along, and the bundle as the only trust. */
async function expectVerified(json: TestAnswer): Promise<void> {
  const ders = (pem: unknown) => decodePem(String(pem)).map(({ der }) => der);
  const [leaf = Buffer.alloc(0)] = ders(json.certificate);
  const chain = [json.caChain?.[0], json.caChain?.[1]].filter((pem) => pem !== undefined).flatMap(ders);
  const roots = ders(json.trustBundle?.pem);
  for (const purpose of ['sslserver', 'sslclient'] as const) {
    expect(await opensslVerify({ leaf, chain, roots, at: new Date(), purpose })).toBe('OK');
  }
}
type TestAnswer = Awaited<ReturnType<TestApp['ok']>>['json'];

describe('the documented set-up (policy with issue only)', () => {
  beforeAll(async () => {
    const { token } = await setUpPki(bao, { policy: 'issue' });
    await useVault(token, { commonName: TEMPLATE });
  });

  it('gives key and certificate that OpenSSL verifies, with the templated common name', async () => {
    const { status, json } = await issue({});
    expect(status).toBe(201);
    expect(json).toMatchObject({
      backend: 'vault-1',
      type: 'vault',
      outcome: 'issued',
      uriSans: SANS,
      commonName: 'my-backend.mesh',
    });
    const leaf = new X509Certificate(String(json.certificate));
    expect(leaf.subject).toBe('CN=my-backend.mesh');
    expect(leaf.publicKey.equals(createPublicKey(String(json.privateKey)))).toBe(true);
    await expectVerified(json);
  });

  it('cannot sign a CSR, and says which right is missing', async () => {
    const { status, json } = await issue({ csr: csrOf(key) });
    expect([status, json.code]).toEqual([501, 'ERR_NOT_SUPPORTED']);
  });

  it('keeps a certificate that stands without asking Vault', async () => {
    const { json } = await issue({});
    await bao.seal();
    try {
      const kept = await test.request('POST', `/meshes/default/dataplanes/dp-${count}/_certificate`, {
        tags: TAGS,
        current: json.certificate,
      });
      expect([kept.status, kept.json.outcome]).toEqual([200, 'kept']);
      const refused = await issue({});
      expect([refused.status, refused.json.code, refused.json.retry]).toEqual([503, 'ERR_ISSUER_UNAVAILABLE', true]);
      expect(String(refused.json.detail)).toMatch(/^issuer\(vault vault-1\): .*sealed/);
    } finally {
      await bao.unseal();
    }
  });
});

describe('the policy with sign', () => {
  it('with the documented role: the CSR has to carry the identity, and an RSA key', async () => {
    const { token } = await setUpPki(bao, { policy: 'sign' });
    await useVault(token);
    const { json: wanted } = await test.ok('POST', '/meshes/default/dataplanes/web/_identity', { tags: TAGS });
    expect(wanted).toMatchObject({ uriSans: SANS, signsCsrAsIs: true });
    const bare = await issue({ csr: csrOf(key) });
    expect([bare.status, bare.json.code]).toEqual([400, 'ERR_REQUEST_INVALID']);
    expect(bare.text).toContain(SANS.join(', '));
    const thief = await issue({ csr: csrOf(key, ['spiffe://default/admin']) });
    expect(thief.status).toBe(400);
    const good = await issue({ csr: csrOf(key, SANS) });
    expect([good.status, good.json.outcome]).toEqual([201, 'issued']);
    await expectVerified(good.json);
    const made = await issue({});
    expect(made.status).toBe(201);
    expect(createPublicKey(String(made.json.privateKey)).asymmetricKeyType).toBe('rsa');
  });

  it('with the role made for it: any CSR, EC keys, and the names are ours', async () => {
    const { token } = await setUpPki(bao, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' });
    await useVault(token, { commonName: TEMPLATE });
    const ec = await generateKeyPair('EC-P256');
    const { status, json } = await issue({ csr: csrOf(ec, ['spiffe://default/admin'], 'admin') });
    expect([status, json.uriSans, json.commonName]).toEqual([201, SANS, 'my-backend.mesh']);
    expect(new X509Certificate(String(json.certificate)).subjectAltName).not.toContain('admin');
    await expectVerified(json);
    const made = await issue({});
    expect(createPublicKey(String(made.json.privateKey)).asymmetricKeyType).toBe('ec');
  });

  it('without the right to read the role: an EC key is tried, and signed if the role allows it', async () => {
    await setUpPki(bao, { policy: 'sign', roleChanges: { key_type: 'any' } });
    await bao.must('PUT', 'sys/policies/acl/sign-only', {
      policy: 'path "kmesh-pki-default/sign/dataplane-proxies" { capabilities = ["update"] }',
    });
    await useVault(await createToken(bao, ['sign-only']));
    const { status, json } = await issue({ csr: csrOf(await generateKeyPair('EC-P256'), SANS) });
    expect([status, json.outcome]).toEqual([201, 'issued']);
    await bao.must(
      'POST',
      'kmesh-pki-default/roles/dataplane-proxies',
      JSON.parse(await readFile('policies/vault/role-dataplane-proxies.json', 'utf8')),
    );
    const refused = await issue({ csr: csrOf(await generateKeyPair('EC-P256'), SANS) });
    expect([refused.status, refused.json.code]).toEqual([400, 'ERR_REQUEST_INVALID']);
    expect(String(refused.json.fix)).toContain('key_type=any');
  });

  it('below an intermediate CA: the chain is the intermediate, the root is in the bundle', async () => {
    const { token } = await setUpPki(bao, {
      policy: 'sign',
      roleFile: 'role-dataplane-proxies-sign.json',
      intermediate: true,
    });
    await useVault(token);
    const { json } = await issue({ csr: csrOf(await generateKeyPair('EC-P256')) });
    expect([json.outcome, json.caChain?.[0] !== undefined, json.caChain?.[1]]).toEqual(['issued', true, undefined]);
    await expectVerified(json);
  });
});

describe('what goes wrong', () => {
  const WRONG: readonly { name: string; fromCp: object; status: number; code: string; says: RegExp }[] = [
    {
      name: 'nobody listens',
      fromCp: { address: 'http://127.0.0.1:1' },
      status: 503,
      code: 'ERR_ISSUER_UNAVAILABLE',
      says: /refuses connections/,
    },
    {
      name: 'an unknown host',
      fromCp: { address: 'http://no-such-host.invalid:8200' },
      status: 503,
      code: 'ERR_ISSUER_UNAVAILABLE',
      says: /cannot be resolved/,
    },
    { name: 'a wrong mount', fromCp: { pki: 'other' }, status: 502, code: 'ERR_ISSUER_DENIED', says: /other/ },
    { name: 'a wrong role', fromCp: { role: 'other' }, status: 502, code: 'ERR_ISSUER_DENIED', says: /other/ },
    {
      name: 'a wrong token',
      fromCp: { auth: { token: { inlineString: 's.wrong-token-of-the-test' } } },
      status: 502,
      code: 'ERR_ISSUER_DENIED',
      says: /token/,
    },
    {
      name: 'a secret that is not there',
      fromCp: { auth: { token: { secret: 'gone' } } },
      status: 400,
      code: 'ERR_CONFIG_INVALID',
      says: /could not load data: resource not found: type="Secret" name="gone" mesh="default"/,
    },
  ];

  it.each(WRONG)(
    '$name: $status $code, with a fix, no secret, nothing stored',
    async ({ fromCp, status, code, says }) => {
      const { token } = await setUpPki(bao, { policy: 'issue' });
      // Stored as it is, to see what a data plane is told of it.
      await useVault(token, fromCp, true);
      const answer = await issue({});
      expect([answer.status, answer.json.code]).toEqual([status, code]);
      expect(String(answer.json.detail)).toMatch(says);
      expect(String(answer.json.fix)).not.toBe('undefined');
      for (const text of [answer.text, test.log.join('')]) {
        expect(text).not.toContain(token);
        expect(text).not.toContain('s.wrong-token-of-the-test');
      }
    },
  );

  it('a token that is revoked is told, and a new one in the secret heals it without a restart', async () => {
    const { token } = await setUpPki(bao, { policy: 'issue' });
    await useVault(token);
    expect((await issue({})).status).toBe(201);
    await bao.must('POST', 'auth/token/revoke', { token });
    expect((await issue({})).status).toBe(502);
    const fresh = await createToken(bao, ['kmesh-default-dataplane-proxies']);
    await test.ok('PUT', '/meshes/default/secrets/vault-token', {
      type: 'Secret',
      mesh: 'default',
      name: 'vault-token',
      data: Buffer.from(fresh).toString('base64'),
    });
    expect((await issue({})).status).toBe(201);
  });

  it('a Vault that is down takes neither other meshes nor the bundle away', async () => {
    const { token } = await setUpPki(bao, { policy: 'issue' });
    await useVault(token);
    await issue({});
    await test.ok('PUT', '/meshes/other', {
      type: 'Mesh',
      name: 'other',
      mtls: {
        enabledBackend: 'ca',
        backends: [{ name: 'ca', type: 'builtin', conf: { caCert: { keyType: 'EC-P256' } } }],
      },
    });
    await bao.seal();
    try {
      expect((await test.request('GET', '/meshes/default/_trust-bundle')).text).toContain('BEGIN CERTIFICATE');
      expect((await test.request('POST', '/meshes/other/dataplanes/a/_certificate', { tags: TAGS })).status).toBe(201);
    } finally {
      await bao.unseal();
    }
  });
});
