import 'reflect-metadata';
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { KeyUsageFlags, SubjectAlternativeNameExtension } from '@peculiar/x509';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { cleanText } from '../../adapters/vault/reply-text.ts';
import {
  type CaError,
  ConfigError,
  IssuerDeniedError,
  IssuerResponseError,
  IssuerUnavailableError,
  RateLimitedError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { live } from '../conformance/issuer.ts';
import { type CaSpec, makeCa } from '../conformance/make-ca.ts';
import type { Fault } from '../fakes/fake-vault.ts';
import { confFor, createIssuer, GRANTS, startBackend } from '../fakes/vault-backend.ts';
import { caErrorOf } from '../support/ca-error-of.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll, inspectFailed } from '../support/inspect-all.ts';

const says = (status: number, ...errors: string[]): Fault => ({ status, body: JSON.stringify({ errors }) });
const SIGN = GRANTS.sign[0];

type ErrorClass = abstract new (...args: never[]) => CaError;

/** What Vault answers to `sign`, which error that becomes, and a word of its message and fix. */
const ANSWERS: readonly [string, Fault, ErrorClass, RegExp, RegExp][] = [
  [
    'denies',
    says(403, '1 error occurred:\n\t* permission denied\n\n'),
    IssuerDeniedError,
    /no policy of the token gives it "update" on kmesh-pki-default\/sign\/dataplane-proxies .*permission denied\)$/,
    /path "kmesh-pki-default\/sign\/dataplane-proxies" \{ capabilities = \["update"\] \}/,
  ],
  [
    'does not know the token any more, as OpenBao says it',
    says(403, 'permission denied'),
    IssuerDeniedError,
    /the token is invalid, was revoked, has expired/,
    /^vault token create .*fromCp\.auth.*vault token lookup/,
  ],
  [
    'does not know the token any more, as Vault says it',
    says(403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'),
    IssuerDeniedError,
    /the token is invalid, was revoked, has expired/,
    /^vault token create .*fromCp\.auth.*vault token lookup/,
  ],
  [
    'is behind a gateway that denies',
    { status: 403, body: '<html>Forbidden</html>' },
    IssuerDeniedError,
    /denies access.*status 403/,
    /token lookup/,
  ],
  [
    'does not know the token',
    says(401, 'unauthenticated'),
    IssuerDeniedError,
    /does not accept the token/,
    /fromCp\.auth/,
  ],
  [
    'has no mount',
    says(404, 'no handler for route "x". route entry not found.'),
    IssuerDeniedError,
    /no PKI mount/,
    /vault secrets enable -path=kmesh-pki-default pki/,
  ],
  [
    'has no role',
    says(400, 'unknown role: dataplane-proxies'),
    IssuerDeniedError,
    /no such role: dataplane-proxies/,
    /fromCp\.role/,
  ],
  [
    'has a role for an issuer that is gone',
    says(
      500,
      '1 error occurred:\n\t* could not fetch the CA certificate (was one set?): unable to find PKI issuer for reference: gone\n\n',
    ),
    IssuerDeniedError,
    /no issuer of the name in its role's issuer_ref.*reference: gone/,
    /vault patch kmesh-pki-default\/roles\/dataplane-proxies issuer_ref=default/,
  ],
  [
    'has an issuer without a key',
    says(500, 'unable to fetch corresponding key for issuer c207da32; unable to use this issuer for signing'),
    IssuerDeniedError,
    /issuer that cannot sign/,
    /config\/issuers default=/,
  ],
  [
    'has an issuer that may not issue',
    says(500, 'requested usage issuing-certificates for issuer [id:e226] but only had usage crl-signing,read-only'),
    IssuerDeniedError,
    /issuer that cannot sign/,
    /usage=read-only,issuing-certificates/,
  ],
  [
    'forbids IP addresses',
    says(400, 'IP Subject Alternative Names are not allowed in this role, but was provided via the API'),
    IssuerDeniedError,
    /allow_ip_sans/,
    /CSR without IP addresses/,
  ],
  [
    'forbids names of other kinds',
    says(400, 'other SAN OID 1.2.3.4 not allowed by this role'),
    IssuerDeniedError,
    /allowed_other_sans/,
    /CSR without such names/,
  ],
  [
    'forbids a DNS name',
    says(400, 'subject alternate name web.example not allowed by this role'),
    IssuerDeniedError,
    /DNS name.*allowed_domains/,
    /allowed_domains=/,
  ],
  [
    'makes no keys',
    says(
      400,
      'role key type "any" not allowed for issuing certificates without providing key_type and/or key_bits request parameters',
    ),
    IssuerDeniedError,
    /key_type=any.*and\/or/,
    /key_type=ec key_bits=256.*sign\/dataplane-proxies/,
  ],
  [
    'has a CA that has ended',
    says(
      400,
      'cannot satisfy request, as TTL would result in notAfter of 2026-09-01T13:00:00Z that is beyond the expiration of the CA certificate at 2026-08-31T12:00:00Z',
    ),
    IssuerResponseError,
    /in kmesh-pki-default with a CA that has ended at 2026-08-31T12:00:00Z/,
    /root\/rotate\/internal/,
  ],
  [
    'stands by without an active node',
    says(500, 'local node not active but active cluster node not found'),
    IssuerUnavailableError,
    /is a standby, and its cluster has no active node/,
    /raft list-peers/,
  ],
  [
    'has nothing there',
    says(404),
    IssuerDeniedError,
    /has nothing at this path/,
    /vault write kmesh-pki-default\/roles/,
  ],
  [
    'has no CA',
    says(400, 'no default issuer currently configured'),
    IssuerDeniedError,
    /no CA in this mount/,
    /root\/generate/,
  ],
  [
    'gives no leased certificate for the last use of a token',
    says(400, 'Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.'),
    IssuerDeniedError,
    /token is used up/,
    /num_uses/,
  ],
  ['has no namespace', says(404, 'namespace not found'), IssuerDeniedError, /no such namespace/, /fromCp\.namespace/],
  [
    'forbids the URI SANs',
    says(400, 'URI Subject Alternative Names were provided via the API which are not valid for this role'),
    IssuerDeniedError,
    /allowed_uri_sans/,
    /allowed_uri_sans="spiffe:\/\/default\/\*,kuma:\/\/\*"/,
  ],
  [
    'forbids the common name',
    says(400, 'common name web.x not allowed by this role'),
    IssuerDeniedError,
    /common name.*allowed_domains/,
    /allow_subdomains=true/,
  ],
  [
    'wants a common name',
    says(
      400,
      'the common_name field is required, or must be provided in a CSR with "use_csr_common_name" set to true, unless "require_cn" is set to false',
    ),
    IssuerDeniedError,
    /require_cn/,
    /require_cn=false/,
  ],
  ['wants another key', says(400, 'role requires keys of type rsa'), RequestInvalidError, /key_type/, /key_type=any/],
  [
    'wants a larger key',
    says(400, "role requires a minimum of a 3072-bit key, but CSR's key is 2048 bits"),
    RequestInvalidError,
    /3072-bit/,
    /CSR/,
  ],
  [
    'has a CA that ends soon',
    says(
      400,
      'cannot satisfy request, as TTL would result in notAfter of 2040 that is beyond the expiration of the CA certificate at 2030',
    ),
    IssuerDeniedError,
    /CA that ends before/,
    /renew the CA/,
  ],
  [
    'refuses for another reason',
    says(400, 'something new'),
    IssuerDeniedError,
    /refuses the request.*something new/,
    /vault read kmesh-pki-default\/roles\/dataplane-proxies/,
  ],
  [
    'is spoken to in plain HTTP',
    { status: 400, body: 'Client sent an HTTP request to an HTTPS server.\n' },
    IssuerUnavailableError,
    /speaks HTTPS/,
    /https:\/\//,
  ],
  ['is sealed', says(503, 'Vault is sealed'), IssuerUnavailableError, /is sealed/, /unseal/],
  [
    'is a standby that redirects',
    { status: 307, headers: { location: 'http://127.0.0.1:1/' } },
    IssuerUnavailableError,
    /redirect/,
    /active node/,
  ],
  ['is a standby of another cluster', says(472), IssuerUnavailableError, /standby/, /active node/],
  ['has an error of its own', says(500, 'internal error'), IssuerUnavailableError, /internal error/, /log/],
  [
    'is behind a broken load balancer',
    { status: 502, body: '<html>Bad Gateway</html>' },
    IssuerUnavailableError,
    /not available \(.*status 502\)/,
    /load balancer/,
  ],
  [
    'has not caught up',
    says(412, 'required index state not present'),
    IssuerUnavailableError,
    /caught up/,
    /try again/,
  ],
  ['says nothing', { status: 200 }, IssuerResponseError, /not usable/, /Vault server/],
  ['speaks HTML', { status: 200, body: '<html>' }, IssuerResponseError, /not usable/, /Vault server/],
  [
    'leaves the certificate out',
    { status: 200, body: '{"data":{}}' },
    IssuerResponseError,
    /data\.certificate/,
    /PKI mount/,
  ],
  ['writes nothing, as a key-value mount does', { status: 204 }, IssuerResponseError, /not usable/, /PKI mount/],
  [
    'sends no PEM',
    { status: 200, body: '{"data":{"certificate":"hello"}}' },
    IssuerResponseError,
    /cannot be read/,
    /Vault server/,
  ],
  [
    'sends 2 MiB',
    { status: 200, body: `{"data":"${'x'.repeat(2 ** 21)}"}` },
    IssuerResponseError,
    /larger than 1 MiB/,
    /Vault server/,
  ],
];

describe('an answer of vault that is no certificate', () => {
  it.each(ANSWERS)('becomes an error that says what to do when it %s', async (what, fault, type, message, fix) => {
    const { vault, sign } = await startBackend(onTestFinished);
    vault.fault = ({ path }) => (path === SIGN ? fault : undefined);
    const error = await caErrorOf(sign());
    expect(error).toBeInstanceOf(type);
    expect(error.message).toMatch(message);
    expect(error.fix).toMatch(fix);
    // Only these depend on the names of one data plane.
    expect(error.ofRequest).toBe(what.startsWith('forbids '));
    expect(error.retry).toBe(type === IssuerUnavailableError);
    expect(error.message).not.toContain(vault.token);
    expect(error.message).toMatch(/^(vault at|mount) /);
    expect(vault.seen.filter(({ path }) => path === SIGN).length).toBe(1);
  });

  it.each([
    ['seconds', '7', 7000],
    ['a date', 'Tue, 01 Sep 2026 12:00:30 GMT', 29_750],
    ['a date in the past', 'Tue, 01 Sep 2020 12:00:00 GMT', 0],
    ['more than an hour', '999999', 3_600_000],
    ['nonsense', 'soon', undefined],
    ['a number that is no number of seconds', '1.5', undefined],
    ['nothing', '', undefined],
    ['zero, the last second of a quota', '0', 1000],
  ])('tells when to come back after a rate limit: Retry-After is %s', async (_what, header, expected) => {
    const { vault, sign } = await startBackend(onTestFinished);
    const fault = {
      status: 429,
      headers: { 'retry-after': header },
      body: '{"errors":["request path \\"x\\": rate limit quota exceeded"]}',
    };
    vault.fault = ({ path }) => (path === SIGN ? fault : undefined);
    const error = await caErrorOf(sign());
    expect(error).toBeInstanceOf(RateLimitedError);
    expect(error.retryAfterMs).toBe(expected);
  });

  it('gives up after 30 s without an answer', async () => {
    const { vault, sign, deps } = await startBackend(onTestFinished);
    await sign();
    const arrived = new Promise<void>((resolve) => {
      vault.fault = () => {
        resolve();
        return 'hang';
      };
    });
    const failing = caErrorOf(sign());
    await arrived;
    deps.clock.advance(30_000);
    const error = await failing;
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(error.message).toMatch(/no answer within 30000 ms/);
  });

  it("stops at once with the caller's reason when the caller gives up, and serves the next one", async () => {
    const { vault, sign } = await startBackend(onTestFinished);
    await sign();
    const caller = new AbortController();
    const reason = new Error('the proxy left');
    vault.fault = () => {
      caller.abort(reason);
      return 'hang';
    };
    await expect(sign('EC-P256', caller.signal)).rejects.toBe(reason);
    vault.fault = () => undefined;
    await expect(sign()).resolves.toBeDefined();
  });

  it('does not fail the others when the caller who asked first gives up', async () => {
    const { vault, issuer } = await startBackend(onTestFinished);
    const first = new AbortController();
    let answer = () => {};
    const held = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const one = issuer.abilities({ signal: first.signal });
    const two = issuer.abilities(live());
    first.abort(new Error('gone'));
    answer();
    await held;
    await expect(one).rejects.toThrow('gone');
    await expect(two).resolves.toMatchObject({ sign: true });
    expect(vault.seen.filter(({ path }) => path === 'sys/capabilities-self').length).toBe(1);
  });
});

describe('a vault that cannot be reached', () => {
  const failureOf = async (fromCp: Record<string, unknown>) => {
    const issuer = createIssuer(confFor({ address: 'http://127.0.0.1:1', token: 'root' }, fromCp));
    onTestFinished(() => issuer.close());
    const checks = await inspectAll(issuer);
    return { error: await caErrorOf(issuer.trustBundle(live())), checks };
  };

  it('is told apart: refused connection', async () => {
    const { error, checks } = await failureOf({});
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(error.message).toMatch(/refuses connections.*ECONNREFUSED/);
    expect(error.fix).toMatch(/fromCp\.address/);
    expect(checks.at(-1)).toMatchObject({ name: 'vault.address-reachable', status: 'failed' });
  });

  it('is told apart: the agent refuses, not the server', async () => {
    const { error } = await failureOf({ address: 'http://vault.invalid', agentAddress: 'http://127.0.0.1:1' });
    expect(error.fix).toMatch(/fromCp\.agentAddress/);
  });

  it('is told apart: unknown host', async () => {
    const { error } = await failureOf({ address: 'http://vault.invalid:8200' });
    expect(error.message).toMatch(/cannot be resolved/);
  });

  it.each([
    ['hangs up', '', /broke the connection/],
    ['speaks no HTTP', 'SSH-2.0-OpenSSH\r\n', /does not speak HTTP/],
  ])('is told apart: a server that %s', async (_what, greeting, message) => {
    const server = createServer((socket) => socket.end(greeting)).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { error } = await failureOf({ address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(error.message).toMatch(message);
  });

  it.each([
    ['two words', 'hvs.abc def'],
    ['a line break inside', 'hvs.abc\r\nX-Vault-Token: root'],
    ['nothing', ' \n'],
  ])('is not even asked when the token is %s', async (_what, token) => {
    const issuer = createIssuer(confFor({ address: 'http://127.0.0.1:1', token }));
    onTestFinished(() => issuer.close());
    const error = await caErrorOf(issuer.abilities(live()));
    expect(error).toBeInstanceOf(ConfigError);
    expect(error.violations).toMatchObject([{ field: 'fromCp.auth.token' }]);
    expect(error.message).not.toContain('abc');
  });
});

const SAYABLE = { token: '', namespace: '', path: 'team/pki/issue/web', pki: 'team/pki', role: 'web' };

/** What is wrong with the certificate of a listener, and what is said about it. */
const LISTENERS: readonly [string, Omit<CaSpec, 'name'>, 'trusted' | 'not trusted', RegExp, RegExp][] = [
  ['that has ended', { fromDay: -900, toDay: -300 }, 'trusted', /outside its validity.*CERT_HAS_EXPIRED/, /renew/],
  [
    'for another name',
    { extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: 'vault.test' }])] },
    'trusted',
    /for another name/,
    /fromCp\.tls\.serverName/,
  ],
  [
    'that is made for a CA alone',
    { keyUsage: KeyUsageFlags.keyCertSign },
    'trusted',
    /not made for servers/,
    /digitalSignature/,
  ],
  ['that nobody trusts', {}, 'not trusted', /is not trusted/, /fromCp\.tls\.caCert/],
];

