import { createPrivateKey, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createTokenSource } from '../../adapters/vault/auth/create-token-source.ts';
import { withoutSecrets } from '../../adapters/vault/auth/login-failure.ts';
import type { LoginCall, TokenSource } from '../../adapters/vault/auth/token-source.ts';
import { type Failure, failed } from '../../adapters/vault/failure.ts';
import { module } from '../../adapters/vault/module.ts';
import { ConfigError } from '../../src/issuer/errors.ts';
import type { IssuerDeps } from '../../src/issuer/issuer.ts';
import { live } from '../conformance/issuer.ts';
import { createTestDeps, TEST_START } from '../conformance/issuer-deps.ts';
import { makeCa } from '../conformance/make-ca.ts';
import { CONTEXT } from '../fakes/vault-backend.ts';

const LIFE = { ttlSeconds: 3600, renewable: true, type: 'service' } as const;
const SECRET_ID = '7a3c1f0e-9d2b-4c55-8a11-5e6f7a8b9c0d';

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwtOf = (claims: object) => `${base64url({ alg: 'ES256' })}.${base64url(claims)}.c2lnbmF0dXJlLW9mLXRoZS10ZXN0`;
const JWT = jwtOf({ sub: 'mesh-ca' });

function sourceOf(auth: unknown, deps: IssuerDeps = createTestDeps()): TokenSource {
  const fromCp = { address: 'https://vault.example:8200', pki: 'pki', role: 'proxies', auth };
  return createTokenSource(CONTEXT, module.parseConf({ fromCp }, CONTEXT), deps);
}

interface SeenLogin {
  readonly path: string;
  readonly body: object;
  readonly certificate: Parameters<LoginCall>[3];
}

/** A Vault that lets everybody in, or answers with a failure. */
function createLogin(failure?: Failure): { seen: SeenLogin[]; call: LoginCall } {
  const seen: SeenLogin[] = [];
  return {
    seen,
    async call(path, body, signal, certificate) {
      signal.throwIfAborted();
      seen.push({ path, body, certificate });
      return failure === undefined
        ? { ok: true, value: { token: `hvs.login-${seen.length}`, life: LIFE } }
        : failed(failure);
    },
  };
}

const client = await makeCa({ name: 'mesh-ca', ca: false });
const CLIENT_TLS = { clientCert: { inlineString: client.certPem }, clientKey: { inlineString: client.keyPem } };

const SENT: readonly [string, unknown, string, object][] = [
  [
    'approle',
    { approle: { roleId: 'role-1', secretId: { inlineString: ` ${SECRET_ID}\n` } } },
    'auth/approle/login',
    { role_id: 'role-1', secret_id: SECRET_ID },
  ],
  ['approle without a secret id', { approle: { roleId: 'r' } }, 'auth/approle/login', { role_id: 'r' }],
  ['jwt', { jwt: { role: 'ca', token: { inlineString: JWT } } }, 'auth/jwt/login', { role: 'ca', jwt: JWT }],
  [
    'kubernetes',
    { kubernetes: { role: 'ca', token: { inlineString: JWT }, mount: '/k8s/east/' } },
    'auth/k8s/east/login',
    { role: 'ca', jwt: JWT },
  ],
  ['tls', { tls: CLIENT_TLS }, 'auth/cert/login', {}],
  [
    'tls with a role',
    { tls: { ...CLIENT_TLS, role: 'ca', mount: 'pki-users' } },
    'auth/pki-users/login',
    { name: 'ca' },
  ],
];

