import { describe, expect, it, onTestFinished } from 'vitest';
import { CHECK_RULES } from '../../adapters/vault/check-rules.ts';
import { module } from '../../adapters/vault/module.ts';
import { countRequest, withRequestCount } from '../../src/backends/count-requests.ts';
import { type Check, isCredentialHolder } from '../../src/issuer/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { makeCa } from '../conformance/make-ca.ts';
import type { FakeRole } from '../fakes/fake-pki.ts';
import { type FakeVault, startFakeVault } from '../fakes/fake-vault.ts';
import { CONTEXT, confFor, createIssuer, GRANTS, startBackend } from '../fakes/vault-backend.ts';
import { inspectAll } from '../support/inspect-all.ts';

const ALL = ['sign', 'issue', 'readRole', 'listRoles', 'readIssuer'] as const;
const ROLE_PATH = 'kmesh-pki-default/roles/dataplane-proxies';
const RULES = CHECK_RULES.map(({ name }) => name);

const bad = (checks: readonly Check[]) => checks.filter(({ status }) => status === 'warning' || status === 'failed');
const changeRole = (changes: Readonly<Record<string, unknown>>) => (vault: FakeVault) => {
  const { role } = vault.pki;
  vault.pki.role = { ...(role as FakeRole), ...changes };
};

interface Case {
  readonly what: string;
  readonly spoil?: (vault: FakeVault) => unknown;
  readonly grants?: readonly (keyof typeof GRANTS)[];
  readonly conf?: Readonly<Record<string, unknown>>;
  /** Without `vault.`. */
  readonly name: string;
  readonly status: 'warning' | 'failed';
  readonly message?: RegExp;
  readonly fix: RegExp | string;
  readonly field?: string;
}

