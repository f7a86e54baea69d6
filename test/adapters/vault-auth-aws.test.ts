import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createTokenSource } from '../../adapters/vault/auth/create-token-source.ts';
import { findStsEndpoint } from '../../adapters/vault/auth/sts-endpoint.ts';
import type { LoginCall } from '../../adapters/vault/auth/token-source.ts';
import { module } from '../../adapters/vault/module.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import { live } from '../conformance/issuer.ts';
import { createTestDeps, type TestDeps } from '../conformance/issuer-deps.ts';
import { createUser, type FakeUser } from '../fakes/acmpca/users.ts';
import { type FakeSts, startFakeSts } from '../fakes/fake-sts.ts';
import { type FakeVaultAws, startFakeMetadata, startFakeVaultAws } from '../fakes/fake-vault-aws.ts';
import { type Answer, listen } from '../fakes/listen.ts';
import { CONTEXT } from '../fakes/vault-backend.ts';
import { createLoginCall } from '../support/vault-login-call.ts';

const OWNER = { partition: 'aws', account: '123456789012' };
const REGION = 'eu-west-1';
const INSTANCE = 'i-0123456789abcdef0';
const NONCE_SECRET = 'default.vault-ec2-nonce-vault-1';

beforeEach(() => {
  // Nothing of the machine that runs this: no files, no metadata service.
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) vi.stubEnv(name, undefined);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_CONFIG_FILE', '/nonexistent/config');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/nonexistent/credentials');
});
afterEach(() => void vi.unstubAllEnvs());

function useCredentials({ accessKeyId, secretAccessKey, sessionToken }: FakeUser): void {
  vi.stubEnv('AWS_ACCESS_KEY_ID', accessKeyId);
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', secretAccessKey);
  vi.stubEnv('AWS_SESSION_TOKEN', sessionToken);
}

interface World {
  readonly deps: TestDeps;
  readonly vault: FakeVaultAws;
  /** A new source, as after a restart. */
  logIn(aws?: Record<string, unknown>, wrap?: (call: LoginCall) => LoginCall): Promise<unknown>;
}

async function startWorld(stsEndpoint = 'http://127.0.0.1:1', bound: readonly string[] = [INSTANCE]): Promise<World> {
  const deps = createTestDeps();
  const vault = await startFakeVaultAws({ stsEndpoint, serverId: '', role: 'ca', bound });
  onTestFinished(vault.close);
  return {
    deps,
    vault,
    logIn(aws = {}, wrap = (call) => call) {
      const fromCp = { address: vault.address, pki: 'pki', role: 'proxies', auth: { aws } };
      const conf = module.parseConf({ fromCp }, CONTEXT);
      const call = wrap(createLoginCall(CONTEXT, conf, deps));
      return createTokenSource(CONTEXT, conf, deps).obtain(call, live().signal);
    },
  };
}

interface IamWorld extends World {
  readonly user: FakeUser;
  readonly sts: FakeSts;
  /** What the conf needs to sign for this STS. */
  readonly conf: { readonly stsEndpoint: string; readonly stsRegion: string };
}

async function startIamWorld(temporary = false): Promise<IamWorld> {
  const user = createUser({ policies: [], temporary }, OWNER);
  useCredentials(user);
  let now = () => new Date(0);
  const sts = await startFakeSts({ region: REGION, users: [user], now: () => now() });
  onTestFinished(sts.close);
  const world = await startWorld(sts.address, [user.arn]);
  now = world.deps.clock.now;
  return { ...world, user, sts, conf: { stsEndpoint: sts.address, stsRegion: REGION } };
}

const refused = (message: RegExp, fix: RegExp, kind = 'denied') => ({
  ok: false,
  failure: { kind, message: expect.stringMatching(message), fix: expect.stringMatching(fix) },
});

