import { readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { ConfigError, IssuerDeniedError, IssuerUnavailableError } from '../../src/issuer/errors.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { makeServerCertificate } from '../../testcontainers/server-certificate.ts';
import {
  type CredentialAnswer,
  type CredentialServer,
  containerAnswer,
  startCredentialServer,
  stsAnswer,
  stsRefusal,
} from '../fakes/acmpca/credential-servers.ts';
import type { StrictAcmPca } from '../fakes/acmpca/strict-acmpca.ts';
import { inspectFailed } from '../support/inspect-all.ts';
import { makeTempDir } from '../support/temp-dir.ts';
import { callsOf, depsOf, errorOf, hurriedClock, issuerOf, sign, startFake, until } from './acmpca-setup.ts';

const warned = vi.spyOn(process, 'emitWarning');
afterAll(() => warned.mockRestore());
afterEach(() => vi.unstubAllEnvs());

/** Nothing of this machine is found by AWS's default chain. Gives the folder in which its files are looked for. */
async function hideEnvironment(): Promise<string> {
  const home = await makeTempDir();
  onTestFinished(() => home.remove());
  for (const name of Object.keys(process.env).filter((one) => one.startsWith('AWS_'))) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_CONFIG_FILE', join(home.path, 'config'));
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(home.path, 'credentials'));
  return home.path;
}

/** In a region that does not exist, so that no name of AWS is found for it. */
const ARN_NOWHERE =
  'arn:aws:acm-pca:xx-nowhere-1:123456789012:certificate-authority/6ba7b810-9dad-11d1-80b4-00c04fd430c8';

/** Puts a user's temporary key into the environment. */
function use(user: ReturnType<StrictAcmPca['createUser']> | undefined): void {
  vi.stubEnv('AWS_ACCESS_KEY_ID', user?.accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', user?.secretAccessKey);
  vi.stubEnv('AWS_SESSION_TOKEN', user?.sessionToken);
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
    const failing = await inspectFailed(issuer);
    expect(failing.map(({ name }) => name)).toEqual(['acmpca.credentials-accepted']);
    expect(pca.calls).toHaveLength(0);
  });

  it('is taken up again when the credentials that it found have expired', async () => {
    await hideEnvironment();
    const pca = await startFake();
    const [old, fresh] = [1, 2].map(() => pca.createUser({ policies: pca.user.policies, temporary: true }));
    use(old);
    const issuer = issuerOf(pca, depsOf(pca), { auth: undefined });
    await sign({ issuer });
    if (old !== undefined) old.isExpired = true;
    use(fresh);
    await sign({ issuer }, { requestId: 'r2' });
    expect(callsOf(pca, 'IssueCertificate')).toBe(3);
  });

  it('is asked anew when what it found expires before the certificate is fetched, which is paid for', async () => {
    await hideEnvironment();
    const pca = await startFake();
    const [old, fresh] = [1, 2].map(() => pca.createUser({ policies: pca.user.policies, temporary: true }));
    use(old);
    pca.fault = ({ operation }) => {
      if (operation === 'GetCertificate' && old !== undefined) old.isExpired = true;
      return undefined;
    };
    const issuer = issuerOf(pca, depsOf(pca), { auth: undefined });
    const signed = sign({ issuer });
    await until(() => pca.issuedCount === 1);
    use(fresh);
    await signed;
    expect(pca.issuedCount).toBe(1);
  });
});

describe('credentials that AWS refused for long', () => {
  it('are used within two seconds of being replaced, and looked for no more often than twice a second', async () => {
    await hideEnvironment();
    const pca = await startFake();
    let laterMs = 0;
    const clock = { ...hurriedClock, monotonicMs: () => systemClock.monotonicMs() + laterMs };
    const key = { secret: 'old-key' };
    let loads = 0;
    const deps = depsOf(pca, { clock, secrets: { 'old-key': 'AKIAREVOKED12345' } });
    const load: typeof deps.load = (source, options) => {
      loads += 1;
      return deps.load(source.kind === 'secret' && source.secret === 'old-key' ? current : source, options);
    };
    let current: Parameters<typeof load>[0] = { kind: 'secret', secret: 'old-key' };
    const auth = { awsCredentials: { accessKey: key, accessKeySecret: { secret: 'aws-secret' } } };
    const issuer = issuerOf(pca, { ...deps, load }, { auth });
    for (let i = 0; i < 60; i += 1) {
      expect(await errorOf(sign({ issuer }))).toBeInstanceOf(IssuerDeniedError);
      laterMs += 100;
    }
    expect(loads).toBeLessThan(2 * 2 * 6 + 2);
    laterMs += 60_000;
    for (let i = 0; i < 2; i += 1) await errorOf(sign({ issuer }));
    current = { kind: 'secret', secret: 'aws-key' };
    laterMs += 1900;
    expect(await errorOf(sign({ issuer }))).toBeInstanceOf(IssuerDeniedError);
    await sign({ issuer });
  });
});

