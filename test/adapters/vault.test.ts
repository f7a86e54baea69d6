import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { module } from '../../adapters/vault/module.ts';
import {
  CaError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  NotSupportedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { silentLog } from '../../src/runtime/log.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { live, requestFor, testIssuer } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { makeCa } from '../conformance/make-ca.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import { type ChainStyle, NORMAL_CHAIN } from '../fakes/fake-pki.ts';
import { type FakeVault, startFakeVault } from '../fakes/fake-vault.ts';
import { CONTEXT, confFor, GRANTS, startBackend } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll, inspectFailed } from '../support/inspect-all.ts';

for (const [what, grants, conf] of [
  ['sign', ['sign', 'readRole'], {}],
  ['issue as documented', ['issue'], { commonName: '{{ tag "kuma.io/service" }}.mesh' }],
] as const) {
  testIssuer(`vault, ${what}, fake server`, async () => {
    const deps = createTestDeps();
    const vault = await startFakeVault({ now: deps.clock.now });
    for (const name of grants) vault.grants.set(...GRANTS[name]);
    const keyTypes = what === 'sign' ? (['EC-P256', 'EC-P384', 'RSA-2048'] as const) : undefined;
    return {
      module,
      deps,
      conf: confFor(vault, conf),
      context: CONTEXT,
      close: vault.close,
      ...(keyTypes && { keyTypes }),
    };
  });
}

/** What was asked, but for what the token's own life costs. */
const pathsOf = (vault: FakeVault) =>
  vault.seen.map(({ path }) => path).filter((path) => !path.startsWith('auth/token/'));

const CAPABILITIES = 'sys/capabilities-self';
const CHAIN = 'kmesh-pki-default/cert/ca_chain';
const [SIGN] = GRANTS.sign;
const [ISSUE] = GRANTS.issue;
const [ROLE] = GRANTS.readRole;

/** What the token has, and every call until the first certificate is there. */
const COLD: readonly [string, readonly (keyof typeof GRANTS)[], boolean, readonly string[]][] = [
  ['sign and the right to read the role', ['sign', 'readRole'], true, [CAPABILITIES, ROLE, SIGN]],
  ['sign alone', ['sign'], true, [CAPABILITIES, SIGN]],
  ['issue, as documented', ['issue'], true, [CAPABILITIES, ISSUE]],
  ['issue, without the policy "default"', ['issue'], false, [CAPABILITIES, SIGN, ISSUE]],
  ['sign, without the policy "default"', ['sign'], false, [CAPABILITIES, SIGN, ROLE, SIGN]],
];