describe('a login at vault by AWS IAM', () => {
  it.each([
    ['an access key', false],
    ['temporary credentials, whose session token is signed, too', true],
  ])('proves itself to STS through Vault with %s', async (_name, temporary) => {
    const { user, sts, vault, logIn, conf } = await startIamWorld(temporary);
    expect(await logIn(conf)).toMatchObject({
      ok: true,
      value: { token: expect.stringMatching(/^hvs\./), life: { ttlSeconds: 3600, renewable: true }, fingerprint: '' },
    });
    expect(vault.loggedIn).toEqual([user.arn]);
    const [request] = sts.seen;
    expect(request?.headers.host).toBe(new URL(sts.address).host);
    expect(request?.headers['x-amz-security-token'] !== undefined).toBe(temporary);
    expect(JSON.stringify(vault.seen[0]?.body.toString())).not.toContain(user.secretAccessKey);
  });

  it('sends the role where one is set', async () => {
    const { logIn, conf } = await startIamWorld();
    expect(await logIn({ ...conf, role: 'ca' })).toMatchObject({ ok: true });
    expect(await logIn({ ...conf, role: 'other' })).toMatchObject(refused(/no such role/, /role\/other/, 'absent'));
  });

  it('signs the server id that Vault wants, so that nobody can use the request at another Vault', async () => {
    const { vault, logIn, conf } = await startIamWorld();
    vault.conf.serverId = 'vault.example';
    expect(await logIn({ ...conf, iamServerIdHeader: 'vault.example' })).toMatchObject({ ok: true });
    for (const iamServerIdHeader of ['', 'other.example']) {
      expect(await logIn({ ...conf, iamServerIdHeader })).toMatchObject(refused(/server id/, /iamServerIdHeader/));
    }
  });

  const TAMPERED: readonly [string, (body: Record<string, string>) => Record<string, string>, RegExp][] = [
    ['another action', (body) => ({ ...body, iam_request_body: toBase64('Action=GetUser') }), /refused by STS/],
    [
      'a server id added after signing',
      (body) => changeHeaders(body, (headers) => ({ ...headers, 'x-vault-aws-iam-server-id': ['vault.example'] })),
      /server id/,
    ],
    ['another host', (body) => ({ ...body, iam_request_url: toBase64('http://sts.example/') }), /refused by STS/],
  ];
  it.each(TAMPERED)('is worth nothing with %s', async (_name, change, message) => {
    const { vault, logIn, conf } = await startIamWorld();
    if (message.test('server id')) vault.conf.serverId = 'vault.example';
    const wrap =
      (call: LoginCall): LoginCall =>
      (path, body, signal) =>
        call(path, change(Object(body)), signal);
    expect(await logIn(conf, wrap)).toMatchObject(refused(message, /./));
  });

  it('tells what is wrong with the signature, and never repeats what STS repeats', async () => {
    const { user, logIn, conf, deps } = await startIamWorld(true);
    const outcomes = [await logIn({ ...conf, stsRegion: 'us-west-2' })];
    expect(outcomes[0]).toMatchObject(refused(/refused by STS/, /sts_endpoint/));
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'not-the-key-of-this-access-key-id');
    outcomes.push(await logIn(conf));
    expect(outcomes[1]).toMatchObject(refused(/refused by STS/, /sts_endpoint/));
    useCredentials(user);
    const late = new Date(deps.clock.now().getTime() - 3_600_000);
    vi.spyOn(deps.clock, 'now').mockReturnValueOnce(late);
    outcomes.push(await logIn(conf));
    expect(outcomes[2]).toMatchObject(refused(/time/, /NTP/));
    for (const outcome of outcomes) {
      expect(JSON.stringify(outcome)).not.toContain((user.sessionToken ?? '').slice(0, 12));
      expect(JSON.stringify(outcome)).not.toContain(user.secretAccessKey.slice(0, 12));
    }
  });

  it('is refused for a principal that the role does not let in', async () => {
    const { vault, logIn, conf } = await startIamWorld();
    vault.conf.bound = ['arn:aws:iam::123456789012:role/other'];
    expect(await logIn(conf)).toMatchObject(refused(/AWS principal/, /bound_iam_principal_arn/));
  });

  it('takes region and endpoint of STS from the environment, as the SDKs do', async () => {
    const { logIn, sts } = await startIamWorld();
    vi.stubEnv('AWS_ENDPOINT_URL_STS', sts.address);
    vi.stubEnv('AWS_REGION', REGION);
    expect(await logIn()).toMatchObject({ ok: true });
  });

  it('finds changed credentials at the next login', async () => {
    const { logIn, conf, user } = await startIamWorld();
    vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIAGONE');
    expect(await logIn(conf)).toMatchObject({ ok: false });
    useCredentials(user);
    expect(await logIn(conf)).toMatchObject({ ok: true });
  });
});

