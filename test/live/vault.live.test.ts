import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { module } from '../../adapters/vault/module.ts';
import {
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import type { Issuer, KeyPairIssuer, KeyType } from '../../src/issuer/issuer.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { type OpenBaoOptions, type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { createToken, setUpPki, type VaultPki, type VaultPkiOptions } from '../../testcontainers/vault-pki.ts';
import { live, requestFor, testIssuer } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { CONTEXT, confFor, createIssuer } from '../fakes/vault-backend.ts';
import { caErrorOf } from '../support/ca-error-of.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectFailed } from '../support/inspect-all.ts';

const print = (line: string) => void process.stdout.write(`${line}\n`);

let bao: StartedOpenBao;
beforeAll(async () => {
  bao = await startOpenBao({ print });
});
afterAll(() => bao?.close());

interface Setup {
  readonly pki?: VaultPkiOptions;
  readonly conf?: Record<string, unknown>;
  /** Default: what `abilities` claims. */
  readonly keyTypes?: readonly KeyType[];
  readonly namespace?: string;
  readonly tls?: true;
}

const SIGN_ROLE = 'role-dataplane-proxies-sign.json';
const EC_TYPES = ['EC-P256', 'EC-P384'] as const;

/** Each through the whole suite; the first with mount, role and policy word for word as documented. */
const SETUPS: readonly [string, Setup][] = [
  ['the documented policy and role', { keyTypes: [] }],
  [
    'the documented policy with EC keys and a commonName',
    {
      pki: { roleChanges: { key_type: 'ec', key_bits: 256 } },
      conf: { commonName: '{{ tag "kuma.io/service" }}.mesh' },
      keyTypes: [],
    },
  ],
  ['the sign policy and the documented role', { pki: { policy: 'sign' }, keyTypes: ['RSA-2048'] }],
  [
    'the sign policy and role, under an intermediate CA',
    {
      pki: { policy: 'sign', roleFile: SIGN_ROLE, intermediate: true },
      conf: { commonName: '{{ tag "kuma.io/service" }}.mesh' },
      keyTypes: [...EC_TYPES, 'RSA-2048'],
    },
  ],
  [
    'a role for EC keys only, with the policy for the checks',
    { pki: { policy: ['sign', 'checks'], roleChanges: { key_type: 'ec', key_bits: 256 } }, keyTypes: EC_TYPES },
  ],
  [
    'the documented policy without the policy "default"',
    {
      pki: { roleChanges: { key_type: 'ec', key_bits: 256 }, tokenOptions: { no_default_policy: true } },
      keyTypes: [],
    },
  ],
  ['a namespace', { pki: { policy: 'sign', roleFile: SIGN_ROLE }, namespace: 'suite', keyTypes: EC_TYPES }],
  ['TLS', { pki: { policy: 'sign', roleFile: SIGN_ROLE }, tls: true, keyTypes: EC_TYPES }],
];

for (const [index, [name, { pki, conf, keyTypes, namespace, tls }]] of SETUPS.entries()) {
  describe('on a real server', () => {
    let server: StartedOpenBao;
    let made: VaultPki;
    beforeAll(async () => {
      server = tls === true ? await startOpenBao({ tls: true, print }) : bao;
      if (namespace !== undefined) await server.request('POST', `sys/namespaces/${namespace}`);
      const place = namespace === undefined ? server : inNamespace(server, namespace);
      made = await setUpPki(place, { ...(index > 0 && { mount: `suite-${index}` }), ...pki });
    });
    afterAll(() => (tls === true ? server?.close() : undefined));

    testIssuer(`vault, ${name}`, async () => {
      const place = {
        ...{ pki: made.mount, ...(namespace !== undefined && { namespace }) },
        ...(tls === true && { tls: { caCert: { inlineString: server.caCertPem ?? '' } } }),
      };
      return {
        ...{ module, context: CONTEXT, deps: createTestDeps({ clock: systemClock }) },
        conf: confFor({ address: server.address, token: made.token }, { ...place, ...conf }),
        ...(keyTypes && { keyTypes }),
      };
    });
  });
}

/** The same server, as those see it who live in the namespace. */
function inNamespace(server: StartedOpenBao, namespace: string): StartedOpenBao {
  return {
    ...server,
    request: (method, path, body, options) => server.request(method, path, body, { namespace, ...options }),
    must: (method, path, body, options) => server.must(method, path, body, { namespace, ...options }),
  };
}

/** An issuer that ends with the test. */
function issuerFor(
  token: string,
  changes: Record<string, unknown> = {},
  server: { readonly address: string } = bao,
): Issuer & KeyPairIssuer {
  const deps = createTestDeps({ clock: systemClock });
  const issuer = createIssuer(confFor({ address: server.address, token }, changes), deps);
  onTestFinished(() => issuer.close());
  return issuer;
}

const pair = (issuer: KeyPairIssuer, identity = IDENTITY) =>
  issuer.issueKeyPair({ identity, ttlSeconds: 600, requestId: '1' }, live());

async function failingChecks(issuer: Issuer): Promise<string[]> {
  return (await inspectFailed(issuer)).map(({ name }) => name);
}

describe('a real vault that is set up wrongly', () => {
  it('refuses a wrong token: the error names the path and holds no token', async () => {
    await setUpPki(bao);
    const issuer = issuerFor('hvs.0123456789abcdefghijklmnop');
    const error = await caErrorOf(pair(issuer));
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(`${error.message} ${error.fix}`).not.toContain('0123456789');
    expect(await failingChecks(issuer)).toEqual(['vault.token-valid']);
  });

  it('refuses a token that was revoked between two certificates', async () => {
    const { token } = await setUpPki(bao);
    const issuer = issuerFor(token);
    await pair(issuer);
    await bao.must('POST', 'auth/token/revoke', { token });
    expect(await caErrorOf(pair(issuer))).toBeInstanceOf(IssuerDeniedError);
    expect(await failingChecks(issuer)).toEqual(['vault.token-valid']);
  });

  it.each([
    ['mount', { pki: 'kmesh-pki-other' }, /no PKI mount|nothing at this path/],
    ['role', { role: 'other' }, /no such role|nothing at this path/],
  ])('tells a wrong %s apart when the token may do everything', async (_what, changes, message) => {
    await setUpPki(bao);
    const error = await caErrorOf(pair(issuerFor(bao.rootToken, changes)));
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error.message).toMatch(message);
  });

  it('refuses an EC key where the documented role wants RSA', async () => {
    const { token } = await setUpPki(bao, { policy: 'sign' });
    const error = await caErrorOf(issuerFor(token).sign(await requestFor(IDENTITY, 'EC-P256', 600), live()));
    expect(error).toBeInstanceOf(RequestInvalidError);
    expect(error.message).toMatch(/role requires keys of type rsa/);
  });

  it('learns the key type of a role that it may not read', async () => {
    const { token, mount, role } = await setUpPki(bao, {
      policy: 'sign',
      roleChanges: { key_type: 'ec', key_bits: 256 },
    });
    const policy = `path "${mount}/sign/${role}" { capabilities = ["update"] }`;
    await bao.must('PUT', 'sys/policies/acl/kmesh-default-dataplane-proxies-sign', { policy });
    const issuer = issuerFor(token);
    expect((await issuer.abilities(live())).keyTypes).toEqual(['RSA-2048', 'RSA-3072', 'RSA-4096']);
    expect(await caErrorOf(issuer.sign(await requestFor(IDENTITY, 'RSA-2048', 600), live()))).toBeInstanceOf(
      RequestInvalidError,
    );
    expect((await issuer.abilities(live())).keyTypes).toEqual(['EC-P256', 'EC-P384']);
    await expect(issuer.sign(await requestFor(IDENTITY, 'EC-P256', 600), live())).resolves.toBeDefined();
  });

  it.each([
    ['issue', [], { sign: false, issueKeyPair: true }],
    ['sign', ['RSA-2048', 'RSA-3072', 'RSA-4096'], { sign: true, issueKeyPair: false }],
  ] as const)('finds out what a token without the policy "default" may do: %s', async (policy, keyTypes, expected) => {
    const { mount } = await setUpPki(bao, { policy });
    const name = policy === 'issue' ? 'kmesh-default-dataplane-proxies' : 'kmesh-default-dataplane-proxies-sign';
    const token = await createToken(bao, [name], { no_default_policy: true });
    const issuer = issuerFor(token);
    expect(await issuer.abilities(live())).toMatchObject({ ...expected, keyTypes });
    expect(await failingChecks(issuer)).toEqual([]);
    const certificates = await bao.must('LIST', `${mount}/certs`);
    expect(JSON.stringify(certificates).match(/([0-9a-f]{2}:){15}/g)?.length).toBe(1);
  });

  it('refuses a mount without a CA, and a mount that is no PKI', async () => {
    const { token } = await setUpPki(bao);
    await bao.must('DELETE', 'kmesh-pki-default/root');
    expect((await caErrorOf(pair(issuerFor(token)))).message).toMatch(/no CA in this mount|has an internal error/);
    await bao.must('DELETE', 'sys/mounts/kmesh-pki-default');
    await bao.must('POST', 'sys/mounts/kmesh-pki-default', { type: 'kv' });
    expect(await caErrorOf(pair(issuerFor(token)))).toBeInstanceOf(IssuerResponseError);
  });
});