describe('the first certificate of a vault issuer', () => {
  const first = async ({ issuer, sign }: Awaited<ReturnType<typeof startBackend>>) => {
    const { sign: maySign, keyTypes } = await issuer.abilities(live());
    return maySign
      ? sign(keyTypes[0])
      : issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live());
  };

  it.each(COLD)('costs these calls and no other with a token for %s', async (_what, grants, isDefault, expected) => {
    const backend = await startBackend(onTestFinished, grants);
    backend.vault.hasDefaultPolicy = isDefault;
    await first(backend);
    expect(pathsOf(backend.vault)).toEqual(expected);
    expect(backend.vault.pki.issuedCount).toBe(1);
    await first(backend);
    expect(pathsOf(backend.vault)).toEqual([...expected, expected.at(-1)]);
  });

  it('is there although the role cannot be read just now, which is tried again after 30 s and not before', async () => {
    const { vault, issuer, sign, deps } = await startBackend(onTestFinished);
    vault.fault = ({ path }) => (path === ROLE ? { status: 500, body: '{}' } : undefined);
    await sign('RSA-2048');
    deps.clock.advance(29_000);
    await sign('RSA-2048');
    const readings = () => vault.seen.filter(({ path }) => path === ROLE).length;
    const before = readings();
    deps.clock.advance(1_001);
    vault.fault = () => undefined;
    await sign('RSA-2048');
    expect(readings()).toBe(before + 1);
    expect((await issuer.abilities(live())).keyTypesAreAssumed).toBeUndefined();
  });

  it('reads the role once in a minute, however many certificates there are', async () => {
    const { vault, sign, deps } = await startBackend(onTestFinished);
    for (let part = 0; part < 10; part += 1) {
      await sign();
      deps.clock.advance(5_900);
    }
    expect(vault.seen.filter(({ path }) => path === ROLE).length).toBe(1);
    deps.clock.advance(1_100);
    await sign();
    expect(vault.seen.filter(({ path }) => path === ROLE).length).toBe(2);
  });

  it('keeps what it knew when Vault does not answer just when that is due again', async () => {
    const { vault, issuer, sign, deps } = await startBackend(onTestFinished);
    await sign();
    deps.clock.advance(60_000);
    vault.fault = ({ path }) => (path === CAPABILITIES ? { status: 429, body: '{}' } : undefined);
    await expect(sign()).resolves.toBeDefined();
    expect(await issuer.abilities(live())).toMatchObject({ sign: true, keyTypes: expect.arrayContaining(['EC-P256']) });
    expect(vault.seen.filter(({ path }) => path === CAPABILITIES).length).toBe(2);
    deps.clock.advance(30_000);
    vault.fault = () => undefined;
    await sign();
    expect(vault.seen.filter(({ path }) => path === CAPABILITIES).length).toBe(3);
  });
});

/** Vault answers 403 to all of these. What tells them apart, in at most one call more. */
const DENIED: readonly [
  string,
  readonly (keyof typeof GRANTS)[],
  Record<string, unknown>,
  RegExp,
  RegExp,
  readonly string[],
  string,
][] = [
  [
    'right',
    [],
    {},
    /token is valid, but no policy.*kmesh-pki-default\/sign\/dataplane-proxies/,
    /capabilities/,
    [CHAIN],
    'vault.sign-permitted',
  ],
  [
    'mount',
    [],
    { pki: 'other' },
    /no PKI mount at this path/,
    /correct fromCp\.pki.*fromCp\.namespace/,
    ['other/cert/ca_chain'],
    'vault.mount-readable',
  ],
  [
    'mount in a namespace',
    [],
    { pki: 'other', namespace: 'team' },
    /no PKI mount at this path in namespace team/,
    /correct fromCp\.pki or fromCp\.namespace/,
    ['other/cert/ca_chain'],
    'vault.mount-readable',
  ],
  [
    'role, where roles may be listed',
    ['listRoles'],
    { role: 'other' },
    /mount kmesh-pki-default has no role other/,
    /correct fromCp\.role/,
    ['kmesh-pki-default/roles?list=true'],
    'vault.role-readable',
  ],
  [
    'right, where roles may be listed',
    ['listRoles'],
    {},
    /token is valid, but no policy/,
    /kmesh-default-dataplane-proxies-sign\.hcl/,
    ['kmesh-pki-default/roles?list=true'],
    'vault.sign-permitted',
  ],
];

describe('a token that may issue nothing', () => {
  it.each(DENIED)('is told apart: a wrong or missing %s', async (_what, grants, changes, message, fix, asked, name) => {
    const { vault, issuer } = await startBackend(onTestFinished, grants, changes);
    const error = await issuer.abilities(live()).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error).toMatchObject({ message: expect.stringMatching(message), fix: expect.stringMatching(fix) });
    expect(pathsOf(vault)).toEqual([CAPABILITIES, ...asked]);
    const failed = await inspectFailed(issuer);
    expect(failed).toMatchObject([{ name, message: expect.stringMatching(message) }]);
  });
});