const SOON = '2026-09-01T12:05:00.250Z';
const CASES: readonly Case[] = [
  {
    what: 'a standby without an active node',
    spoil: (vault) =>
      Object.assign(vault, { health: { standby: true }, leader: { ha_enabled: true, leader_address: '' } }),
    ...{ name: 'active', status: 'failed', message: /no active node/, fix: /^vault operator raft list-peers/ },
  },
  {
    what: 'a secondary for disaster recovery',
    spoil: (vault) => Object.assign(vault, { health: { replication_dr_mode: 'secondary' } }),
    ...{ name: 'active', status: 'failed', fix: /set fromCp\.address to the primary/, field: 'fromCp.address' },
  },
  {
    what: 'a root token',
    spoil: (vault) => Object.assign(vault, { lookup: { ttl: 0, expire_time: null, policies: ['root'] } }),
    ...{ name: 'token-valid', status: 'warning', message: /root token/, field: 'fromCp.auth.token' },
    fix: /^vault token create -orphan -period=24h -policy=kmesh-default-dataplane-proxies-sign -field=token/,
  },
  {
    what: 'a token for a few uses',
    spoil: (vault) => Object.assign(vault, { lookup: { ...vault.lookup, num_uses: 9 } }),
    ...{
      name: 'token-valid',
      status: 'warning',
      message: /9 more calls/,
      fix: /^vault token create .*-policy=mesh-ca /,
    },
  },
  {
    what: 'a token that ends in five minutes',
    spoil: (vault) =>
      Object.assign(vault, { lookup: { ttl: 300, renewable: false, policies: ['default', 'mesh-ca'] } }),
    ...{ name: 'token-life', status: 'failed', message: new RegExp(`ends at ${SOON} and cannot be renewed`) },
    ...{ fix: /^vault token create -orphan -period=24h -policy=mesh-ca -field=token, /, field: 'fromCp.auth.token' },
  },
  {
    what: 'a token that ends today',
    spoil: (vault) => Object.assign(vault, { lookup: { ttl: 7200, renewable: false } }),
    ...{ name: 'token-life', status: 'warning', message: /cannot be renewed/, fix: /^vault token create/ },
  },
  {
    what: 'a renewable token that is at its maximum in eight minutes',
    spoil: (vault) => {
      const madeAt = Date.parse('2026-09-01T11:00:00Z') / 1000;
      vault.lookup = { ttl: 480, renewable: true, creation_time: madeAt, explicit_max_ttl: 4080 };
    },
    ...{ name: 'token-life', status: 'failed', message: /explicit_max_ttl/, fix: /^vault token create/ },
  },
  {
    what: 'a token that may not be renewed',
    spoil: ({ grants }) => grants.set('auth/token/renew-self', ['deny']),
    ...{ name: 'rights', status: 'warning', message: /"update" on auth\/token\/renew-self$/ },
    fix: 'add to a policy of the token (mesh-ca): path "auth/token/renew-self" { capabilities = ["update"] }',
  },
  {
    what: 'a token that may not read the role',
    grants: ['sign'],
    ...{ name: 'rights', status: 'warning', message: /"read" on kmesh-pki-default\/roles\/dataplane-proxies$/ },
    fix: /path "kmesh-pki-default\/roles\/dataplane-proxies" \{ capabilities = \["read"\] \}$/,
  },
  {
    what: 'a token that may only issue',
    grants: ['issue', 'readRole'],
    spoil: changeRole({ key_type: 'ec' }),
    ...{ name: 'sign-permitted', status: 'warning', message: /callers who send a CSR are refused/ },
    fix: /path "kmesh-pki-default\/sign\/dataplane-proxies"/,
  },
  {
    what: 'a token that may neither sign nor issue',
    grants: ['readRole', 'listRoles'],
    ...{ name: 'sign-permitted', status: 'failed', message: /no policy of it gives it "update"/ },
    fix: /^add to a policy of the token \(mesh-ca\): path "kmesh-pki-default\/sign\/dataplane-proxies" \{ [^}]*\} path "[^"]*roles/,
  },
  {
    what: 'certificates for servers alone',
    spoil: changeRole({ client_flag: false }),
    ...{ name: 'role-usages', status: 'failed', fix: `vault patch ${ROLE_PATH} server_flag=true client_flag=true` },
  },
  {
    what: 'certificates that may not sign',
    spoil: changeRole({ key_usage: ['KeyAgreement'] }),
    ...{ name: 'role-usages', status: 'failed', fix: /key_usage=DigitalSignature,/ },
  },
  {
    what: 'certificates of an hour',
    spoil: changeRole({ max_ttl: 3600 }),
    ...{ name: 'role-lifetime', status: 'warning', message: /1 h \(max_ttl\)/ },
    fix: `vault patch ${ROLE_PATH} max_ttl=720h ttl=720h`,
  },
  {
    what: 'a mount that cuts certificates to an hour',
    spoil: ({ pki }) => Object.assign(pki, { maxLeaseSeconds: 3600 }),
    ...{ name: 'role-lifetime', status: 'warning', message: /max_lease_ttl of the mount/ },
    fix: 'vault secrets tune -max-lease-ttl=720h kmesh-pki-default',
  },
  {
    what: 'a role that ends all certificates at one time',
    spoil: changeRole({ not_after: '2027-01-01T00:00:00Z' }),
    ...{ name: 'role-lifetime', status: 'failed', fix: /not_after=""/ },
  },
  {
    what: 'a role that ties certificates to tokens',
    spoil: changeRole({ generate_lease: true }),
    ...{ name: 'role-leases', status: 'failed', fix: `vault patch ${ROLE_PATH} generate_lease=false` },
  },
  {
    what: 'a role that keeps every certificate',
    spoil: changeRole({ no_store: false }),
    ...{ name: 'not-stored', status: 'warning', fix: `vault patch ${ROLE_PATH} no_store=true` },
  },
  {
    what: 'a common name that no domain of the role allows',
    conf: { commonName: '{{ tag "kuma.io/service" }}.example' },
    ...{ name: 'role-common-name', status: 'failed', message: /such as web\.example \(allowed_domains/ },
    fix: `vault patch ${ROLE_PATH} allowed_domains=mesh,example allow_subdomains=true; or change fromCp.commonName`,
  },
  {
    what: 'an issuer without a key',
    spoil: ({ pki }) => Object.assign(pki, { listed: { key_id: '' } }),
    ...{
      name: 'issuer-signs',
      status: 'failed',
      message: /has no key/,
      fix: /^vault write kmesh-pki-default\/root\/rotate/,
    },
  },
  {
    what: 'an issuer that is not for issuing',
    spoil: ({ pki }) => Object.assign(pki, { issuer: { usage: 'read-only,crl-signing' } }),
    ...{ name: 'issuer-signs', status: 'failed', message: /issuing-certificates/ },
    fix: 'vault patch kmesh-pki-default/issuer/default usage=read-only,issuing-certificates,crl-signing',
  },
  {
    what: 'an issuer that was revoked',
    spoil: ({ pki }) => Object.assign(pki, { issuer: { revoked: true } }),
    ...{ name: 'issuer-signs', status: 'failed', message: /is revoked/, fix: /default=/ },
  },
  {
    what: 'a role that is bound to an issuer that is not there',
    spoil: changeRole({ issuer_ref: 'gone' }),
    ...{ name: 'issuer-signs', status: 'failed', message: /no issuer gone/ },
    fix: new RegExp(`^vault patch ${ROLE_PATH} issuer_ref=[0-9a-f]{32}$`),
  },
  {
    what: 'a CA that has ended',
    spoil: async ({ pki }) => {
      const { certPem } = await makeCa({ name: 'ended', fromDay: -1000, toDay: -600 });
      pki.style = { ...pki.style, mountChain: () => [certPem] };
    },
    ...{ name: 'ca-valid', status: 'failed', message: /expired at/ },
    fix: /^vault write kmesh-pki-default\/root\/rotate\/internal issuer_name=(\S+) .*, then vault write \S+ default=\1$/,
  },
  {
    what: 'an agent that is not there',
    conf: { agentAddress: 'http://127.0.0.1:1' },
    ...{ name: 'address-reachable', status: 'failed', fix: /start Vault/, field: 'fromCp.agentAddress' },
  },
];