describe('a login at vault', () => {
  it.each(SENT)('by %s sends what Vault wants, once', async (_name, auth, path, body) => {
    const { seen, call } = createLogin();
    const outcome = await sourceOf(auth).obtain(call, live().signal);
    expect(outcome).toMatchObject({ ok: true, value: { token: 'hvs.login-1', life: LIFE } });
    expect(seen.map((one) => [one.path, one.body])).toEqual([[path, body]]);
  });

  it('shows a certificate by tls only, and tells that the token is bound to it', async () => {
    for (const [name, auth] of SENT) {
      const { seen, call } = createLogin();
      const outcome = await sourceOf(auth).obtain(call, live().signal);
      const shown = seen[0]?.certificate;
      expect(shown !== undefined, name).toBe(name.startsWith('tls'));
      expect(outcome, name).toMatchObject({ ok: true, value: shown === undefined ? {} : { clientCertificate: shown } });
    }
  });

  it('does not happen for a token that somebody else made', async () => {
    const source = sourceOf({ token: { inlineString: '\n hvs.given \n' } });
    const { seen, call } = createLogin();
    const outcome = await source.obtain(call, live().signal);
    expect(source).toMatchObject({ method: 'token', logsIn: false });
    expect(outcome).toMatchObject({ ok: true, value: { token: 'hvs.given', life: undefined } });
    expect(seen).toEqual([]);
  });

  it('reads the token of the service account from its file each time: the kubelet replaces it', async () => {
    const file = '/var/run/secrets/kubernetes.io/serviceaccount/token';
    let now = JWT;
    const deps: IssuerDeps = {
      ...createTestDeps(),
      load: async (source) => Buffer.from(source.kind === 'file' && source.file === file ? now : 'wrong'),
    };
    const source = sourceOf({ kubernetes: { role: 'ca' } }, deps);
    const { seen, call } = createLogin();
    await source.obtain(call, live().signal);
    now = jwtOf({ sub: 'mesh-ca', iat: 2 });
    await source.obtain(call, live().signal);
    expect(seen.map(({ body }) => body)).toEqual([
      { role: 'ca', jwt: JWT },
      { role: 'ca', jwt: now },
    ]);
  });

  it('rejects with the reason of its signal, also while a secret is loaded', async () => {
    const deps: IssuerDeps = { ...createTestDeps(), load: () => new Promise(() => {}) };
    const controller = new AbortController();
    const obtaining = sourceOf({ token: { secret: 'slow' } }, deps).obtain(createLogin().call, controller.signal);
    controller.abort(new Error('enough'));
    await expect(obtaining).rejects.toThrow('enough');
  });
});

describe('the fingerprint of a login', () => {
  const READ: readonly [string, unknown, string][] = [
    ['token', { token: { secret: 'it' } }, 'hvs.one'],
    ['approle', { approle: { roleId: 'r', secretId: { secret: 'it' } } }, SECRET_ID],
    ['jwt', { jwt: { role: 'ca', token: { secret: 'it' } } }, JWT],
    ['tls', { tls: { ...CLIENT_TLS, clientCert: { secret: 'it' } } }, client.certPem],
  ];
  it.each(READ)('by %s changes with what is loaded, and is the one of the token', async (_name, auth, first) => {
    const deps = createTestDeps({ secrets: { it: first } });
    const source = sourceOf(auth, deps);
    const before = await source.fingerprint(live().signal);
    const outcome = await source.obtain(createLogin().call, live().signal);
    expect(outcome).toMatchObject({ ok: true, value: { fingerprint: before } });
    expect(before).not.toContain(first);
    // White space around it is no change.
    deps.stored.set('it', Buffer.from(`${first}\n`));
    expect(await source.fingerprint(live().signal)).toBe(before);
    const other = (await makeCa({ name: 'intermediate' })).certPem;
    deps.stored.set(
      'it',
      Buffer.from({ token: 'hvs.two', jwt: jwtOf({}), tls: first + other }[_name] ?? 'other-secret-id'),
    );
    expect(await source.fingerprint(live().signal)).not.toBe(before);
  });

  it('is empty where nothing is loaded', async () => {
    for (const auth of [{ aws: {} }, { aws: { type: 'EC2' } }, { approle: { roleId: 'r' } }]) {
      expect(await sourceOf(auth).fingerprint(live().signal)).toBe('');
    }
  });
});

const otherKey = (await makeCa({ name: 'other', ca: false })).keyPem;
const encryptedKey = createPrivateKey(client.keyPem)
  .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
  .toString();

