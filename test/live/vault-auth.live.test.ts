import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import * as x509 from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { createTokenSource } from '../../adapters/vault/auth/create-token-source.ts';
import { module } from '../../adapters/vault/module.ts';
import { IssuerDeniedError } from '../../src/issuer/errors.ts';
import type { Issuer } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { type StartedOpenBao, startOpenBao } from '../../testcontainers/openbao.ts';
import { setUpPki } from '../../testcontainers/vault-pki.ts';
import { live, requestFor } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { type CaSpec, makeCa, type TestCa } from '../conformance/make-ca.ts';
import { serviceAccountClaims, startTokenReviewer } from '../fakes/fake-token-reviewer.ts';
import type { ListeningFake } from '../fakes/listen.ts';
import { CONTEXT, createIssuer } from '../fakes/vault-backend.ts';
import { IDENTITY } from '../support/identity.ts';
import { makeJwtKey } from '../support/make-jwt.ts';
import { createLoginCall } from '../support/vault-login-call.ts';

const jwtKeys = { ES256: makeJwtKey('ES256'), RS256: makeJwtKey('RS256') };
const strangerKey = makeJwtKey('ES256');
const clusterKey = makeJwtKey('ES256');

let bao: StartedOpenBao;
let reviewer: ListeningFake;
let pki: Awaited<ReturnType<typeof makeClientPki>>;
let approle: { readonly roleId: string; readonly openRoleId: string };

beforeAll(async () => {
  [bao, reviewer, pki] = await Promise.all([
    startOpenBao({ tls: true, print: (line) => void process.stdout.write(`${line}\n`) }),
    startTokenReviewer(clusterKey),
    makeClientPki(),
  ]);
  await setUpPki(bao, { policy: 'sign', roleFile: 'role-dataplane-proxies-sign.json' });
  for (const type of ['approle', 'cert', 'jwt', 'kubernetes']) await bao.must('POST', `sys/auth/${type}`, { type });
  await bao.must('POST', 'auth/cert/certs/mesh-ca', { ...(await roleFile('cert')), certificate: pki.root.certPem });
  await bao.must('POST', 'auth/jwt/config', {
    jwt_validation_pubkeys: [jwtKeys.ES256.publicPem, jwtKeys.RS256.publicPem],
  });
  await bao.must('POST', 'auth/jwt/role/mesh-ca', await roleFile('jwt'));
  await bao.must('POST', 'auth/kubernetes/config', {
    ...{ kubernetes_host: reviewer.address, kubernetes_ca_cert: bao.caCertPem, disable_local_ca_jwt: true },
    token_reviewer_jwt: clusterKey.sign(serviceAccountClaims('vault-reviewer')),
  });
  await bao.must('POST', 'auth/kubernetes/role/mesh-ca', await roleFile('kubernetes'));
  const role = await roleFile('approle');
  await bao.must('POST', 'auth/approle/role/mesh-ca', role);
  await bao.must('POST', 'auth/approle/role/open', {
    ...{ ...role, bind_secret_id: false, secret_id_bound_cidrs: ['127.0.0.1/32'] },
  });
  await bao.must('POST', 'auth/approle/role/once', { ...role, secret_id_num_uses: 1 });
  approle = { roleId: await readRoleId('mesh-ca'), openRoleId: await readRoleId('open') };
});
afterAll(async () => {
  await bao?.close();
  await reviewer?.close();
});

/** The very document of policies/vault. */
async function roleFile(method: string): Promise<object> {
  const text = await readFile(new URL(`../../policies/vault/auth-${method}.json`, import.meta.url), 'utf8');
  return Object(JSON.parse(text));
}

async function readRoleId(role: string): Promise<string> {
  return dataOf(await bao.must('GET', `auth/approle/role/${role}/role-id`), 'role_id');
}

async function newSecretId(role: string): Promise<{ inlineString: string }> {
  return { inlineString: dataOf(await bao.must('POST', `auth/approle/role/${role}/secret-id`), 'secret_id') };
}

function dataOf(reply: unknown, field: string): string {
  return String(Reflect.get(Object(Reflect.get(Object(reply), 'data')), field));
}

/** Client certificates below root and intermediate, good and bad. */
async function makeClientPki() {
  const usage = (oid: string) => ({
    ...{ ca: false, keyUsage: x509.KeyUsageFlags.digitalSignature },
    extensions: [new x509.ExtendedKeyUsageExtension([oid])],
  });
  const [forClients, forServers] = [usage(x509.ExtendedKeyUsage.clientAuth), usage(x509.ExtendedKeyUsage.serverAuth)];
  const root = await makeCa({ name: 'clients root' });
  const issuer = await makeCa({ name: 'clients intermediate', issuer: root });
  const leaf = (more: Partial<CaSpec> = {}) => makeCa({ name: 'mesh-ca', issuer, ...forClients, ...more });
  return {
    ...{ root, issuer },
    ...{ good: await leaf(), expired: await leaf({ fromDay: -20, toDay: -1 }), named: await leaf({ name: 'other' }) },
    ...{ stranger: await leaf({ issuer: await makeCa({ name: 'stranger' }) }), ofServer: await leaf(forServers) },
  };
}