describe('inspecting a vault backend that is not quite right', () => {
  it.each(CASES)('tells of $what, and of nothing else', async ({ what: _, spoil, grants = ALL, conf, ...expected }) => {
    const { vault, issuer } = await startBackend(onTestFinished, grants, conf);
    await spoil?.(vault);
    const checks = await inspectAll(issuer);
    const { name, message = /\w/, fix, field, status } = expected;
    expect(bad(checks)).toMatchObject([
      {
        ...{ name: `vault.${name}`, status, message: expect.stringMatching(message) },
        fix: typeof fix === 'string' ? fix : expect.stringMatching(fix),
        ...(field !== undefined && { field }),
      },
    ]);
    const told = checks.map((check) => check.name);
    expect(told).toEqual(RULES.filter((rule) => told.includes(rule)));
  });

  it('passes every check of a Vault as it should be, by at most twelve calls that change nothing', async () => {
    const { vault, issuer } = await startBackend(onTestFinished, ALL, { commonName: 'proxy.mesh' });
    const checks = await inspectAll(issuer);
    expect(bad(checks)).toEqual([]);
    expect(checks.map(({ name }) => name)).toEqual(RULES);
    expect(checks.filter(({ status }) => status === 'skipped')).toMatchObject([
      { name: 'vault.tls-name', message: 'not looked at: there is no TLS' },
    ]);
    expect([vault.seen.length <= 12, vault.pki.issuedCount]).toEqual([true, 0]);
    const posts = vault.seen.filter(({ method }) => method === 'POST').map(({ path }) => path);
    expect(posts).toEqual(['sys/capabilities-self']);
  });

  it.each([
    ['lookup-self', ['vault.token-life'], 'vault.root-known'],
    ['roles/dataplane-proxies', ['vault.role-readable'], 'vault.root-known'],
    ['issuers?list=true', ['vault.mount-readable'], 'vault.token-life'],
  ])('is not held up by a call that hangs: %s', async (end, expected, last) => {
    const { vault, issuer, deps } = await startBackend(onTestFinished, ALL);
    const hangs = new Promise<void>((resolve) => {
      vault.fault = ({ path }) => {
        if (!path.endsWith(end)) return undefined;
        resolve();
        return 'hang';
      };
    });
    const inspecting = inspectAll(issuer);
    await hangs;
    // All other calls have their answers: what is left is its deadline, and the timer of the token.
    await expect
      .poll(() => [vault.seen.some(({ path }) => path.includes('ui/mounts')), deps.clock.pending])
      .toEqual([true, 2]);
    deps.clock.advance(1_500);
    const checks = await inspecting;
    expect(bad(checks)).toMatchObject(
      expected.map((name) => ({ name, message: expect.stringContaining('no answer within 1500 ms') })),
    );
    expect(checks.at(-1)).toMatchObject({ name: last, status: 'passed' });
  });

  it('holds the lifetime that a role gives against the one that data planes are to get', async () => {
    const { vault, issuer } = await startBackend(onTestFinished, ALL);
    await changeRole({ max_ttl: 48 * 3600 })(vault);
    expect(bad(await inspectAll(issuer, undefined, 48 * 3600))).toEqual([]);
    expect(bad(await inspectAll(issuer, undefined, 49 * 3600))).toMatchObject([
      { name: 'vault.role-lifetime', fix: `vault patch ${ROLE_PATH} max_ttl=49h ttl=49h` },
    ]);
  });

  it('tells what everybody may read of the mount though the token cannot be loaded', async () => {
    const { issuer } = await startBackend(onTestFinished, ALL, { auth: { token: { secret: 'nowhere' } } });
    const checks = await inspectAll(issuer);
    expect(bad(checks)).toMatchObject([{ name: 'vault.credentials-loaded', field: 'fromCp.auth.token' }]);
    expect(checks.at(-1)).toMatchObject({ name: 'vault.root-known', status: 'passed' });
  });

  it('repeats nothing of a Vault that could be meant for a shell or a terminal', async () => {
    const { vault, issuer } = await startBackend(onTestFinished, ALL, { commonName: 'x.example' });
    const evil = '"; $(reboot) \u001b[2J';
    vault.health = { version: evil };
    vault.lookup = { ttl: 60, renewable: false, policies: [evil, 'good'] };
    changeRole({ allowed_uri_sans: [evil], allowed_domains: [evil], not_after: evil })(vault);
    const checks = await inspectAll(issuer);
    expect(JSON.stringify(checks)).not.toContain('reboot');
    expect(bad(checks).length).toBe(4);
  });
});