describe('temporary credentials', () => {
  const TOKEN = 'header.claims.signature';

  /** A web identity as EKS sets it up, and the STS that it is taken to. */
  async function startWebIdentity(answer: CredentialAnswer): Promise<CredentialServer> {
    const home = await hideEnvironment();
    const sts = await startCredentialServer(answer);
    onTestFinished(() => sts.close());
    await writeFile(join(home, 'token'), TOKEN);
    vi.stubEnv('AWS_WEB_IDENTITY_TOKEN_FILE', join(home, 'token'));
    vi.stubEnv('AWS_ROLE_ARN', 'arn:aws:iam::123456789012:role/secret-role');
    vi.stubEnv('AWS_ENDPOINT_URL_STS', sts.url);
    return sts;
  }

  it('of a web identity are had from STS once, and used', async () => {
    const pca = await startFake();
    const role = pca.createUser({ policies: pca.user.policies, temporary: true });
    const sts = await startWebIdentity(stsAnswer(role));
    const issuer = issuerOf(pca, depsOf(pca), { auth: undefined });
    for (let i = 0; i < 3; i += 1) await sign({ issuer }, { requestId: `r${i}` });
    expect(sts.asked).toHaveLength(1);
    expect(sts.asked[0]).toContain(TOKEN);
    expect(new Set(pca.calls.map(({ accessKeyId }) => accessKeyId))).toEqual(new Set([role.accessKeyId]));
  });

  it('of a container are had from its service', async () => {
    await hideEnvironment();
    const pca = await startFake();
    const role = pca.createUser({ policies: pca.user.policies, temporary: true });
    const service = await startCredentialServer(containerAnswer(role));
    onTestFinished(() => service.close());
    vi.stubEnv('AWS_CONTAINER_CREDENTIALS_FULL_URI', `${service.url}/role`);
    await sign({ issuer: issuerOf(pca, depsOf(pca), { auth: undefined }) });
    expect(pca.calls[0]?.accessKeyId).toBe(role.accessKeyId);
  });

  it('of a profile are read from the shared file', async () => {
    const home = await hideEnvironment();
    const pca = await startFake();
    const { accessKeyId, secretAccessKey } = pca.user;
    const file = `[mesh]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
    await writeFile(join(home, 'credentials'), file);
    vi.stubEnv('AWS_PROFILE', 'mesh');
    await sign({ issuer: issuerOf(pca, depsOf(pca), { auth: undefined }) });
    expect(pca.calls[0]?.accessKeyId).toBe(accessKeyId);
  });

  const REFUSALS: readonly [string, CredentialAnswer, string, RegExp][] = [
    ['that STS denies', stsRefusal('AccessDenied', 403), 'IssuerDeniedError', /trust policy/],
    ['whose token STS does not take', stsRefusal('InvalidIdentityToken'), 'IssuerDeniedError', /trust policy/],
    ['whose token has expired', stsRefusal('ExpiredTokenException'), 'IssuerDeniedError', /trust policy/],
    ['while STS is unwell', stsRefusal('InternalFailure', 500), 'IssuerUnavailableError', /network to STS/],
  ];
  it.each(REFUSALS)(
    '%s are told as what they are, and had as soon as STS gives them',
    async (_name, answer, name, fix) => {
      const pca = await startFake();
      const sts = await startWebIdentity(answer);
      const issuer = issuerOf(pca, depsOf(pca), { auth: undefined });
      const error = await errorOf(sign({ issuer }));
      expect(error).toMatchObject({ name, fix: expect.stringMatching(fix) });
      expect(Object(error).message).not.toMatch(/secret-role|123456789012/);
      expect(pca.calls).toHaveLength(0);
      const failing = await inspectFailed(issuer);
      expect(failing.map((check) => check.name)).toEqual(['acmpca.credentials-accepted']);
      sts.answer = stsAnswer(pca.createUser({ policies: pca.user.policies, temporary: true }));
      await sign({ issuer });
    },
  );

  it('whose token file is missing are told by that file', async () => {
    const pca = await startFake();
    await startWebIdentity(stsRefusal('AccessDenied'));
    vi.stubEnv('AWS_WEB_IDENTITY_TOKEN_FILE', '/nowhere/token');
    const error = await errorOf(sign({ issuer: issuerOf(pca, depsOf(pca), { auth: undefined }) }));
    expect(error).toMatchObject({
      name: 'IssuerDeniedError',
      message: expect.stringContaining('ENOENT'),
      fix: expect.stringContaining('AWS_WEB_IDENTITY_TOKEN_FILE'),
    });
  });

  it('that STS never answers for are given up by the deadline of a call, which says so', async () => {
    const pca = await startFake();
    await startWebIdentity('hang');
    const deadline: typeof systemClock.deadline = (ms, parent) => systemClock.deadline(ms / 20, parent);
    const issuer = issuerOf(pca, depsOf(pca, { clock: { ...systemClock, deadline } }), { auth: undefined });
    const error = await errorOf(sign({ issuer }));
    expect(error).toMatchObject({ name: 'IssuerUnavailableError', message: expect.stringContaining('credentials') });
    expect(pca.calls).toHaveLength(0);
  });
});

describe('the endpoint', () => {
  it.each(['AWS_ENDPOINT_URL_ACM_PCA', 'AWS_ENDPOINT_URL'])('is that of %s, unless told to ignore it', async (name) => {
    await hideEnvironment();
    const [pca, elsewhere] = await Promise.all([startFake(), startFake()]);
    vi.stubEnv(name, pca.endpoint);
    await sign({ issuer: issuerOf(pca, depsOf(pca), { endpoint: undefined }) });
    vi.stubEnv(name, elsewhere.endpoint);
    vi.stubEnv('AWS_IGNORE_CONFIGURED_ENDPOINT_URLS', 'true');
    const deadline: typeof systemClock.deadline = (ms, parent) => systemClock.deadline(ms / 20, parent);
    const clock = { ...systemClock, deadline };
    const issuer = issuerOf(pca, depsOf(pca, { clock }), { endpoint: undefined, arn: ARN_NOWHERE });
    expect(await errorOf(sign({ issuer }))).toMatchObject({ name: 'IssuerUnavailableError' });
    expect(elsewhere.calls).toHaveLength(0);
  });

  it('is not silently that of a profile', async () => {
    const home = await hideEnvironment();
    const [pca, elsewhere] = await Promise.all([startFake(), startFake()]);
    await writeFile(join(home, 'config'), `[default]\nendpoint_url = ${elsewhere.endpoint}\n`);
    await sign({ issuer: issuerOf(pca, depsOf(pca)) });
    const deadline: typeof systemClock.deadline = (ms, parent) => systemClock.deadline(ms / 20, parent);
    const clock = { ...systemClock, deadline };
    const issuer = issuerOf(pca, depsOf(pca, { clock }), { endpoint: undefined, arn: ARN_NOWHERE });
    expect(await errorOf(sign({ issuer }))).toMatchObject({ name: 'IssuerUnavailableError' });
    expect(elsewhere.calls).toHaveLength(0);
  });
});

describe('an endpoint that does not go with FIPS or dual stack of the environment', () => {
  it.each(['AWS_USE_FIPS_ENDPOINT', 'AWS_USE_DUALSTACK_ENDPOINT'])('is told by %s', async (variable) => {
    await hideEnvironment();
    vi.stubEnv(variable, 'true');
    const pca = await startFake();
    const issuer = issuerOf(pca, depsOf(pca));
    const error = await errorOf(sign({ issuer }));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ fix: expect.stringContaining(variable) });
    expect(await inspectFailed(issuer)).toMatchObject([{ name: 'acmpca.address-reachable' }]);
    expect(pca.calls).toHaveLength(0);
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
  it('wrote no advice of its own into the output, of all that was done above', () => {
    expect(warned.mock.calls.map(([warning]) => String(warning))).not.toContainEqual(expect.stringContaining('SDK'));
  });

  it('is loaded with the first call only: a service without such a backend never pays for it', () => {
    const folder = fileURLToPath(new URL('../../adapters/acmpca', import.meta.url));
    for (const file of readdirSync(folder).filter((name) => name.endsWith('.ts'))) {
      const text = readFileSync(join(folder, file), 'utf8');
      expect(text, file).not.toMatch(/^import (?!type )[^;]*from '@(aws-sdk|smithy)/m);
    }
  });
});