describe('what a vault issuer may do', () => {
  it('prefers sign where the token may, and asks Vault only once', async () => {
    const { vault, issuer } = await startBackend(onTestFinished, ['sign', 'issue', 'readRole']);
    const all = await Promise.all(Array.from({ length: 10 }, () => issuer.abilities(live())));
    expect(new Set(all.map((one) => JSON.stringify(one))).size).toBe(1);
    expect(all[0]).toMatchObject({ sign: true, issueKeyPair: true, signsCsrAsIs: true });
    expect(pathsOf(vault)).toEqual(['sys/capabilities-self', GRANTS.readRole[0]]);
  });

  it('takes names from the identity when the role leaves those of the CSR out', async () => {
    const { vault, issuer } = await startBackend(onTestFinished);
    vault.pki.role = { key_type: 'ec', key_bits: 384, use_csr_sans: false, use_csr_common_name: false };
    expect(await issuer.abilities(live())).toMatchObject({ signsCsrAsIs: false, keyTypes: ['EC-P384'] });
    const request = await requestFor({ ...IDENTITY, uriSans: ['spiffe://default/from-csr'] }, 'EC-P384', 3600);
    vault.pki.role = { key_type: 'any', key_bits: 0, use_csr_sans: false, use_csr_common_name: false };
    const issued = await issuer.sign({ ...request, identity: { ...IDENTITY, commonName: 'web.mesh' } }, live());
    const leaf = parseCertificate(issued.leaf);
    expect([leaf.uriSans, leaf.dnsNames, leaf.commonName]).toEqual([IDENTITY.uriSans, [], 'web.mesh']);
  });

  it('assumes the documented role, which takes RSA keys, when it may not read the role', async () => {
    const { issuer } = await startBackend(onTestFinished, ['sign']);
    expect(await issuer.abilities(live())).toEqual({
      sign: true,
      signsCsrAsIs: true,
      issueKeyPair: false,
      keyTypes: ['RSA-2048', 'RSA-3072', 'RSA-4096'],
      keyTypesAreAssumed: true,
    });
  });

  it('learns the key type of a role that it may not read from the first refusal', async () => {
    const { vault, issuer, sign } = await startBackend(onTestFinished, ['sign']);
    vault.pki.role = { key_type: 'ec', key_bits: 256, use_csr_sans: true, use_csr_common_name: true };
    await expect(sign('RSA-2048')).rejects.toThrow(RequestInvalidError);
    expect(await issuer.abilities(live())).toMatchObject({ keyTypes: ['EC-P256', 'EC-P384'] });
    await expect(sign('EC-P256')).resolves.toBeDefined();
  });

  it.each([
    ['sign', ['sign'], { sign: true, issueKeyPair: false }],
    ['issue', ['issue'], { sign: false, issueKeyPair: true }],
  ] as const)(
    'finds out about %s without issuing anything when the token cannot ask for its rights',
    async (_what, grants, expected) => {
      const { vault, issuer } = await startBackend(onTestFinished, grants);
      vault.hasDefaultPolicy = false;
      expect(await issuer.abilities(live())).toMatchObject(expected);
      expect(vault.pki.issuedCount).toBe(0);
    },
  );

  it('refuses what the policy leaves out, and names the missing path', async () => {
    const { issuer, sign } = await startBackend(onTestFinished, ['issue']);
    const error = await sign().catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(NotSupportedError);
    expect(error).toMatchObject({ fix: expect.stringContaining('kmesh-pki-default/sign/dataplane-proxies') });
    await expect(
      issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live()),
    ).resolves.toBeDefined();
  });

  it('denies a token that may do neither', async () => {
    const { issuer } = await startBackend(onTestFinished, []);
    await expect(issuer.abilities(live())).rejects.toThrow(IssuerDeniedError);
  });

  it('asks again after a refusal, and after a minute', async () => {
    const { vault, issuer, sign, deps } = await startBackend(onTestFinished, ['sign', 'readRole']);
    const asked = () => vault.seen.filter(({ path }) => path === 'sys/capabilities-self').length;
    await sign();
    vault.grants.delete(GRANTS.sign[0]);
    vault.grants.set(...GRANTS.issue);
    await expect(sign()).rejects.toThrow(IssuerDeniedError);
    expect(await issuer.abilities(live())).toMatchObject({ sign: false, issueKeyPair: true });
    expect(asked()).toBe(2);
    vault.grants.set(...GRANTS.sign);
    deps.clock.advance(60_000);
    expect(await issuer.abilities(live())).toMatchObject({ sign: true, issueKeyPair: true });
  });

  it('knows the rights of a new token as soon as that is in use', async () => {
    const { vault, deps } = await startBackend(onTestFinished, ['issue']);
    deps.stored.set('vault-token', Buffer.from(vault.token));
    const conf = confFor(vault, { auth: { token: { secret: 'vault-token' } } });
    const issuer = module.create(CONTEXT, module.parseConf(conf, CONTEXT), deps);
    onTestFinished(() => issuer.close());
    expect(await issuer.abilities(live())).toMatchObject({ sign: false });
    vault.grants.set(...GRANTS.sign);
    Object.assign(vault, { token: `${vault.token}-2` });
    deps.stored.set('vault-token', Buffer.from(vault.token));
    deps.tellSecretsChanged();
    await expect.poll(() => issuer.abilities(live())).toMatchObject({ sign: true });
  });

  it('serves again as soon as a token that was refused is replaced in its secret', async () => {
    const { vault, deps } = await startBackend(onTestFinished);
    deps.stored.set('vault-token', Buffer.from('stale\n'));
    const conf = confFor(vault, { auth: { token: { secret: 'vault-token' } } });
    const issuer = module.create(CONTEXT, module.parseConf(conf, CONTEXT), deps);
    onTestFinished(() => issuer.close());
    await expect(issuer.abilities(live())).rejects.toThrow(IssuerDeniedError);
    deps.stored.set('vault-token', Buffer.from(`${vault.token}\n`));
    deps.tellSecretsChanged();
    await expect.poll(() => issuer.abilities(live()).catch(() => undefined)).toMatchObject({ sign: true });
  });
});