function tlsAuth({ certPem, keyPem }: TestCa, intermediates = pki.issuer.certPem) {
  return { clientCert: { inlineString: `${certPem}${intermediates}` }, clientKey: { inlineString: keyPem } };
}

function claims(changes: Readonly<Record<string, unknown>> = {}): object {
  const nowSeconds = Math.floor(Date.now() / 1000);
  return { sub: 'mesh-ca', aud: 'vault', iat: nowSeconds, exp: nowSeconds + 600, ...changes };
}

const jwtAuth = (jwt: string, role = 'mesh-ca') => ({ jwt: { role, token: { inlineString: jwt } } });
const kubernetesAuth = (jwt: string, role = 'mesh-ca') => ({ kubernetes: { role, token: { inlineString: jwt } } });

function confOf(auth: unknown): { fromCp: Record<string, unknown> } {
  const tls = { caCert: { inlineString: bao.caCertPem } };
  return { fromCp: { address: bao.address, pki: 'kmesh-pki-default', role: 'dataplane-proxies', tls, auth } };
}

/** An issuer that ends with the test. */
function issuerFor(auth: unknown): Issuer {
  const issuer = createIssuer(confOf(auth), createTestDeps({ clock: systemClock }));
  onTestFinished(() => issuer.close());
  return issuer;
}

const WAYS: readonly [string, () => unknown | Promise<unknown>][] = [
  ['tls, by a certificate below an intermediate', () => ({ tls: tlsAuth(pki.good) })],
  ['tls, naming the role', () => ({ tls: { ...tlsAuth(pki.good), role: 'mesh-ca' } })],
  ['approle', async () => ({ approle: { roleId: approle.roleId, secretId: await newSecretId('mesh-ca') } })],
  ['approle without a secret id', () => ({ approle: { roleId: approle.openRoleId } })],
  ['jwt, signed with EC', () => jwtAuth(jwtKeys.ES256.sign(claims()))],
  ['jwt, signed with RSA', () => jwtAuth(jwtKeys.RS256.sign(claims()))],
  ['kubernetes', () => kubernetesAuth(clusterKey.sign(serviceAccountClaims('mesh-ca')))],
];

describe('a real vault server', () => {
  it.each(WAYS)('lets mesh-ca in and signs, with the role of policies/vault: %s', async (_name, auth) => {
    const issuer = issuerFor(await auth());
    const issued = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 3600), live());
    expect(parseCertificate(issued.leaf).uriSans).toEqual(IDENTITY.uriSans);
  });

  it('logs in once for many certificates', async () => {
    const before = await countTokens();
    const issuer = issuerFor({ tls: tlsAuth(pki.good) });
    const request = await requestFor(IDENTITY, 'EC-P256', 3600);
    await Promise.all(Array.from({ length: 8 }, () => issuer.sign(request, live())));
    expect(await countTokens()).toBe(before + 1);
    await issuer.close();
    expect(await countTokens()).toBe(before);
  });

  it('renews the token of a certificate over connections that show the certificate', async () => {
    await bao.must('POST', 'auth/cert/certs/short', {
      ...{ ...(await roleFile('cert')), certificate: pki.root.certPem },
      ...{ token_ttl: '3s', token_max_ttl: '1h' },
    });
    const before = new Set(await listAccessors());
    const newAccessors = async () => (await listAccessors()).filter((accessor) => !before.has(accessor));
    const issuer = issuerFor({ tls: { ...tlsAuth(pki.good), role: 'short' } });
    const request = await requestFor(IDENTITY, 'EC-P256', 60);
    await issuer.sign(request, live());
    const atFirst = await newAccessors();
    expect(atFirst).toHaveLength(1);
    await systemClock.sleep(4000);
    await issuer.sign(request, live());
    expect(await newAccessors()).toEqual(atFirst);
  });

  it('is asked about a replaced service account token at the next login', async () => {
    const deps = createTestDeps({ clock: systemClock, secrets: { sa: '' } });
    const conf = module.parseConf(confOf({ kubernetes: { role: 'mesh-ca', token: { secret: 'sa' } } }), CONTEXT);
    const source = createTokenSource(CONTEXT, conf, deps);
    const jwts = [590, 610].map((age) => clusterKey.sign(serviceAccountClaims('mesh-ca', age)));
    for (const jwt of jwts) {
      deps.stored.set('sa', Buffer.from(`${jwt}\n`));
      const outcome = await source.obtain(createLoginCall(CONTEXT, conf, deps), live().signal);
      expect(outcome).toMatchObject({
        ok: true,
        value: { life: { ttlSeconds: 3600, renewable: true, type: 'service' } },
      });
      expect(reviewer.seen.at(-1)?.body.toString()).toContain(jwt);
    }
  });
});

