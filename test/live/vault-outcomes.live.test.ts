import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import {
  CaError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import type { Identity, Issuer } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { type OpenBaoOptions, type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { pollUntil } from '../../testcontainers/server-process.ts';
import { setUpPki, type VaultPki, type VaultPkiOptions } from '../../testcontainers/vault-pki.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { confFor, createIssuer } from '../fakes/vault-backend.ts';
import { caErrorOf } from '../support/ca-error-of.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectFailed } from '../support/inspect-all.ts';

const print = (line: string) => void process.stdout.write(`${line}\n`);
const SIGN_ROLE = 'role-dataplane-proxies-sign.json';
const HOUR_SECONDS = 3600;

let bao: StartedOpenBao;
beforeAll(async () => {
  bao = await startOpenBao({ print });
});
afterAll(() => bao?.close());

interface Asked {
  readonly identity?: Identity;
  readonly ttlSeconds?: number;
}

interface World extends VaultPki {
  readonly server: StartedOpenBao;
  readonly issuer: Issuer;
  sign(asked?: Asked): ReturnType<Issuer['sign']>;
}

let mounts = 0;

/** A mount of its own on a server, and an issuer of it with a token that may sign. */
async function setUp(
  options: VaultPkiOptions = {},
  changes: Record<string, unknown> = {},
  server: StartedOpenBao = bao,
): Promise<World> {
  mounts += 1;
  const pki = await setUpPki(server, { mount: `pki-${mounts}`, policy: 'sign', roleFile: SIGN_ROLE, ...options });
  return { ...pki, server, ...issuerOf(server, pki, changes) };
}

function issuerOf(server: { readonly address: string }, pki: VaultPki, changes: Record<string, unknown> = {}) {
  const conf = confFor({ address: server.address, token: pki.token }, { pki: pki.mount, ...changes });
  const issuer = createIssuer(conf, createTestDeps({ clock: systemClock }));
  onTestFinished(() => issuer.close());
  return {
    issuer,
    sign: async ({ identity = IDENTITY, ttlSeconds = 600 }: Asked = {}) =>
      issuer.sign(await requestFor(identity, 'EC-P256', ttlSeconds), live()),
  };
}

const patchRole =
  (changes: object) =>
  ({ server, mount, role }: World) =>
    server.must('PATCH', `${mount}/roles/${role}`, changes);
const patchIssuer =
  (changes: object) =>
  ({ server, mount }: World) =>
    server.must('PATCH', `${mount}/issuer/default`, changes);
const makeRoot = ({ server, mount }: World, ttl = '87600h') =>
  server.must('POST', `${mount}/root/generate/internal`, { common_name: 'default root', ttl });
const writePolicy = (path: string) => (world: World) =>
  world.server.must('PUT', `sys/policies/acl/kmesh-default-dataplane-proxies-sign-${world.mount}-${world.role}`, {
    policy: `path "${world.mount}/${path}/${world.role}" { capabilities = ["update"] }`,
  });

interface Case {
  readonly name: string;
  spoil(world: World): Promise<unknown>;
  readonly asked?: Asked;
  readonly type: abstract new (...args: never[]) => CaError;
  readonly message: RegExp;
  readonly fix: RegExp;
  /** What `fix` says, as calls. */
  repair(world: World): Promise<unknown>;
}

const CASES: readonly Case[] = [
  {
    name: 'a role that does not allow the URI SANs',
    spoil: patchRole({ allowed_uri_sans: 'spiffe://other/*' }),
    type: IssuerDeniedError,
    message: /allowed_uri_sans/,
    fix: /^vault patch \S+\/roles\/dataplane-proxies allowed_uri_sans="spiffe:\/\/default\/\*,kuma:\/\/\*" \(that takes/,
    repair: patchRole({ allowed_uri_sans: 'spiffe://default/*,kuma://*' }),
  },
  {
    name: 'a role that does not allow the common name',
    spoil: async () => {},
    asked: { identity: { ...IDENTITY, commonName: 'web.example' } },
    type: IssuerDeniedError,
    message: /common name by its role's allowed_domains.*web\.example/,
    fix: /vault patch \S+ allowed_domains=<domain> allow_subdomains=true, or change fromCp\.commonName/,
    repair: patchRole({ allowed_domains: 'example', allow_subdomains: true }),
  },
  {
    name: 'a role that wants a common name',
    spoil: patchRole({ require_cn: true }),
    type: IssuerDeniedError,
    message: /require_cn/,
    fix: /vault patch \S+ require_cn=false/,
    repair: patchRole({ require_cn: false }),
  },
  {
    name: 'a role for another type of key',
    spoil: patchRole({ key_type: 'rsa', key_bits: 2048 }),
    type: RequestInvalidError,
    message: /key_type and key_bits.*keys of type rsa/,
    fix: /vault patch \S+ key_type=any key_bits=0/,
    repair: patchRole({ key_type: 'any', key_bits: 0 }),
  },
  {
    name: 'a role for larger keys',
    spoil: patchRole({ key_type: 'ec', key_bits: 384 }),
    type: RequestInvalidError,
    message: /key_type and key_bits.*minimum of a 384-bit key/,
    fix: /vault patch \S+ key_type=any key_bits=0/,
    repair: patchRole({ key_type: 'any', key_bits: 0 }),
  },
  {
    name: 'a lifetime beyond the end of the CA',
    spoil: patchRole({ max_ttl: '200000h', ttl: '200000h' }),
    asked: { ttlSeconds: 200_000 * HOUR_SECONDS },
    type: IssuerDeniedError,
    message: /CA that ends before/,
    fix: /vault patch \S+\/issuer\/default leaf_not_after_behavior=truncate/,
    repair: patchIssuer({ leaf_not_after_behavior: 'truncate' }),
  },
  {
    name: 'a role with an end of its own (not_after)',
    spoil: patchRole({ not_after: '2030-01-01T00:00:00Z' }),
    type: IssuerDeniedError,
    message: /not_after of its role/,
    fix: /vault patch \S+ not_after=""/,
    repair: patchRole({ not_after: '' }),
  },
  {
    name: 'a role of an issuer that is gone',
    spoil: patchRole({ issuer_ref: 'gone' }),
    type: IssuerDeniedError,
    message: /issuer_ref/,
    fix: /vault patch \S+ issuer_ref=default/,
    repair: patchRole({ issuer_ref: 'default' }),
  },
  {
    name: 'a role that is not there',
    spoil: ({ server, mount, role }) => server.must('DELETE', `${mount}/roles/${role}`),
    type: IssuerDeniedError,
    message: /no such role: dataplane-proxies/,
    fix: /vault write \S+\/roles\/dataplane-proxies allowed_uri_sans="spiffe:\/\/default\/\*,kuma:\/\/\*" key_type=any/,
    repair: async ({ server, mount, role }) => {
      const file = new URL(`../../policies/vault/${SIGN_ROLE}`, import.meta.url);
      await server.must('POST', `${mount}/roles/${role}`, JSON.parse(await readFile(file, 'utf8')));
    },
  },
  {
    name: 'a policy without the right',
    spoil: writePolicy('no-such'),
    type: IssuerDeniedError,
    message: /no policy of (the token|it) gives it "update" on \S+\/sign\/dataplane-proxies/,
    fix: /path "\S+\/sign\/dataplane-proxies" \{ capabilities = \["update"\] \}/,
    repair: writePolicy('sign'),
  },
  {
    name: 'a mount that is not there',
    spoil: ({ server, mount }) => server.must('DELETE', `sys/mounts/${mount}`),
    type: IssuerDeniedError,
    message: /no PKI mount at this path/,
    fix: /vault secrets enable -path=\S+ pki/,
    repair: ({ server, mount }) => setUpPki(server, { mount, policy: 'sign', roleFile: SIGN_ROLE }),
  },
  {
    name: 'a mount without a CA',
    spoil: ({ server, mount }) => server.must('DELETE', `${mount}/root`),
    type: IssuerDeniedError,
    message: /no CA in this mount/,
    fix: /vault write \S+\/root\/generate\/internal common_name="default root" .* ttl=87600h/,
    repair: (world) => makeRoot(world),
  },
  {
    name: 'a default issuer without a key',
    spoil: async (world) => {
      await world.server.must('POST', `${world.mount}/root/replace`, { default: await importStranger(world) });
    },
    type: IssuerDeniedError,
    message: /issuer that cannot sign/,
    fix: /vault write \S+\/config\/issuers default=<issuer>/,
    repair: async ({ server, mount }) => {
      const [own] = await issuersWithKey(server, mount);
      await server.must('POST', `${mount}/config/issuers`, { default: own });
    },
  },
  {
    name: 'an issuer that may not issue',
    spoil: patchIssuer({ usage: 'read-only,crl-signing' }),
    type: IssuerDeniedError,
    message: /issuer that cannot sign/,
    fix: /vault patch \S+\/issuer\/default usage=read-only,issuing-certificates,crl-signing/,
    repair: patchIssuer({ usage: 'read-only,issuing-certificates,crl-signing' }),
  },
  ...(['err', 'truncate', 'permit'] as const).map(
    (behaviour): Case => ({
      name: `a CA that has ended, where Vault is set to ${behaviour}`,
      spoil: async (world) => {
        await world.server.must('DELETE', `${world.mount}/root`);
        await makeRoot(world, '1s');
        await patchIssuer({ leaf_not_after_behavior: behaviour })(world);
        await systemClock.sleep(1_100);
      },
      type: IssuerResponseError,
      message: /with (a CA that has ended at|the CA "CN=default root", which has ended at) 20\d\d-/,
      fix: /vault write \S+\/root\/rotate\/internal .*vault write \S+\/root\/replace default=root-after-20/,
      repair: async ({ server, mount }) => {
        await server.must('POST', `${mount}/root/rotate/internal`, { common_name: 'default root', ttl: '87600h' });
        await server.must('POST', `${mount}/root/replace`, { default: 'next' });
      },
    }),
  ),
  {
    name: 'a quota that is used up',
    spoil: async ({ server, mount, sign }) => {
      await server.must('POST', 'sys/quotas/config', { enable_rate_limit_response_headers: true });
      await server.must('POST', `sys/quotas/rate-limit/${mount}`, { path: `${mount}/`, rate: 1, interval: '60s' });
      await sign().catch(() => undefined);
    },
    type: RateLimitedError,
    message: /limits the rate of requests/,
    fix: /sys\/quotas\/rate-limit/,
    repair: ({ server, mount }) =>
      server.must('POST', `sys/quotas/rate-limit/${mount}`, { path: `${mount}/`, rate: 1000, interval: '1s' }),
  },
];

/** The certificate of a CA whose key this mount does not have; its id. */
async function importStranger({ server, mount }: World): Promise<string> {
  const stranger = `${mount}-stranger`;
  await server.must('POST', `sys/mounts/${stranger}`, { type: 'pki' });
  const made = await server.must('POST', `${stranger}/root/generate/internal`, { common_name: 'stranger', ttl: '10h' });
  const pem = Reflect.get(Object(Reflect.get(Object(made), 'data')), 'certificate');
  const imported = await server.must('POST', `${mount}/issuers/import/cert`, { pem_bundle: pem });
  return String(Reflect.get(Object(Reflect.get(Object(imported), 'data')), 'imported_issuers'));
}

async function issuersWithKey(server: StartedOpenBao, mount: string): Promise<readonly string[]> {
  const list = Object(await server.must('LIST', `${mount}/issuers`));
  const info: Record<string, { key_id: string }> = list.data.key_info;
  return Object.entries(info).flatMap(([id, { key_id: key }]) => (key === '' ? [] : [id]));
}

describe('a real vault with one fault', () => {
  it.each(CASES)(
    'says what is wrong and how to make it right: $name',
    async ({ spoil, asked, repair, ...expected }) => {
      const world = await setUp();
      await spoil(world);
      const error = await caErrorOf(world.sign(asked));
      expect(error).toBeInstanceOf(expected.type);
      expect([error.message, error.fix]).toEqual([
        expect.stringMatching(expected.message),
        expect.stringMatching(expected.fix),
      ]);
      expect(error.retry).toBe(expected.type === RateLimitedError);
      if (error instanceof RateLimitedError) expect(error.retryAfterMs).toBeGreaterThan(1000);
      expect(`${error.message} ${error.fix}`).not.toContain(world.token);
      await repair(world);
      await expect(world.sign(asked)).resolves.toBeDefined();
    },
  );

  it('does not hide a fault that comes while it is running: each is seen by the issuer that just signed', async () => {
    const world = await setUp();
    await world.sign();
    await writePolicy('no-such')(world);
    expect((await caErrorOf(world.sign())).message).toMatch(/no policy of the token gives it "update"/);
    expect((await caErrorOf(world.sign())).message).toMatch(/token is valid, but no policy/);
    await writePolicy('sign')(world);
    await expect(world.sign()).resolves.toBeDefined();
  });

  it('tells a wrong role from a missing right where the policy for the checks lets it', async () => {
    const world = await setUp({ policy: ['sign', 'checks'] });
    const other = issuerOf(bao, world, { role: 'other' });
    expect((await caErrorOf(other.sign())).message).toMatch(/mount \S+ has no role other/);
    const failed = await inspectFailed(other.issuer);
    expect(failed.map(({ name }) => name)).toEqual(['vault.role-readable']);
  });

  it('knows a namespace that is not there', async () => {
    const world = await setUp();
    const other = issuerOf(bao, world, { namespace: 'nowhere' });
    for (const work of [() => other.sign(), () => other.issuer.trustBundle(live())]) {
      const error = await caErrorOf(work());
      expect(error).toBeInstanceOf(IssuerDeniedError);
      expect(error.message).toMatch(/no such namespace: nowhere/);
      expect(error.fix).toMatch(/fromCp\.namespace/);
    }
  });
});

describe('access documents, each token bound to exactly these', () => {
  const kinds = async ({ issuer }: World) => {
    const { sign, issueKeyPair, keyTypesAreAssumed = false } = await issuer.abilities(live());
    return { sign, issueKeyPair, assumed: keyTypesAreAssumed };
  };

  it.each([
    ['sign', ['sign'], {}, { sign: true, issueKeyPair: false, assumed: false }],
    ['issue and checks', ['issue', 'checks'], {}, { sign: false, issueKeyPair: true, assumed: true }],
    ['sign and checks', ['sign', 'checks'], {}, { sign: true, issueKeyPair: false, assumed: false }],
    [
      'sign and checks, without the policy "default"',
      ['sign', 'checks'],
      { no_default_policy: true },
      { sign: true, issueKeyPair: false, assumed: false },
    ],
    [
      'sign alone, without the policy "default"',
      ['sign'],
      { no_default_policy: true },
      { sign: true, issueKeyPair: false, assumed: false },
    ],
  ] as const)('issue with what they give, and pass every check: %s', async (_what, policy, tokenOptions, expected) => {
    const roleFile = expected.sign ? SIGN_ROLE : 'role-dataplane-proxies.json';
    const world = await setUp({ policy, tokenOptions, roleFile });
    expect(await kinds(world)).toEqual(expected);
    expect(await inspectFailed(world.issuer)).toEqual([]);
    if (expected.sign) await expect(world.sign()).resolves.toBeDefined();
  });

  it('give nothing more: the policy for the checks issues nothing', async () => {
    const world = await setUp({ policy: 'checks' });
    await expect(world.issuer.abilities(live())).rejects.toThrow(/no policy of it gives it "update"/);
    for (const path of [`${world.mount}/sign/${world.role}`, `${world.mount}/issue/${world.role}`, 'sys/mounts/x']) {
      expect((await bao.request('POST', path, {}, { token: world.token })).status).toBe(403);
    }
  });
});

describe('the CAs of a real mount', () => {
  const rootNames = async (issuer: Issuer) =>
    (await issuer.trustBundle(live())).roots.map((der) => parseCertificate(der).commonName).sort();

  it('follows a root that is rotated under it: the next chain is right, the bundle holds old and new', async () => {
    const world = await setUp();
    const before = await world.sign();
    await bao.must('POST', `${world.mount}/root/rotate/internal`, { common_name: 'next root', ttl: '87600h' });
    expect(await rootNames(world.issuer)).toEqual(['default root', 'next root']);
    await bao.must('POST', `${world.mount}/root/replace`, { default: 'next' });
    const after = await world.sign();
    expect(after.roots.map((der) => parseCertificate(der).commonName)).toEqual(['next root']);
    expect(after.roots).not.toEqual(before.roots);
    expect(await rootNames(world.issuer)).toEqual(['default root', 'next root']);
  });

  it('serves a role that is bound to another issuer than the default one', async () => {
    const world = await setUp();
    const second = { common_name: 'second root', issuer_name: 'second', ttl: '87600h' };
    await bao.must('POST', `${world.mount}/issuers/generate/root/internal`, second);
    await patchRole({ issuer_ref: 'second' })(world);
    const { roots, chain } = await world.sign();
    expect([chain.length, roots.map((der) => parseCertificate(der).commonName)]).toEqual([0, ['second root']]);
    expect(await rootNames(world.issuer)).toEqual(['default root', 'second root']);
    expect(await inspectFailed(world.issuer)).toEqual([]);
  });

  it('finds one way to a root that is cross-signed by the old one, and tells both roots', async () => {
    const world = await setUp();
    const { mount } = world;
    const csr = Object(await bao.must('POST', `${mount}/intermediate/cross-sign`, { common_name: 'next root' })).data;
    const signed = Object(
      await bao.must('POST', `${mount}/root/sign-intermediate`, {
        csr: csr.csr,
        common_name: 'next root',
        ttl: '9000h',
      }),
    ).data;
    await bao.must('POST', `${mount}/issuers/import/cert`, { pem_bundle: signed.certificate });
    const { leaf, chain, roots } = await world.sign();
    const issuerDer = chain[0] ?? roots[0];
    expect(parseCertificate(leaf).issuerDer).toEqual(parseCertificate(issuerDer ?? Buffer.alloc(0)).subjectDer);
    expect(await rootNames(world.issuer)).toEqual(['default root']);
  });

  it('says how to give an intermediate its root, and serves when that was done', async () => {
    const world = await setUp({ intermediate: true, withRoot: false });
    for (const work of [() => world.sign(), () => world.issuer.trustBundle(live())]) {
      const error = await caErrorOf(work());
      expect(error).toBeInstanceOf(IssuerResponseError);
      expect(error.fix).toMatch(/intermediate\/set-signed/);
    }
    const root = Object(await bao.must('GET', `${world.mount}-root/cert/ca`)).data.certificate;
    const own = Object(await bao.must('GET', `${world.mount}/cert/ca`)).data.certificate;
    await bao.must('POST', `${world.mount}/intermediate/set-signed`, { certificate: `${own}\n${root}` });
    const { chain, roots } = await world.sign();
    expect([...chain, ...roots].map((der) => parseCertificate(der).commonName)).toEqual([
      'default intermediate',
      'default root',
    ]);
    expect(await rootNames(world.issuer)).toEqual(['default root']);
  });
});

describe('a real vault that cannot serve now', () => {
  const startOwn = async (options: OpenBaoOptions) => {
    const own = await startOpenBao({ ...options, print });
    onTestFinished(() => own.close());
    return own;
  };

  it('was never initialised', async () => {
    const own = await startOwn({ initialise: false });
    const never = issuerOf(own, { token: 'hvs.0123456789abcdefghijklmnop', mount: 'pki', role: 'dataplane-proxies' });
    const error = await caErrorOf(never.sign());
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect([error.message, error.fix]).toEqual([
      expect.stringMatching(/is not initialised/),
      expect.stringMatching(/vault operator init/),
    ]);
    const failed = await inspectFailed(never.issuer);
    expect(failed).toMatchObject([{ name: 'vault.unsealed', message: expect.stringMatching(/not initialised/) }]);
  });

  it('is sealed, and serves at once when it is unsealed', async () => {
    const own = await startOwn({ config: '' });
    const world = await setUp({}, {}, own);
    await world.sign();
    await own.seal();
    for (const work of [() => world.sign(), () => world.issuer.trustBundle(live())]) {
      const error = await caErrorOf(work());
      expect(error).toBeInstanceOf(IssuerUnavailableError);
      expect([error.message, error.fix]).toEqual([
        expect.stringMatching(/is sealed/),
        expect.stringMatching(/vault operator unseal/),
      ]);
    }
    await own.unseal();
    await expect(world.sign()).resolves.toBeDefined();
  });

  it('is a standby: it serves through the active node, and says so when there is none', async () => {
    const active = await startOwn({ storage: 'disk' });
    // A certificate that is stored is a write. OpenBao 2.7 signs with no_store on a standby all by itself.
    const options = { policy: 'sign', roleFile: SIGN_ROLE, roleChanges: { no_store: false } } as const;
    const pki = await setUpPki(active, { mount: 'pki-cluster', ...options });
    const standby = await startOwn({ storage: 'disk', joins: active });
    const { sign } = issuerOf(standby, pki);
    await expect(sign()).resolves.toBeDefined();
    await active.close();
    let last: unknown;
    await pollUntil(10_000, async () => {
      last = await caErrorOf(sign());
      return last instanceof CaError && /is a standby/.test(last.message);
    }).catch(() => undefined);
    expect(last).toBeInstanceOf(IssuerUnavailableError);
    expect(last).toMatchObject({
      ...{ message: expect.stringMatching(/is a standby/), retry: true },
      fix: expect.stringMatching(/active/),
    });
  });
});