describe('a real vault with its own ways', () => {
  const startOwn = async (options: OpenBaoOptions) => {
    const own = await startOpenBao({ ...options, print });
    onTestFinished(() => own.close());
    return own;
  };

  it('is known to be sealed, and serves again after it is unsealed and after a restart', async () => {
    const own = await startOwn({ storage: 'disk' });
    const { token } = await setUpPki(own);
    const issuer = issuerFor(token, {}, own);
    await pair(issuer);
    await own.seal();
    const error = await caErrorOf(pair(issuer));
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(error.message).toMatch(/is sealed/);
    expect(await failingChecks(issuer)).toEqual(['vault.unsealed']);
    await own.unseal();
    await expect(pair(issuer)).resolves.toBeDefined();
    await own.restart();
    expect((await caErrorOf(pair(issuer))).message).toMatch(/is sealed/);
    await own.unseal();
    await expect(pair(issuer)).resolves.toBeDefined();
  });

  it('speaks TLS with a CA of its own, under another name than its address', async () => {
    const own = await startOwn({ tls: ['DNS:vault.test'] });
    const { token } = await setUpPki(own, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' });
    const caCert = { inlineString: own.caCertPem ?? '' };
    const issuer = issuerFor(token, { tls: { caCert, serverName: 'vault.test' } }, own);
    await expect(issuer.sign(await requestFor(IDENTITY, 'EC-P256', 600), live())).resolves.toBeDefined();
    expect(await failingChecks(issuer)).toEqual([]);
    expect(await failingChecks(issuerFor(token, { tls: { caCert } }, own))).toEqual(['vault.tls-name']);
    expect(await failingChecks(issuerFor(token, {}, own))).toEqual(['vault.tls-trusted']);
    const plain = issuerFor(token, { address: own.address.replace('https:', 'http:') }, own);
    expect((await caErrorOf(plain.trustBundle(live()))).message).toMatch(/speaks HTTPS/);
  });

  it('is refused when TLS is expected and there is none', async () => {
    const { token } = await setUpPki(bao);
    const issuer = issuerFor(token, { address: bao.address.replace('http:', 'https:') });
    expect((await caErrorOf(issuer.trustBundle(live()))).message).toMatch(/does not speak TLS/);
  });

  it('keeps meshes apart by namespaces', async () => {
    await bao.request('POST', 'sys/namespaces/team');
    const { token } = await setUpPki(inNamespace(bao, 'team'));
    await expect(pair(issuerFor(token, { namespace: 'team' }))).resolves.toBeDefined();
    expect(await caErrorOf(pair(issuerFor(token)))).toBeInstanceOf(IssuerDeniedError);
  });

  it('writes the common name of the template and no DNS name, by issue and by sign', async () => {
    const { token } = await setUpPki(bao, { policy: 'both' });
    const issuer = issuerFor(token, { commonName: '{{ tag "kuma.io/service" | replace "_" "-" }}.mesh' });
    const who = { mesh: 'default', dataplane: 'b-1', tags: createTags([['kuma.io/service', 'my_backend']]) };
    const identity = { ...who, uriSans: ['spiffe://default/my_backend'], ...issuer.subject(who) };
    const signed = await issuer.sign(await requestFor(identity, 'RSA-2048', 600), live());
    for (const { leaf } of [await pair(issuer, identity), signed]) {
      const { commonName, dnsNames, uriSans } = parseCertificate(leaf);
      expect([commonName, dnsNames, uriSans]).toEqual(['my-backend.mesh', [], ['spiffe://default/my_backend']]);
    }
  });

  it('takes tag values with every character that Kuma allows', async () => {
    const { token } = await setUpPki(bao);
    const uriSans = ['spiffe://default/web.a_b-c', 'kuma://version/v1.2_3-x', 'kuma://team.io/zone/a:b@c'];
    const issued = await pair(issuerFor(token), { ...IDENTITY, uriSans });
    expect(parseCertificate(issued.leaf).uriSans).toEqual(uriSans);
  });

  it('tells the truth about a lifetime that the role cuts', async () => {
    const { token } = await setUpPki(bao, { roleChanges: { max_ttl: '300s', ttl: '300s' } });
    const { notAfter, leaf } = await pair(issuerFor(token));
    expect(notAfter).toEqual(parseCertificate(leaf).notAfter);
    expect(notAfter.getTime() - Date.now()).toBeLessThan(301_000);
  });
});
