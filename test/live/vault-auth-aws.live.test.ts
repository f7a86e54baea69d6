import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createTokenSource } from '../../adapters/vault/auth/create-token-source.ts';
import { module } from '../../adapters/vault/module.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { type StartedMoto, startMoto } from '../../testcontainers/moto.ts';
import { startOpenBao } from '../../testcontainers/openbao.ts';
import { setUpPki } from '../../testcontainers/vault-pki.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { type FakeVaultAws, startFakeVaultAws } from '../fakes/fake-vault-aws.ts';
import { CONTEXT, createIssuer } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';
import { createLoginCall } from '../support/vault-login-call.ts';

const print = (line: string) => void process.stdout.write(`${line}\n`);
const ROLE_ARN = 'arn:aws:iam::123456789012:role/mesh-ca';

let moto: StartedMoto;
beforeAll(async () => {
  moto = await startMoto({ print });
});
afterAll(() => moto?.close());

beforeEach(() => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_ENDPOINT_URL_STS', moto.endpoint);
  vi.stubEnv('AWS_REGION', moto.region);
});
afterEach(() => void vi.unstubAllEnvs());

function useKeys(): void {
  vi.stubEnv('AWS_ACCESS_KEY_ID', moto.credentials.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', moto.credentials.secretAccessKey);
}

async function logIn(vault: FakeVaultAws): Promise<unknown> {
  const deps = createTestDeps({ clock: systemClock });
  const fromCp = { address: vault.address, pki: 'pki', role: 'proxies', auth: { aws: { role: 'mesh-ca' } } };
  const conf = module.parseConf({ fromCp }, CONTEXT);
  return createTokenSource(CONTEXT, conf, deps).obtain(createLoginCall(CONTEXT, conf, deps), live().signal);
}

async function startVault(bound: string): Promise<FakeVaultAws> {
  const vault = await startFakeVaultAws({ stsEndpoint: moto.endpoint, serverId: '', role: 'mesh-ca', bound: [bound] });
  onTestFinished(vault.close);
  return vault;
}

describe('a signed request of a login by AWS IAM', () => {
  it('is answered by the STS of moto', async () => {
    useKeys();
    const vault = await startVault('arn:aws:sts::123456789012:user/moto');
    expect(await logIn(vault)).toMatchObject({ ok: true, value: { token: expect.stringMatching(/^hvs\./) } });
  });

  it('is signed as the role of a Kubernetes service account (IRSA)', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-irsa-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, 'token'), 'first.web.identity');
    vi.stubEnv('AWS_ROLE_ARN', ROLE_ARN);
    vi.stubEnv('AWS_ROLE_SESSION_NAME', 'mesh-ca');
    vi.stubEnv('AWS_WEB_IDENTITY_TOKEN_FILE', join(folder, 'token'));
    const assumed = 'arn:aws:sts::123456789012:assumed-role/mesh-ca/mesh-ca';
    const vault = await startVault(assumed);
    expect(await logIn(vault)).toMatchObject({ ok: true });
    expect(vault.loggedIn).toEqual([assumed]);
  });
});

/**
 * OpenBao has no auth method `aws`: what is proven with it is the refusal. The other way is for HashiCorp Vault (VAULT_BIN, or MESH_CA_TEST_VAULT_ADDR
 * for one that reaches moto), and is written from its documentation: there was no Vault to try it on.
 */
describe('the front door of a real vault server', () => {
  it('lets mesh-ca in by AWS IAM, or says that the auth method is missing', async () => {
    useKeys();
    const bao = await startOpenBao({ print });
    onTestFinished(() => bao.close());
    await setUpPki(bao, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' });
    const enabled = await bao.request('POST', 'sys/auth/aws', { type: 'aws' });
    const fromCp = {
      ...{ address: bao.address, pki: 'kmesh-pki-default', role: 'dataplane-proxies' },
      auth: { aws: { role: 'mesh-ca', iamServerIdHeader: 'vault.example' } },
    };
    const issuer = createIssuer({ fromCp }, createTestDeps({ clock: systemClock }));
    onTestFinished(() => issuer.close());
    if (enabled.status > 299) {
      const error = await issuer.abilities(live()).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ fix: expect.stringContaining('vault auth enable -path=aws aws') });
      return;
    }
    await bao.must('POST', 'auth/aws/config/client', {
      ...{ sts_endpoint: moto.endpoint, sts_region: moto.region, iam_server_id_header_value: 'vault.example' },
      ...{ access_key: moto.credentials.accessKeyId, secret_key: moto.credentials.secretAccessKey },
    });
    const role = await readFile(new URL('../../policies/vault/auth-aws-iam.json', import.meta.url), 'utf8');
    const changes = { bound_iam_principal_arn: ['arn:aws:iam::123456789012:user/*'], resolve_aws_unique_ids: false };
    await bao.must('POST', 'auth/aws/role/mesh-ca', { ...JSON.parse(role), ...changes });
    const issued = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 3600), live());
    expect(issued.roots).toHaveLength(1);
  });
});