describe('AWS credentials for a login at vault', () => {
  it('that are not there are a mistake of the configuration, told without asking Vault', async () => {
    const { vault, logIn } = await startWorld();
    expect(await logIn()).toMatchObject(refused(/found no AWS credentials/, /web identity/, 'conf'));
    expect(vault.seen).toEqual([]);
  });

  it('that a process should print: its output is not repeated when it fails', async () => {
    const { logIn } = await startWorld();
    const folder = await mkdtemp(join(tmpdir(), 'mesh-ca-aws-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = join(folder, 'config');
    await writeFile(file, '[profile p]\ncredential_process = sh -c "echo my-secret-output >&2; exit 3"\n');
    vi.stubEnv('AWS_CONFIG_FILE', file);
    vi.stubEnv('AWS_PROFILE', 'p');
    const outcome = await logIn();
    expect(outcome).toMatchObject(refused(/found no AWS credentials/, /AWS_PROFILE/, 'conf'));
    expect(JSON.stringify(outcome)).not.toContain('my-secret-output');
  });

  it('that take too long are given up after 10 s', async () => {
    const { deps, logIn } = await startWorld();
    const slow = await listen(() => 'hang');
    onTestFinished(slow.close);
    vi.stubEnv('AWS_EC2_METADATA_DISABLED', undefined);
    vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', slow.address);
    const outcome = logIn();
    await vi.waitUntil(() => slow.seen.length > 0);
    deps.clock.advance(10_000);
    expect(await outcome).toMatchObject(refused(/within 10000 ms/, /metadata/, 'timeout'));
  });
});

describe('the STS endpoint that is signed for', () => {
  const CASES: readonly [string, Record<string, string>, Record<string, string>, string, string][] = [
    ['nothing set', {}, {}, 'https://sts.amazonaws.com/', 'us-east-1'],
    [
      'AWS_REGION',
      {},
      { AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'x' },
      'https://sts.eu-west-1.amazonaws.com/',
      'eu-west-1',
    ],
    [
      'AWS_DEFAULT_REGION',
      {},
      { AWS_DEFAULT_REGION: 'sa-east-1' },
      'https://sts.sa-east-1.amazonaws.com/',
      'sa-east-1',
    ],
    [
      'stsRegion over it',
      { stsRegion: 'us-west-2' },
      { AWS_REGION: 'eu-west-1' },
      'https://sts.us-west-2.amazonaws.com/',
      'us-west-2',
    ],
    ['China', { stsRegion: 'cn-north-1' }, {}, 'https://sts.cn-north-1.amazonaws.com.cn/', 'cn-north-1'],
    [
      'the global endpoint over AWS_REGION',
      { stsEndpoint: 'https://sts.amazonaws.com' },
      { AWS_REGION: 'eu-west-1' },
      'https://sts.amazonaws.com/',
      'us-east-1',
    ],
    [
      'a regional endpoint tells its region',
      { stsEndpoint: 'https://sts-fips.us-gov-west-1.amazonaws.com' },
      { AWS_REGION: 'eu-west-1' },
      'https://sts-fips.us-gov-west-1.amazonaws.com/',
      'us-gov-west-1',
    ],
    [
      'a private endpoint with AWS_REGION',
      { stsEndpoint: 'https://vpce-1.example' },
      { AWS_REGION: 'eu-west-1' },
      'https://vpce-1.example/',
      'eu-west-1',
    ],
    [
      'AWS_ENDPOINT_URL_STS',
      {},
      { AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:5000/' },
      'http://127.0.0.1:5000/',
      'us-east-1',
    ],
  ];
  it.each(CASES)('with %s', (_name, conf, env, href, region) => {
    const found = findStsEndpoint({ stsEndpoint: '', stsRegion: '', ...conf }, env);
    expect(found.ok && { href: found.value.url.href, region: found.value.region }).toEqual({ href, region });
  });

  it('is never what a variable smuggles in', () => {
    const url = fc
      .tuple(fc.constantFrom('', 'http://a', 'https://a.b/', 'ftp://'), fc.string())
      .map((parts) => parts.join(''));
    fc.assert(
      fc.property(fc.string(), url, (AWS_REGION, AWS_ENDPOINT_URL_STS) => {
        const found = findStsEndpoint({ stsEndpoint: '', stsRegion: '' }, { AWS_REGION, AWS_ENDPOINT_URL_STS });
        if (found.ok) expect(`${found.value.url.pathname}${found.value.region}`).toMatch(/^\/[a-z0-9-]+$/);
        else expect(found.failure).toMatchObject({ kind: 'conf', message: expect.stringMatching(/AWS_\w+ is not/) });
      }),
    );
  });
});

async function useMetadata() {
  const metadata = await startFakeMetadata(INSTANCE);
  onTestFinished(metadata.close);
  vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', metadata.address);
  return metadata;
}

const EC2 = { type: 'EC2', role: 'ca' };

describe('a login at vault by AWS EC2', () => {
  it('shows the signed document of the instance, in one line', async () => {
    await useMetadata();
    const { vault, logIn } = await startWorld();
    expect(await logIn(EC2)).toMatchObject({ ok: true, value: { token: expect.stringMatching(/^hvs\./) } });
    expect(vault.loggedIn).toEqual([INSTANCE]);
    expect(JSON.parse(vault.seen[0]?.body.toString() ?? '')).toMatchObject({
      pkcs7: Buffer.from(`fake document of ${INSTANCE}`).toString('base64'),
    });
  });

  it('keeps the nonce of its first login before it is sent, and sends it again after a restart', async () => {
    await useMetadata();
    const { deps, vault, logIn } = await startWorld();
    const atLogin: (string | undefined)[] = [];
    const watched =
      (call: LoginCall): LoginCall =>
      (...given) => {
        atLogin.push(deps.stored.get(NONCE_SECRET)?.toString());
        return call(...given);
      };
    expect(await logIn(EC2, watched)).toMatchObject({ ok: true });
    expect(await logIn(EC2, watched)).toMatchObject({ ok: true });
    expect(atLogin[0]).toMatch(/^[\w-]{32}$/);
    expect(atLogin[1]).toBe(atLogin[0]);
    expect(vault.accessList).toEqual(new Map([[INSTANCE, atLogin[0]]]));
    expect(deps.writes.count).toBe(1);
  });

  it('sends one nonce from replicas that log in for the first time at once', async () => {
    await useMetadata();
    const { vault, logIn } = await startWorld();
    const outcomes = await Promise.all([logIn(EC2), logIn(EC2), logIn(EC2)]);
    for (const outcome of outcomes) expect(outcome).toMatchObject({ ok: true });
    expect(vault.loggedIn).toHaveLength(3);
    expect(vault.accessList.size).toBe(1);
  });

  it('says how Vault forgets an instance that it knows by another nonce', async () => {
    await useMetadata();
    const { vault, logIn } = await startWorld();
    vault.accessList.set(INSTANCE, 'lost');
    expect(await logIn(EC2)).toMatchObject(refused(/another nonce/, /identity-accesslist/));
  });

  it('refuses a nonce secret that holds none, and names it', async () => {
    await useMetadata();
    const { deps, vault, logIn } = await startWorld();
    deps.stored.set(NONCE_SECRET, Buffer.from('two words'));
    const error = await logIn(EC2).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({ message: expect.stringContaining(NONCE_SECRET) });
    expect(String(error)).not.toContain('two words');
    expect(vault.seen).toEqual([]);
  });

  const FAULTS: readonly [string, Answer, RegExp][] = [
    ['not there', { status: 404 }, /status 404 to PUT/],
    ['forbidden by the hop limit', { status: 403 }, /status 403/],
    ['redirecting', { status: 302, headers: { location: 'http://127.0.0.1:1/' } }, /status 302/],
    ['too large', { status: 200, body: 'a'.repeat(70_000) }, /RESPONSE_TOO_LARGE/],
    ['with a line end in its token', { status: 200, body: 'a\r\nx: y\u0007' }, /no printable text/],
    ['empty', { status: 200, body: '' }, /no printable text/],
  ];
  it.each(FAULTS)('fails clearly when the metadata service is %s', async (_name, answer, message) => {
    const metadata = await useMetadata();
    metadata.fault = () => answer;
    const { vault, logIn } = await startWorld();
    expect(await logIn(EC2)).toMatchObject(refused(message, /hop-limit/, 'network'));
    expect(metadata.seen.length).toBe(1);
    expect(vault.seen).toEqual([]);
  });

  it('fails clearly when there is no metadata service, or it hangs', async () => {
    const { deps, logIn } = await startWorld();
    vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', 'http://127.0.0.1:1');
    expect(await logIn(EC2)).toMatchObject(refused(/ECONNREFUSED/, /hop-limit/, 'network'));
    const metadata = await useMetadata();
    metadata.fault = () => 'hang';
    const outcome = logIn(EC2);
    await vi.waitUntil(() => metadata.seen.length > 0);
    deps.clock.advance(2000);
    expect(await outcome).toMatchObject(refused(/within 2000 ms/, /hop-limit/, 'network'));
  });

  it('refuses an endpoint of the metadata service that is no URL', async () => {
    vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', 'file:///etc/passwd');
    const { logIn } = await startWorld();
    expect(await logIn(EC2)).toMatchObject(refused(/AWS_EC2_METADATA_SERVICE_ENDPOINT/, /unset it/, 'conf'));
  });
});

function toBase64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function changeHeaders(
  body: Record<string, string>,
  change: (headers: Record<string, readonly string[]>) => Record<string, readonly string[]>,
): Record<string, string> {
  const headers = JSON.parse(Buffer.from(body.iam_request_headers ?? '', 'base64').toString());
  return { ...body, iam_request_headers: toBase64(JSON.stringify(change(headers))) };
}