const STYLES: readonly [string, Partial<ChainStyle>][] = [
  ['root first', { caChain: ({ root, intermediate }) => [root, intermediate] }],
  [
    'with the leaf inside, and doubles',
    { caChain: ({ leaf, root, intermediate }) => [leaf, root, root, intermediate, leaf] },
  ],
  ['all in one text', { caChain: ({ root, intermediate }) => [`${root}\n${intermediate}`] }],
  ['empty', { caChain: () => [] }],
  ['null', { caChain: () => null }],
  ['absent, without issuing_ca either', { caChain: () => undefined, issuingCa: false }],
  ['without the root, which only the mount tells', { caChain: ({ intermediate }) => [intermediate] }],
];

describe('the chain of a certificate from vault', () => {
  it.each(STYLES)('comes out issuer first and without root when ca_chain is %s', async (_name, style) => {
    const { vault, sign, deps } = await startBackend(onTestFinished);
    vault.pki.style = { ...NORMAL_CHAIN, ...style };
    const { leaf, chain, roots } = await sign();
    expect([...chain, ...roots].map((der) => parseCertificate(der).commonName)).toEqual([
      'fake intermediate',
      'fake root',
    ]);
    const at = deps.clock.now();
    expect(await opensslVerify({ leaf, chain, roots, at, purpose: 'sslserver' })).toBe('OK');
  });

  it('asks the mount for a missing root once, not for every certificate', async () => {
    const { vault, sign } = await startBackend(onTestFinished);
    vault.pki.style = { ...NORMAL_CHAIN, caChain: ({ intermediate }) => [intermediate] };
    await sign();
    await sign();
    expect(pathsOf(vault).filter((path) => path.includes('/issuers')).length).toBe(1);
  });

  it.each([
    ['a certificate', 'sign'],
    ['the trust bundle', 'trustBundle'],
  ] as const)('refuses %s when no root is known, and says how to give the mount its chain', async (_what, call) => {
    const { vault, issuer, sign } = await startBackend(onTestFinished);
    const onlyIntermediate = ({ intermediate }: { intermediate: string }) => [intermediate];
    vault.pki.style = { caChain: onlyIntermediate, issuingCa: true, mountChain: onlyIntermediate };
    const error = await (call === 'sign' ? sign() : issuer.trustBundle(live())).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(IssuerResponseError);
    expect(error).toMatchObject({ fix: expect.stringContaining('intermediate/set-signed') });
  });

  it('refuses a certificate that was signed by another CA of the same name', async () => {
    const { vault, sign } = await startBackend(onTestFinished);
    vault.pki.foreignCa = true;
    await expect(sign()).rejects.toThrow(/signature does not verify/);
  });

  it('refuses a certificate for another key, from sign and from issue', async () => {
    const { vault, issuer, sign } = await startBackend(onTestFinished, ['sign', 'issue', 'readRole']);
    vault.pki.wrongKey = true;
    await expect(sign()).rejects.toThrow(/for another key/);
    const pair = issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live());
    await expect(pair).rejects.toThrow(/for another key/);
  });

  it('gives the key of issue as PKCS#8 that belongs to the certificate', async () => {
    const { issuer } = await startBackend(onTestFinished, ['issue']);
    const issued = await issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live());
    const key = createPrivateKey({ key: issued.privateKeyDer, format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
    expect(parseCertificate(issued.leaf).spkiDer).toEqual(spki);
  });

  it('sorts the CA certificates of the mount into roots and intermediates, asking without a token', async () => {
    const { vault, issuer } = await startBackend(onTestFinished);
    const bundle = await issuer.trustBundle(live());
    expect(bundle.roots.map((der) => parseCertificate(der).commonName)).toEqual(['fake root']);
    expect(bundle.intermediates.map((der) => parseCertificate(der).commonName)).toEqual(['fake intermediate']);
    expect(vault.seen.every(({ headers }) => headers['x-vault-token'] === undefined)).toBe(true);
  });
});

