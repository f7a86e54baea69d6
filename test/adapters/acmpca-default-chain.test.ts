import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { IssuerDeniedError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { makeServerCertificate } from '../../testcontainers/server-certificate.ts';
import { live } from '../conformance/issuer.ts';
import { makeTempDir } from '../support/temp-dir.ts';
import { depsOf, errorOf, issuerOf, sign, startFake } from './acmpca-setup.ts';

afterEach(() => vi.unstubAllEnvs());

/** Nothing of this machine is found by AWS's default chain. */
async function hideEnvironment(): Promise<void> {
  const home = await makeTempDir();
  onTestFinished(() => home.remove());
  for (const name of Object.keys(process.env).filter((one) => one.startsWith('AWS_'))) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_CONFIG_FILE', join(home.path, 'config'));
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(home.path, 'credentials'));
}

describe("AWS's default chain", () => {
  it('gives the credentials when the conf has none, temporary ones with their session token too', async () => {
    await hideEnvironment();
    const pca = await startFake();
    const role = pca.createUser({ policies: pca.user.policies, temporary: true });
    vi.stubEnv('AWS_ACCESS_KEY_ID', role.accessKeyId);
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', role.secretAccessKey);
    vi.stubEnv('AWS_SESSION_TOKEN', role.sessionToken ?? '');
    vi.stubEnv('AWS_REGION', 'us-east-2');
    await sign({ issuer: issuerOf(pca, depsOf(pca), { auth: undefined }) });
    expect(new Set(pca.calls.map(({ accessKeyId }) => accessKeyId))).toEqual(new Set([role.accessKeyId]));
    expect(String(pca.calls[0]?.headers.authorization)).toContain('/eu-west-1/acm-pca/');
  });

  it('that finds nothing is told with what to check, and nothing is sent', async () => {
    await hideEnvironment();
    const pca = await startFake();
    const issuer = issuerOf(pca, depsOf(pca), { auth: {} });
    const error = await errorOf(sign({ issuer }));
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error).toMatchObject({ fix: expect.stringContaining('aws sts get-caller-identity') });
    const failing = (await issuer.inspect(live())).filter(({ ok }) => !ok);
    expect(failing.map(({ name }) => name)).toEqual(['acmpca.credentials-accepted']);
    expect(pca.calls).toHaveLength(0);
  });

  it('is taken up again when the credentials that it found have expired', async () => {
    await hideEnvironment();
    const pca = await startFake();
    const [old, fresh] = [1, 2].map(() => pca.createUser({ policies: pca.user.policies, temporary: true }));
    const use = (user: typeof old) => {
      vi.stubEnv('AWS_ACCESS_KEY_ID', user?.accessKeyId);
      vi.stubEnv('AWS_SECRET_ACCESS_KEY', user?.secretAccessKey);
      vi.stubEnv('AWS_SESSION_TOKEN', user?.sessionToken);
    };
    use(old);
    const issuer = issuerOf(pca, depsOf(pca), { auth: undefined });
    await sign({ issuer });
    if (old !== undefined) old.isExpired = true;
    use(fresh);
    expect(await errorOf(sign({ issuer }))).toMatchObject({ message: expect.stringContaining('expired') });
    await sign({ issuer });
  });
});

describe('an endpoint with TLS', () => {
  it('that is not trusted is refused, with the way to trust it', async () => {
    const folder = await makeTempDir();
    onTestFinished(() => folder.remove());
    const pca = await startFake({ tls: await makeServerCertificate(folder.path, ['IP:127.0.0.1']) });
    const error = await errorOf(sign({ issuer: issuerOf(pca, depsOf(pca)) }));
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(error).toMatchObject({ fix: expect.stringContaining('NODE_EXTRA_CA_CERTS') });
    expect(pca.calls).toHaveLength(0);
  });
});

describe("AWS's SDK", () => {
  it('is loaded with the first call only: a service without such a backend never pays for it', () => {
    const folder = fileURLToPath(new URL('../../adapters/acmpca', import.meta.url));
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts'))) {
      const text = readFileSync(join(folder, file), 'utf8');
      expect(text, file).not.toMatch(/^import (?!type )[^;]*from '@(aws-sdk|smithy)/m);
    }
  });
});