describe('a vault whose listener shows a certificate', () => {
  it.each(LISTENERS)('%s is told apart, and is sent no token', async (what, spec, trust, message, fix) => {
    const forAddress = new SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }]);
    const { certPem, keyPem } = await makeCa({
      ...{ name: 'listener', keyUsage: undefined, extensions: [forAddress] },
      ...spec,
    });
    let requests = 0;
    const server = createHttpsServer({ cert: certPem, key: keyPem }, () => {
      requests += 1;
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const address = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const tls = trust === 'trusted' ? { tls: { caCert: { inlineString: certPem } } } : {};
    const issuer = createIssuer(confFor({ address, token: 'root' }, tls));
    onTestFinished(() => issuer.close());
    const error = await caErrorOf(issuer.abilities(live()));
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect([error.message, error.fix]).toEqual([expect.stringMatching(message), expect.stringMatching(fix)]);
    const name = what === 'for another name' ? 'vault.tls-name' : 'vault.tls-trusted';
    expect((await inspectFailed(issuer)).map((check) => check.name)).toEqual([name]);
    expect(requests).toBe(0);
  });
});

describe('what vault says', () => {
  it.each([
    ['the path that was asked for', 'no policy for team/pki/issue/web', 'no policy for team/pki/issue/web'],
    ['the mount and role of the conf', 'see "/team/pki/roles/web".', 'see "/team/pki/roles/web".'],
    ['a path of the same mount', 'see team/pki/roles/finance', 'see [path]'],
    ['a path of another mount', 'denied on secret/data/db, sorry', 'denied on [path], sorry'],
    ['a URL with a password', 'dial postgres://vault:pw@db.corp:5432/vault: refused', 'dial [path] refused'],
    ['a file', 'open /etc/vault/tls.key: no such file', 'open [path] no such file'],
    ['an identity', 'not spiffe://default/web', 'not spiffe://default/web'],
    ['a phrase', 'key_type and/or key_bits', 'key_type and/or key_bits'],
  ])('names no path that the conf does not name: %s', (_what, said, told) => {
    expect(cleanText({ errors: [said] }, SAYABLE)).toBe(told);
  });

  it('names the path with its namespace, where the conf names that', () => {
    const sayable = { ...SAYABLE, namespace: 'eu' };
    expect(cleanText({ errors: ['quota of eu/team/pki/issue/web, us/team/pki/issue/web'] }, sayable)).toBe(
      'quota of eu/team/pki/issue/web, [path]',
    );
  });

  it('is repeated without tokens, keys and line ends', () => {
    const text = cleanText(
      {
        errors: [
          'bad token hvs.CAESIJ0123456789abcdef\r\n\u202eat s.0123456789abcdefghijklmn',
          '-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----',
          'my-own-token',
        ],
      },
      { ...SAYABLE, token: 'my-own-token' },
    );
    expect(text).toBe('bad token [token] at [token]; [PEM]; [token]');
  });

  it('is one line of bounded length, and never holds the token, whatever it is', () => {
    const token = 'opaque-token-0123456789';
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constant(token)), { maxLength: 20 }),
        (errors) => {
          const text = cleanText({ errors }, { ...SAYABLE, token });
          expect(text.length).toBeLessThanOrEqual(303);
          expect(text).not.toContain(token);
          expect(text).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        },
      ),
    );
  });

  it('is left out when it stands anywhere but in the list of errors', async () => {
    const { vault, issuer } = await startBackend(onTestFinished, ['issue']);
    vault.fault = ({ path }) =>
      path === GRANTS.issue[0] ? { status: 500, body: '{"message":"secret stuff"}' } : undefined;
    const error = await caErrorOf(issuer.issueKeyPair({ identity: IDENTITY, ttlSeconds: 60, requestId: '1' }, live()));
    expect(error.message).not.toContain('secret stuff');
  });
});