async function countTokens(): Promise<number> {
  return (await listAccessors()).length;
}

async function listAccessors(): Promise<readonly string[]> {
  const reply = await bao.must('GET', 'auth/token/accessors?list=true');
  const keys: unknown = Reflect.get(Object(Reflect.get(Object(reply), 'data')), 'keys');
  return Array.isArray(keys) ? keys.map(String) : [];
}

const REFUSED: readonly [string, () => unknown | Promise<unknown>, RegExp, RegExp][] = [
  [
    'a certificate of another CA',
    () => ({ tls: tlsAuth(pki.stranger) }),
    /refuses the client certificate: no role has its CA/,
    /vault list auth\/cert\/certs/,
  ],
  [
    'a certificate without its intermediate',
    () => ({ tls: tlsAuth(pki.good, '') }),
    /an intermediate is missing/,
    /put the intermediate certificates behind/,
  ],
  ['a certificate that has expired', () => ({ tls: tlsAuth(pki.expired) }), /clientCert expired at/, /renew/],
  ['a certificate for servers', () => ({ tls: tlsAuth(pki.ofServer) }), /not made for clients/, /clientAuth/],
  ['a certificate of another name', () => ({ tls: tlsAuth(pki.named) }), /constraints/, /allowed_common_names/],
  [
    'a certificate role that is not there',
    () => ({ tls: { ...tlsAuth(pki.good), role: 'none' } }),
    /the role has another name/,
    /vault list auth\/cert\/certs/,
  ],
  [
    'a role id without its secret id',
    () => ({ approle: { roleId: approle.roleId } }),
    /wants a secret id/,
    /fromCp\.auth\.approle\.secretId/,
  ],
  [
    'a secret id of another role',
    async () => ({ approle: { roleId: approle.roleId, secretId: await newSecretId('once') } }),
    /refuses the role id or the secret id/,
    /secret-id/,
  ],
  [
    'a secret id that is used up',
    async () => {
      const secretId = await newSecretId('once');
      const roleId = await readRoleId('once');
      await bao.must('POST', 'auth/approle/login', { role_id: roleId, secret_id: secretId.inlineString });
      return { approle: { roleId, secretId } };
    },
    /used up/,
    /vault write -f -field=secret_id/,
  ],
  [
    'a JWT that has expired',
    () => jwtAuth(jwtKeys.ES256.sign(claims({ iat: 1_700_000_000, exp: 1_700_000_600 }))),
    /refuses the JWT: it has expired .* the JWT of fromCp\.auth\.jwt\.token expired \d+ s ago/,
    /give a fresh one/,
  ],
  [
    'a JWT for another audience',
    () => jwtAuth(jwtKeys.RS256.sign(claims({ aud: 'other' }))),
    /another audience/,
    /bound_audiences/,
  ],
  [
    'a JWT of another subject',
    () => jwtAuth(jwtKeys.ES256.sign(claims({ sub: 'x' }))),
    /bound claims/,
    /bound_subject/,
  ],
  [
    'a JWT of a stranger',
    () => jwtAuth(strangerKey.sign(claims())),
    /no key of its configuration/,
    /auth\/jwt\/config/,
  ],
  ['a JWT role that is not there', () => jwtAuth(jwtKeys.ES256.sign(claims()), 'none'), /no such role/, /role\/none/],
  [
    'a service account that the role does not name',
    () => kubernetesAuth(clusterKey.sign(serviceAccountClaims('other'))),
    /refuses the service account/,
    /bound_service_account_names/,
  ],
  [
    'a service account token that the cluster does not confirm',
    () => kubernetesAuth(strangerKey.sign(serviceAccountClaims('mesh-ca'))),
    /does not confirm the token/,
    /system:auth-delegator/,
  ],
  [
    'a kubernetes role that is not there',
    () => kubernetesAuth(clusterKey.sign(serviceAccountClaims('mesh-ca')), 'none'),
    /no such role/,
    /vault write auth\/kubernetes\/role\/none/,
  ],
  [
    'an auth method that is not there',
    () => ({ approle: { roleId: 'r', secretId: { inlineString: 's' }, mount: 'none' } }),
    /no auth method at this path/,
    /vault auth enable -path=none approle/,
  ],
];

describe('a real vault server refuses', () => {
  it.each(REFUSED)('%s, and the error says what to do', async (_name, auth, message, fix) => {
    const given = await auth();
    const error = await issuerFor(given)
      .abilities(live())
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error).toMatchObject({ message: expect.stringMatching(message), fix: expect.stringMatching(fix) });
    const secret =
      JSON.stringify(given)
        .match(/"inlineString":"([^"]{20,})"/)?.[1]
        ?.slice(0, 40) ?? '-';
    expect(String(error)).not.toContain(secret);
  });
});