describe('a login that is wrong', () => {
  it.each([
    [
      'invalid role or secret ID',
      /refuses the role id or the secret id/,
      /^.*vault write -f -field=secret_id auth\/approle/,
    ],
    ['missing secret_id', /wants a secret id/, /fromCp\.auth\.approle\.secretId/],
  ])('is told as a login, and the mount all the same: %s', async (said, message, fix) => {
    const auth = { approle: { roleId: 'one', secretId: { inlineString: 'a-secret-id' } } };
    const { vault, issuer } = await startBackend(onTestFinished, ALL, { auth });
    vault.fault = ({ path }) =>
      path === 'auth/approle/login' ? { status: 400, body: JSON.stringify({ errors: [said] }) } : undefined;
    const checks = await inspectAll(issuer);
    expect(bad(checks)).toMatchObject([
      {
        ...{ name: 'vault.login', field: 'fromCp.auth.approle' },
        ...{ message: expect.stringMatching(message), fix: expect.stringMatching(fix) },
      },
    ]);
    expect(checks.at(-1)?.name).toBe('vault.root-known');
  });
});

describe('a new token that is refused', () => {
  it('is told of, though the one before it stays in use, until a good one is given', async () => {
    const { issuer, sign, deps, vault } = await startBackend(onTestFinished, ALL, {
      auth: { token: { secret: 'token' } },
    });
    const give = (token: string) => {
      deps.stored.set('token', Buffer.from(token));
      deps.tellSecretsChanged();
    };
    give(vault.token);
    await sign();
    const tokenValid = async () => (await inspectAll(issuer)).find(({ name }) => name === 'vault.token-valid');
    give('nonsense');
    await expect.poll(tokenValid).toMatchObject({
      ...{ status: 'warning', field: 'fromCp.auth.token', message: expect.stringContaining('still in use') },
      fix: expect.stringMatching(/^vault token create /),
    });
    give(vault.token);
    await expect
      .poll(async () => {
        deps.clock.advance(1_000);
        return (await tokenValid())?.status;
      })
      .toBe('passed');
  });
});