describe('the trust bundle of a vault mount', () => {
  it('holds the roots of all issuers of the mount, and reads each issuer once', async () => {
    const { vault, issuer } = await startBackend(onTestFinished);
    const names = async () =>
      (await issuer.trustBundle(live())).roots.map((der) => parseCertificate(der).commonName).sort();
    expect(await names()).toEqual(['fake root']);
    vault.pki.moreIssuers = [(await makeCa({ name: 'next root' })).certPem];
    expect(await names()).toEqual(['fake root', 'next root']);
    const before = vault.seen.length;
    expect(await names()).toEqual(['fake root', 'next root']);
    expect(vault.seen.slice(before).map(({ path }) => path)).toEqual(['kmesh-pki-default/issuers?list=true']);
    vault.pki.moreIssuers = [];
    expect(await names()).toEqual(['fake root']);
  });

  it('comes from the chain of the mount where Vault has no list of issuers', async () => {
    const { vault, issuer } = await startBackend(onTestFinished);
    vault.pki.listsIssuers = false;
    const { roots, intermediates } = await issuer.trustBundle(live());
    expect([...roots, ...intermediates].map((der) => parseCertificate(der).commonName)).toEqual([
      'fake root',
      'fake intermediate',
    ]);
  });

  it('looks at 32 issuers at most, the one that signs among them, and says so', async () => {
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (_fields: object, message: string) => void warnings.push(message) };
    const deps = createTestDeps({ log });
    const vault = await startFakeVault({ now: deps.clock.now });
    vault.grants.set(...GRANTS.sign);
    const issuer = module.create(CONTEXT, module.parseConf(confFor(vault), CONTEXT), deps);
    onTestFinished(async () => {
      await issuer.close();
      await vault.close();
    });
    const ca = await makeCa({ name: 'one of many' });
    vault.pki.style = { ...NORMAL_CHAIN, mountChain: ({ root }) => [root] };
    vault.pki.moreIssuers = Array.from({ length: 40 }, (_, i) => ca.certPem.replace(/\n$/, '\n'.repeat(i + 1)));
    const { roots } = await issuer.trustBundle(live());
    expect(vault.seen.filter(({ path }) => path.endsWith('/json')).length).toBe(32);
    expect(roots.map((der) => parseCertificate(der).commonName)).toContain('fake root');
    expect(warnings).toEqual([expect.stringContaining('more issuers')]);
  });
});