const UNUSABLE: readonly [string, unknown, string, RegExp][] = [
  ['a secret that is missing', { token: { secret: 'none' } }, 'token', /resource not found/],
  ['an empty token', { token: { inlineString: '' } }, 'token', /holds no token/],
  ['a token of two words', { token: { inlineString: 'hvs.a hvs.b' } }, 'token', /holds no token/],
  ['a token with a line end inside', { token: { inlineString: 'a\r\nX-Vault-Token: b' } }, 'token', /holds no token/],
  [
    'an empty secret id',
    { approle: { roleId: 'r', secretId: { inlineString: '\n' } } },
    'approle.secretId',
    /holds no secret id/,
  ],
  ['a JWT of two parts', { jwt: { role: 'r', token: { inlineString: 'a.b' } } }, 'jwt.token', /holds no JWT/],
  [
    'a service account file that is missing',
    { kubernetes: { role: 'r' } },
    'kubernetes.token',
    /serviceaccount\/token": no such file/,
  ],
  [
    'a certificate that is none',
    { tls: { ...CLIENT_TLS, clientCert: { inlineString: 'no PEM' } } },
    'tls.clientCert',
    /no PEM block CERTIFICATE/,
  ],
  [
    'a certificate that is cut',
    { tls: { ...CLIENT_TLS, clientCert: { inlineString: client.certPem.slice(0, -40) } } },
    'tls.clientCert',
    /cannot be used/,
  ],
  [
    'a certificate as key',
    { tls: { ...CLIENT_TLS, clientKey: { inlineString: client.certPem } } },
    'tls.clientKey',
    /no private key found/,
  ],
  [
    'an encrypted key',
    { tls: { ...CLIENT_TLS, clientKey: { inlineString: encryptedKey } } },
    'tls.clientKey',
    /encrypted/,
  ],
  [
    "somebody else's key",
    { tls: { ...CLIENT_TLS, clientKey: { inlineString: otherKey } } },
    'tls.clientKey',
    /does not belong to the certificate/,
  ],
];