describe('what a vault issuer tells of its token', () => {
  const credentialOf = (issuer: ReturnType<typeof createIssuer>) => {
    if (!isCredentialHolder(issuer)) throw new TypeError('a vault issuer holds a token');
    return issuer.credential();
  };

  it('is nothing before there is one, and its end once Vault has told it', async () => {
    const { issuer, sign, deps, vault } = await startBackend(onTestFinished, ALL);
    expect(credentialOf(issuer)).toBeUndefined();
    await sign();
    expect(credentialOf(issuer)).toEqual({ expiresAt: undefined, lastFailure: undefined });
    await expect
      .poll(() => {
        deps.clock.advance(1_000);
        return vault.seen.some(({ path }) => path === 'auth/token/lookup-self') && credentialOf(issuer)?.expiresAt;
      })
      .toBeInstanceOf(Date);
    const leftMs = (credentialOf(issuer)?.expiresAt?.getTime() ?? 0) - deps.clock.now().getTime();
    expect(leftMs).toBeGreaterThan(3_000_000);
    expect(leftMs).toBeLessThanOrEqual(3_600_000);
  });

  it('is why there is none', async () => {
    const { issuer, sign } = await startBackend(onTestFinished, ALL, { auth: { token: { secret: 'nowhere' } } });
    await expect(sign()).rejects.toThrow();
    expect(credentialOf(issuer)?.lastFailure).toMatch(/fromCp\.auth\.token/);
  });
});

describe('the requests of a vault issuer', () => {
  it('are told one by one, those that are made again after a broken connection, too', async () => {
    const deps = { ...createTestDeps(), onRequest: () => countRequest(undefined) };
    const vault = await startFakeVault({ now: deps.clock.now });
    for (const grant of ALL) vault.grants.set(...GRANTS[grant]);
    const issuer = createIssuer(confFor(vault), deps);
    onTestFinished(async () => {
      await issuer.close();
      await vault.close();
    });
    const counted: number[] = [];
    const read = () =>
      withRequestCount(
        () => issuer.trustBundle({ signal: new AbortController().signal }),
        (requests) => counted.push(requests),
      );
    await read();
    const before = vault.seen.length;
    let isBroken = false;
    vault.fault = () => {
      if (!isBroken) vault.dropIdleConnections();
      isBroken = true;
      return undefined;
    };
    await read();
    // The second call breaks once, and is made again.
    expect([counted, vault.seen.length]).toEqual([[before, 2], before + 2]);
  });
});

describe('the endpoint of a vault backend', () => {
  const endpointOf = (fromCp: Readonly<Record<string, unknown>>) =>
    module.endpoint?.(module.parseConf(confFor({ address: '', token: 't' }, fromCp), CONTEXT));

  it.each([
    [{ address: 'https://Vault.Example' }, 'https://vault.example:443'],
    [{ address: 'https://vault.example:443/' }, 'https://vault.example:443'],
    [{ address: 'http://vault.example' }, 'http://vault.example:80'],
    [{ address: 'https://vault.example:8200', namespace: '/team/a/' }, 'https://vault.example:8200#team/a'],
    [{ address: 'https://vault.example:8200/behind' }, 'https://vault.example:8200/behind'],
    [{ address: 'https://a', agentAddress: 'http://127.0.0.1:8100' }, 'http://127.0.0.1:8100'],
  ])('is the server and the namespace, however they are written: %j', (fromCp, expected) => {
    expect(endpointOf(fromCp)).toBe(expected);
  });
});