describe('a certificate from vault that no proxy would accept now', () => {
  const refusal = async (spoil: (vault: FakeVault) => void, skewMs = 0) => {
    const deps = createTestDeps();
    const vault = await startFakeVault({ now: () => new Date(deps.clock.now().getTime() + skewMs) });
    for (const grant of [GRANTS.sign, GRANTS.readRole]) vault.grants.set(...grant);
    const issuer = module.create(CONTEXT, module.parseConf(confFor(vault), CONTEXT), deps);
    onTestFinished(async () => {
      await issuer.close();
      await vault.close();
    });
    spoil(vault);
    const error = await issuer
      .sign(await requestFor(IDENTITY, 'EC-P256', 300), live())
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(CaError);
    return { error: error as CaError, vault };
  };

  it.each([
    ['ahead', 600_000, /clock of vault at \S+ is (599|600|601) s ahead of ours/],
    ['behind', -600_000, /clock of vault at \S+ is (599|600|601) s behind ours/],
  ])(
    'is refused when the clock of vault is ten minutes %s, and the difference is told',
    async (_way, skewMs, message) => {
      const { error, vault } = await refusal(() => {}, skewMs);
      expect(error).toBeInstanceOf(IssuerResponseError);
      expect([error.message, error.fix]).toEqual([
        expect.stringMatching(message),
        expect.stringMatching(/timedatectl/),
      ]);
      expect(error.retry).toBe(false);
      expect(pathsOf(vault).length).toBeLessThanOrEqual(4);
      expect(vault.pki.issuedCount).toBe(1);
    },
  );

  it('is refused when the CA has ended, naming the CA and its end', async () => {
    const { error } = await refusal((vault) => {
      vault.pki.signsAs = 'ended';
    });
    expect(error).toBeInstanceOf(IssuerResponseError);
    expect(error.message).toMatch(/mount kmesh-pki-default signs with the CA "CN=ended root".* ended at 2026-08-2\d/);
    expect(error.fix).toMatch(/root\/rotate\/internal.*root\/replace default=root-after-/);
  });

  it('is refused when the role makes it start later, with the clocks right', async () => {
    const { error } = await refusal((vault) => {
      vault.pki.notBeforeMs = -120_000;
    });
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error.message).toMatch(/role dataplane-proxies .* not valid now/);
    expect(error.fix).toMatch(/not_before_duration/);
  });

  it('is taken when the clock of vault is a little ahead: its certificates start 30 s earlier', async () => {
    const deps = createTestDeps();
    const vault = await startFakeVault({ now: () => new Date(deps.clock.now().getTime() + 29_000) });
    vault.grants.set(...GRANTS.sign);
    const issuer = module.create(CONTEXT, module.parseConf(confFor(vault), CONTEXT), deps);
    onTestFinished(async () => {
      await issuer.close();
      await vault.close();
    });
    await expect(issuer.sign(await requestFor(IDENTITY, 'EC-P256', 300), live())).resolves.toBeDefined();
  });
});

describe('a vault that was never initialised', () => {
  it('is not called sealed, and is asked for more once by many', async () => {
    const { vault, issuer } = await startBackend(onTestFinished);
    vault.isInitialised = false;
    const all = await Promise.all(
      Array.from({ length: 20 }, () => issuer.abilities(live()).catch((error: CaError) => error)),
    );
    for (const error of all) {
      expect(error).toBeInstanceOf(IssuerUnavailableError);
      expect(error).toMatchObject({
        message: expect.stringMatching(/is not initialised/),
        fix: expect.stringMatching(/vault operator init/),
        retry: true,
      });
    }
    expect(vault.seen.filter(({ path }) => path === 'sys/health').length).toBe(1);
    await expect(issuer.trustBundle(live())).rejects.toThrow(/is not initialised/);
  });
});