describe('a data source of a login', () => {
  it.each(UNUSABLE)('is refused before Vault is asked: %s', async (_name, auth, field, message) => {
    const { seen, call } = createLogin();
    const error = await sourceOf(auth)
      .obtain(call, live().signal)
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(ConfigError);
    expect(error).toMatchObject({
      message: expect.stringMatching(message),
      fix: expect.stringMatching(/./),
      violations: [{ field: `fromCp.auth.${field}` }],
    });
    expect(seen).toEqual([]);
  });

  it('never shows its content in an error, whatever it holds', async () => {
    const place = (content: string) => [
      { token: { inlineString: content } },
      { approle: { roleId: 'r', secretId: { inlineString: content } } },
      { jwt: { role: 'r', token: { inlineString: content } } },
      { tls: { ...CLIENT_TLS, clientCert: { inlineString: content } } },
      { tls: { ...CLIENT_TLS, clientKey: { inlineString: content } } },
    ];
    const secret = fc.string({ minLength: 12, maxLength: 60 }).map((text) => `hvs ${text}`);
    const pem = secret.map(
      (text) => `-----BEGIN PRIVATE KEY-----\n${Buffer.from(text).toString('base64')}\n-----END PRIVATE KEY-----`,
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(secret, pem), async (content) => {
        for (const auth of place(content)) {
          const error = await sourceOf(auth).obtain(createLogin().call, live().signal).catch(String);
          expect(String(error)).not.toContain(content.slice(-45));
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('the client certificate', () => {
  it('comes first, whatever the order in the file, and nothing but certificates goes along', async () => {
    const root = await makeCa({ name: 'root' });
    const intermediate = await makeCa({ name: 'intermediate', issuer: root });
    const leaf = await makeCa({ name: 'mesh-ca', issuer: intermediate, ca: false });
    const everything = `${root.certPem}${leaf.keyPem}${intermediate.certPem}${leaf.certPem}`;
    const { seen, call } = createLogin();
    const tls = { clientCert: { inlineString: everything }, clientKey: { inlineString: everything } };
    await sourceOf({ tls }).obtain(call, live().signal);
    const { certPem = '', keyPem = '' } = seen[0]?.certificate ?? {};
    const names = certPem
      .split(/(?<=-----END CERTIFICATE-----\n)/)
      .map((pem) => new X509Certificate(pem).subject.replace('CN=', ''));
    expect(names).toEqual(['mesh-ca', 'root', 'intermediate']);
    expect(certPem).not.toContain('PRIVATE');
    expect(keyPem).not.toContain('CERTIFICATE');
  });
});

const refusal = (status: number, said: string): Failure => ({
  ...{ kind: 'denied', message: 'vault at x denies access', fix: 'check the token', status, said },
});

const METHODS = {
  approle: { roleId: 'r', secretId: { inlineString: SECRET_ID } },
  jwt: { role: 'ca', token: { inlineString: JWT } },
  kubernetes: { role: 'ca', token: { inlineString: JWT } },
  tls: CLIENT_TLS,
  aws: {},
} as const;
const APPROLE = { approle: METHODS.approle };

/** What OpenBao 2.7 says (for aws: what stands in Vault's sources), and what comes of it. */
const REFUSALS: readonly [keyof typeof METHODS, number, string, string, RegExp, RegExp][] = [
  ['approle', 400, 'missing secret_id', 'denied', /wants a secret id/, /approle\.secretId/],
  ['approle', 400, 'invalid role or secret ID', 'denied', /used up/, /auth\/approle\/role\/<role>\/secret-id/],
  ['approle', 403, 'permission denied', 'denied', /no auth method/, /vault auth enable -path=approle approle/],
  ['approle', 404, 'no handler for route "auth/approle/login"', 'absent', /no auth method/, /vault auth enable/],
  ['approle', 404, 'unsupported path', 'absent', /no auth method/, /approle\.mount/],
  ['jwt', 400, 'could not load configuration', 'absent', /never configured/, /auth\/jwt\/config/],
  ['jwt', 400, 'role "ca" could not be found', 'absent', /no such role/, /vault write auth\/jwt\/role\/ca/],
  [
    'jwt',
    400,
    'error validating token: invalid expiration time (exp) claim: token is expired',
    'denied',
    /expired/,
    /fresh/,
  ],
  ['jwt', 400, 'error validating token: invalid audience (aud) claim: ...', 'denied', /audience/, /bound_audiences/],
  ['jwt', 400, 'error validating token: invalid subject (sub) claim', 'denied', /bound claims/, /bound_subject/],
  ['jwt', 400, 'error validating token: invalid issuer (iss) claim', 'denied', /bound claims/, /issuer/],
  ['jwt', 400, 'error validating token: invalid not before (nbf) claim: token not yet valid', 'denied', /time/, /NTP/],
  ['jwt', 400, 'error validating token: error verifying token signature: no known key', 'denied', /no key/, /config/],
  ['kubernetes', 400, 'invalid role name "ca"', 'absent', /no such role/, /auth\/kubernetes\/role\/ca/],
  [
    'kubernetes',
    403,
    'service account name not authorized',
    'denied',
    /service account/,
    /bound_service_account_names/,
  ],
  ['kubernetes', 403, 'permission denied', 'denied', /does not confirm the token/, /auth-delegator/],
  ['tls', 400, 'no client certificate found', 'denied', /did not see/, /pass TLS through/],
  [
    'tls',
    400,
    'invalid certificate or no client certificate supplied',
    'denied',
    /intermediate is missing/,
    /auth\/cert\/certs/,
  ],
  [
    'tls',
    400,
    'no chain matching all constraints could be found for this login certificate',
    'denied',
    /constraints/,
    /allowed_common_names/,
  ],
  [
    'tls',
    500,
    "failed to verify client's certificate: x509: certificate has expired or is not yet valid",
    'denied',
    /expired/,
    /renew/,
  ],
  [
    'tls',
    500,
    "failed to verify client's certificate: x509: certificate specifies an incompatible key usage",
    'denied',
    /clients/,
    /clientAuth/,
  ],
  ['aws', 400, 'entry for role "x" not found', 'absent', /no such role/, /auth\/aws\/role\/<role>/],
  [
    'aws',
    400,
    'error validating X-Vault-AWS-IAM-Server-ID header: missing header',
    'denied',
    /server id/,
    /iamServerIdHeader/,
  ],
  ['aws', 400, 'IAM Principal "arn" does not belong to the role "x"', 'denied', /principal/, /bound_iam_principal_arn/],
  ['aws', 400, 'client nonce mismatch', 'denied', /nonce/, /identity-accesslist/],
  [
    'aws',
    400,
    'error making upstream request: received error code 403 from STS: Signature expired',
    'denied',
    /time/,
    /NTP/,
  ],
  ['aws', 400, 'error making upstream request: received error code 403 from STS: x', 'denied', /STS/, /sts_endpoint/],
];

describe('a refused login', () => {
  it.each(REFUSALS)(
    'by %s with status %i and "%s" is told in words of the method',
    async (method, status, said, kind, message, fix) => {
      const auth = { [method]: METHODS[method] };
      stubAwsCredentials();
      const outcome = await sourceOf(auth).obtain(createLogin(refusal(status, said)).call, live().signal);
      expect(outcome).toMatchObject({
        ok: false,
        failure: { kind, message: expect.stringMatching(message), fix: expect.stringMatching(fix), status },
      });
      expect(outcome).toMatchObject({ failure: { message: expect.stringContaining(said) } });
    },
  );

  it.each([
    ['sealed', 503, 'Vault is sealed'],
    ['rate-limited', 429, 'request path "auth/approle/login": rate limit quota exceeded'],
    ['standby', 473, ''],
    ['server', 500, 'internal error'],
    ['absent', 404, 'namespace not found'],
  ] as const)('stays as it is when it is not about the login: %s', async (kind, status, said) => {
    const failure: Failure = { kind, message: 'vault at x does', fix: 'do', status, said, retryAfterMs: 7 };
    const outcome = await sourceOf(APPROLE).obtain(createLogin(failure).call, live().signal);
    expect(outcome).toEqual({ ok: false, failure });
  });

  it('stays as it is when there was no answer', async () => {
    const failure: Failure = { kind: 'network', message: 'vault at x refuses connections', fix: 'start Vault' };
    expect(await sourceOf(APPROLE).obtain(createLogin(failure).call, live().signal)).toEqual({ ok: false, failure });
  });

  const nowSeconds = TEST_START.getTime() / 1000;
  it.each([
    [
      'a JWT that has expired',
      { jwt: { role: 'r', token: { inlineString: jwtOf({ exp: nowSeconds - 60 }) } } },
      /expired 60 s ago/,
    ],
    [
      'a JWT from the future',
      { kubernetes: { role: 'r', token: { inlineString: jwtOf({ nbf: nowSeconds + 60 }) } } },
      /not valid before in 60 s/,
    ],
  ] as const)('names what is odd about %s', async (_name, auth, message) => {
    const outcome = await sourceOf(auth).obtain(createLogin(refusal(403, 'permission denied')).call, live().signal);
    expect(outcome).toMatchObject({ failure: { message: expect.stringMatching(message) } });
    // Vault decides: our clock may be the wrong one.
    expect(await sourceOf(auth).obtain(createLogin().call, live().signal)).toMatchObject({ ok: true });
  });

  it('names a client certificate that has expired', async () => {
    const old = await makeCa({ name: 'old', ca: false, fromDay: -30, toDay: -1 });
    const tls = { clientCert: { inlineString: old.certPem }, clientKey: { inlineString: old.keyPem } };
    const outcome = await sourceOf({ tls }).obtain(
      createLogin(refusal(400, 'invalid certificate')).call,
      live().signal,
    );
    expect(outcome).toMatchObject({ failure: { message: expect.stringMatching(/clientCert expired at/) } });
  });

  it.each([
    ['whole', SECRET_ID],
    ['cut', `${SECRET_ID.slice(0, 20)}...`],
  ])('does not repeat a secret that Vault repeats: %s', async (_name, repeated) => {
    const failure = refusal(400, `secret_id "${repeated}" is wrong`);
    const outcome = await sourceOf(APPROLE).obtain(createLogin(failure).call, live().signal);
    expect(outcome).toMatchObject({ ok: false, failure: { said: 'secret_id "[secret]" is wrong' } });
    expect(JSON.stringify(outcome)).not.toContain(SECRET_ID.slice(0, 12));
  });

  it('does not repeat any word of a secret that has 8 characters or more', () => {
    const parts = fc.tuple(fc.string(), fc.stringMatching(/^[A-Za-z0-9_.-]{8,60}$/), fc.string(), fc.nat(), fc.nat());
    fc.assert(
      fc.property(parts, ([before, secret, after, from, length]) => {
        const start = from % (secret.length - 7);
        const piece = secret.slice(start, start + 8 + (length % 60));
        expect(withoutSecrets(`${before} ${piece} ${after}`, [secret])).toContain(' [secret] ');
      }),
    );
  });
});

function stubAwsCredentials(): void {
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIAIOSFODNN7EXAMPLE');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY');
}