describe('a vault that fails without a word', () => {
  it.each([
    ['stands by', true, /is a standby that does not reach an active node \(.*status 500\)/, /raft list-peers/],
    ['is active', false, /has an internal error \(.*status 500\)/, /Vault's log/],
  ])('is asked what it is, once for many, when it %s', async (_what, standby, message, fix) => {
    const { vault, issuer } = await startBackend(onTestFinished);
    const health = { initialized: true, sealed: false, standby, server_time_utc: 0 };
    vault.fault = ({ path }) => {
      if (path === 'sys/health') return { status: standby ? 429 : 200, body: JSON.stringify(health) };
      return { status: 500 };
    };
    const all = await Promise.all(
      Array.from({ length: 20 }, () => issuer.abilities(live()).catch((error: CaError) => error)),
    );
    for (const error of all) {
      expect(error).toBeInstanceOf(IssuerUnavailableError);
      expect(error).toMatchObject({ message: expect.stringMatching(message), fix: expect.stringMatching(fix) });
    }
    expect(vault.seen.filter(({ path }) => path === 'sys/health').length).toBe(1);
  });
});

/** What is wrong with the server, and the one check that fails because of it. */
const FAULTS: readonly [string, (vault: FakeVault) => void, readonly string[]][] = [
  [
    'sealed',
    (vault) => {
      vault.isSealed = true;
    },
    ['vault.unsealed'],
  ],
  [
    'not Vault at all',
    (vault) => {
      vault.fault = () => ({ status: 200, body: '<html>' });
    },
    ['vault.address-reachable'],
  ],
  [
    'refusing the token',
    (vault) => {
      vault.fault = ({ path }) => (/self|sign|issue/.test(path) ? { status: 403, body: '{}' } : undefined);
    },
    ['vault.token-valid'],
  ],
  ['without a right to issue', (vault) => vault.grants.clear(), ['vault.sign-permitted']],
  [
    'without a root',
    (vault) => {
      vault.pki.style = { ...NORMAL_CHAIN, mountChain: ({ intermediate }) => [intermediate] };
    },
    ['vault.root-known'],
  ],
  [
    'without a mount',
    (vault) => {
      vault.fault = ({ path }) => (/cert|issuers/.test(path) ? { status: 404, body: '{}' } : undefined);
    },
    ['vault.mount-readable'],
  ],
  [
    'of a role for other keys',
    (vault) => {
      vault.pki.role = { key_type: 'ed25519', key_bits: 0, use_csr_sans: true, use_csr_common_name: true };
    },
    ['vault.role-names', 'vault.role-keys', 'vault.role-common-name'],
  ],
  [
    'of a role whose certificates end with the token that asked for them',
    (vault) => Object.assign(vault.pki, { role: { ...vault.pki.role, generate_lease: true } }),
    ['vault.role-leases'],
  ],
  [
    'of a role for another mesh, with a common name that is not there',
    (vault) => {
      const others = { allowed_uri_sans: ['spiffe://other/*', 'kuma://*'], require_cn: true };
      vault.pki.role = { key_type: 'any', key_bits: 0, use_csr_sans: true, use_csr_common_name: true, ...others };
    },
    ['vault.role-names', 'vault.role-common-name'],
  ],
  [
    'without the role',
    (vault) => {
      vault.pki.role = undefined;
    },
    ['vault.role-readable'],
  ],
  [
    'not initialised',
    (vault) => {
      vault.isInitialised = false;
    },
    ['vault.unsealed'],
  ],
];

describe('inspecting a vault backend', () => {
  const failing = async (backend: Awaited<ReturnType<typeof startBackend>>) => inspectFailed(backend.issuer);

  it.each(FAULTS)('names the fault and a fix for a server that is %s', async (_what, spoil, names) => {
    const backend = await startBackend(onTestFinished);
    spoil(backend.vault);
    const found = await failing(backend);
    expect(found.map(({ name }) => name)).toEqual(names);
    for (const { fix } of found) expect(fix).toMatch(/\w+ \w+/);
  });

  it.each([
    [['*'], undefined],
    [['spiffe://default/*', 'kuma://*'], undefined],
    [['spiffe://*', 'kuma://*/*'], undefined],
    [['spiffe://{{identity.entity.name}}/*', 'kuma://*'], undefined],
    [['spiffe://default/*'], '"spiffe://default/*,kuma://*"'],
    [['spiffe://default-2/*', 'kuma://*'], '"spiffe://default-2/*,kuma://*,spiffe://default/*"'],
    [['spiffe://default/', 'kuma://*'], '"spiffe://default/,kuma://*,spiffe://default/*"'],
    [[], '"spiffe://default/*,kuma://*"'],
    [
      ['"$(reboot)"'],
      '"spiffe://default/*,kuma://*" (that takes the place of the whole list: add what other meshes need in it)',
    ],
  ] as const)('knows before the first certificate whether a role allows the names: %j', async (allowed, change) => {
    const backend = await startBackend(onTestFinished);
    const role = { key_type: 'any', key_bits: 0, use_csr_sans: true, use_csr_common_name: true } as const;
    backend.vault.pki.role = { ...role, allowed_uri_sans: allowed, require_cn: false };
    const found = await failing(backend);
    const fix = `vault patch kmesh-pki-default/roles/dataplane-proxies allowed_uri_sans=${change}`;
    expect(found).toMatchObject(change === undefined ? [] : [{ name: 'vault.role-names', fix }]);
  });

  it('sees a clock that differs', async () => {
    const deps = createTestDeps();
    const vault = await startFakeVault({ now: () => new Date(deps.clock.now().getTime() + 90_000) });
    for (const grant of [GRANTS.sign, GRANTS.readRole]) vault.grants.set(...grant);
    const issuer = module.create(CONTEXT, module.parseConf(confFor(vault), CONTEXT), deps);
    onTestFinished(async () => {
      await issuer.close();
      await vault.close();
    });
    const found = await inspectFailed(issuer);
    expect(found).toMatchObject([{ name: 'vault.clock', message: expect.stringMatching(/(89|90|91) s ahead/) }]);
  });

  it('does not throw when the token cannot be loaded, but says so', async () => {
    const backend = await startBackend(onTestFinished, [], { auth: { token: { secret: 'nowhere' } } });
    const found = await failing(backend);
    expect(found).toMatchObject([
      { name: 'vault.credentials-loaded', message: expect.stringContaining('fromCp.auth.token') },
    ]);
    expect(backend.vault.seen.every(({ headers }) => headers['x-vault-token'] === undefined)).toBe(true);
  });

  it('issues nothing', async () => {
    const { vault, issuer } = await startBackend(onTestFinished, ['sign', 'issue', 'readRole']);
    await inspectAll(issuer);
    expect(vault.pki.issuedCount).toBe(0);
  });
});

describe('closing a vault issuer', () => {
  it('ends calls under way, those that wait for a connection, too, and leaves no socket', async () => {
    const { vault, issuer, sign } = await startBackend(onTestFinished);
    await sign();
    let arrived = 0;
    const allArrived = new Promise<void>((resolve) => {
      vault.fault = () => {
        arrived += 1;
        if (arrived === 64) resolve();
        return 'hang';
      };
    });
    const waiting = Array.from({ length: 100 }, () => sign().catch((error: unknown) => error));
    await allArrived;
    await issuer.close();
    for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(IssuerUnavailableError);
    await expect.poll(() => vault.connections().open).toBe(0);
    expect(vault.seen.length).toBeLessThan(70);
  });
});
