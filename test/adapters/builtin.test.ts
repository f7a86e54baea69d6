import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { module } from '../../adapters/builtin/module.ts';
import { ADAPTERS } from '../../adapters/index.ts';
import {
  ConfigError,
  IssuerDeniedError,
  IssuerUnavailableError,
  RequestInvalidError,
} from '../../src/issuer/errors.ts';
import { type Issuer, isProvisioner } from '../../src/issuer/issuer.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { live, requestFor, testIssuer } from '../conformance/issuer.ts';
import { createTestDeps, TEST_START, type TestDeps } from '../conformance/issuer-deps.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll } from '../support/inspect-all.ts';
import { violationsByField } from '../support/violations-by-field.ts';

const CONTEXT = { mesh: 'default', backend: 'ca-1' };
const CERT = 'default.ca-builtin-cert-ca-1';
const KEY = 'default.ca-builtin-key-ca-1';
const GENERATIONS = 'default.ca-builtin-gens-ca-1';
const EC = { caCert: { keyType: 'EC-P256' } };
const DAY_MS = 24 * 3600 * 1000;

function create(
  deps: TestDeps,
  conf: unknown = EC,
): Issuer & { ensure(options: { signal: AbortSignal }): Promise<void> } {
  const issuer = module.create(CONTEXT, module.parseConf(conf, CONTEXT), deps);
  if (!isProvisioner(issuer)) throw new TypeError('builtin makes its own CA');
  return issuer;
}

/** Each kind of CA is made once: RSA keys are slow. */
const made = new Map<string, Promise<Readonly<Record<string, Buffer>>>>();
function secretsOf(conf: unknown): Promise<Readonly<Record<string, Buffer>>> {
  const id = JSON.stringify(conf);
  const known =
    made.get(id) ??
    (async () => {
      const deps = createTestDeps();
      await create(deps, conf).ensure(live());
      return Object.fromEntries(deps.stored);
    })();
  made.set(id, known);
  return known;
}

testIssuer('builtin, EC P-256, made by the suite', () => ({ module, conf: EC, deps: createTestDeps() }));
for (const conf of [{ caCert: { keyType: 'EC-P384' } }, {}, { caCert: { RSAbits: 3072 } }]) {
  testIssuer(`builtin, ${JSON.stringify(conf)}`, async () => ({
    module,
    conf,
    deps: createTestDeps({ secrets: await secretsOf(conf) }),
    keyTypes: ['EC-P256', 'RSA-2048'],
  }));
}

describe('the conf of builtin', () => {
  const accepted: readonly [name: string, conf: unknown, keyType: string, expirationMs: number][] = [
    ['nothing', undefined, 'RSA-2048', 3650 * DAY_MS],
    ['null', null, 'RSA-2048', 3650 * DAY_MS],
    ['an empty object', {}, 'RSA-2048', 3650 * DAY_MS],
    ["the page's example", { caCert: { RSAbits: 2048, expiration: '10y' } }, 'RSA-2048', 3650 * DAY_MS],
    ['more bits', { caCert: { RSAbits: 4096 } }, 'RSA-4096', 3650 * DAY_MS],
    ['bits as text, as protobuf JSON allows', { caCert: { RSAbits: '3072' } }, 'RSA-3072', 3650 * DAY_MS],
    ["the Terraform provider's spelling", { caCert: { rsaBits: 3072 } }, 'RSA-3072', 3650 * DAY_MS],
    ['an empty expiration', { caCert: { expiration: '' } }, 'RSA-2048', 3650 * DAY_MS],
    ['a short expiration', { caCert: { expiration: '1m' } }, 'RSA-2048', 60_000],
    ['keyType RSA with bits', { caCert: { keyType: 'RSA', RSAbits: 3072 } }, 'RSA-3072', 3650 * DAY_MS],
    ['keyType EC', { caCert: { keyType: 'EC-P384', expiration: '1y' } }, 'EC-P384', 365 * DAY_MS],
    ['unknown fields, as Kuma', { other: 1, caCert: { other: 1 } }, 'RSA-2048', 3650 * DAY_MS],
  ];
  for (const [name, conf, keyType, expirationMs] of accepted) {
    it(`accepts ${name}`, () => expect(module.parseConf(conf, CONTEXT)).toEqual({ caCert: { keyType, expirationMs } }));
  }

  const format = 'has to be a valid format: one number with one unit of y, w, d, h, m, s, ms, such as 10y';
  const bits = 'has to be one of 2048, 3072, 4096';
  const refused: readonly [name: string, conf: unknown, violations: Readonly<Record<string, string>>][] = [
    ['a list', [], { '': 'could not convert backend config: has to be an object' }],
    ['a caCert that is no object', { caCert: 'x' }, { caCert: 'has to be an object, got a string' }],
    ['weak RSA', { caCert: { RSAbits: 1024 } }, { 'caCert.RSAbits': bits }],
    ['odd RSA', { caCert: { RSAbits: 2049 } }, { 'caCert.RSAbits': bits }],
    ['bits of another type', { caCert: { RSAbits: true } }, { 'caCert.RSAbits': bits }],
    ['two units', { caCert: { expiration: '1h30m' } }, { 'caCert.expiration': format }],
    ['a number as expiration', { caCert: { expiration: 10 } }, { 'caCert.expiration': format }],
    ['a CA without life', { caCert: { expiration: '0' } }, { 'caCert.expiration': 'has to be between 1m and 100y' }],
    [
      'a CA that outlives us all',
      { caCert: { expiration: '101y' } },
      { 'caCert.expiration': 'has to be between 1m and 100y' },
    ],
    [
      'an unknown key type',
      { caCert: { keyType: 'DSA' } },
      { 'caCert.keyType': 'has to be one of RSA, EC-P256, EC-P384' },
    ],
    [
      'bits of an EC key, beside a bad expiration',
      { caCert: { keyType: 'EC-P256', RSAbits: 2048, expiration: 'soon' } },
      { 'caCert.expiration': format, 'caCert.RSAbits': 'cannot be set when keyType is EC-P256' },
    ],
    [
      'both spellings',
      { caCert: { RSAbits: 2048, rsaBits: 4096 } },
      { 'caCert.rsaBits': 'cannot be set together with RSAbits: it is another name for it' },
    ],
  ];
  for (const [name, conf, violations] of refused) {
    it(`refuses ${name}, naming the field`, () => expect(violationsOf(conf)).toEqual(violations));
  }

  const names: readonly [backend: string, message: string | undefined][] = [
    ['ca-1', undefined],
    ['-ca', undefined],
    ['ca_1', undefined],
    ['team.ca', undefined],
    ['builtinCA', '"builtinCA" name must be valid dns name'],
    ['ca 1', '"ca 1" name must be valid dns name'],
    ['ca/1', '"ca/1" name must be valid dns name'],
    [Array.from({ length: 19 }, () => 'backend-long').join('.'), 'Backend name is too long. Max length: 255'],
  ];
  for (const [backend, message] of names) {
    it(`${message === undefined ? 'accepts' : 'refuses'} the backend name ${backend.slice(0, 30)}, as Kuma does`, () => {
      expect(violationsOf({}, backend)).toEqual(message === undefined ? {} : { 'mtls.backends.name': message });
    });
  }

  it('never throws anything but a ConfigError, whatever it is given', () => {
    fc.assert(
      fc.property(fc.anything(), fc.string(), (conf, backend) => {
        expect(() => violationsOf({ caCert: conf }, backend)).not.toThrow();
        expect(() => violationsOf(conf, backend)).not.toThrow();
      }),
    );
  });

  it('uses the two secrets that the product page names, and one of ours', () => {
    expect(module.usedSecrets(module.parseConf({}, CONTEXT), CONTEXT)).toEqual([CERT, KEY, GENERATIONS]);
  });
});

describe('the CA of builtin', () => {
  it('is stored as Kuma stores it: a certificate, and a PKCS#1 key for RSA', async () => {
    const secrets = await secretsOf({});
    expect(Object.keys(secrets)).toEqual([CERT, KEY]);
    expect(String(secrets[CERT])).toMatch(/^-----BEGIN CERTIFICATE-----\n/);
    expect(String(secrets[KEY])).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/);
    const certificate = new X509Certificate(String(secrets[CERT]));
    expect(certificate.checkPrivateKey(createPrivateKey(String(secrets[KEY])))).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.modulusLength).toBe(2048);
  });

  it('is stored as SEC1 for EC', async () => {
    const secrets = await secretsOf(EC);
    expect(String(secrets[KEY])).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);
    expect(createPublicKey(String(secrets[KEY])).asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
  });

  it("has Kuma's subject, SPIFFE ID, usages and times, and a positive serial number", async () => {
    const secrets = await secretsOf(EC);
    const [block] = decodePem(String(secrets[CERT]));
    const root = parseCertificate(block?.der ?? Buffer.alloc(0));
    expect(root.subject.split(',').sort()).toEqual(['CN=default', 'O=Kuma', 'OU=Mesh']);
    expect(root.uriSans).toEqual(['spiffe://default']);
    expect(root.basicConstraints?.ca).toBe(true);
    expect([...(root.keyUsage ?? [])].sort()).toEqual(['cRLSign', 'keyCertSign']);
    expect(root.isSelfIssued).toBe(true);
    const second = Math.floor(TEST_START.getTime() / 1000) * 1000;
    expect(root.notBefore).toEqual(new Date(second - 10_000));
    expect(root.notAfter).toEqual(new Date(second + 3650 * DAY_MS));
    expect(BigInt(`0x${root.serialNumber}`)).toBeGreaterThan(0n);
    expect(root.serialNumber.length).toBeLessThanOrEqual(32);
  });

  for (const [name, byte, serialNumber] of [
    ['all bits set', 0xff, `7f${'ff'.repeat(15)}`],
    ['no bit set', 0, '01'],
  ] as const) {
    it(`has a positive serial number of at most 127 bits, also when chance gives ${name}`, async () => {
      const random = { bytes: (length: number) => Buffer.alloc(length, byte), uniform: () => 0 };
      const deps = createTestDeps({ random });
      const issuer = create(deps);
      await issuer.ensure(live());
      const issued = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live());
      for (const der of [issued.leaf, ...issued.roots]) expect(parseCertificate(der).serialNumber).toBe(serialNumber);
    });
  }

  it('is made once when eight instances race, and all of them trust the same root', async () => {
    const deps = createTestDeps();
    const issuers = Array.from({ length: 8 }, () => create(deps));
    await Promise.all(issuers.map((issuer) => issuer.ensure(live())));
    const roots = await Promise.all(
      issuers.map(async (issuer) => (await issuer.trustBundle(live())).roots[0]?.toString('hex')),
    );
    expect(new Set(roots).size).toBe(1);
    expect([...deps.stored.keys()].sort()).toEqual([CERT, KEY]);
    expect(deps.writes.count).toBe(8);
  });

  it('is made beside other work: an RSA key never holds up the event loop', async () => {
    let turns = 0;
    let running = true;
    const turn = () => {
      turns += 1;
      if (running) setImmediate(turn);
    };
    setImmediate(turn);
    await create(createTestDeps(), { caCert: { RSAbits: 3072 } }).ensure(live());
    running = false;
    expect(turns).toBeGreaterThan(10);
  });

  it('stays as it is when ensured again', async () => {
    const deps = createTestDeps();
    await create(deps).ensure(live());
    const before = new Map(deps.stored);
    await create(deps, { caCert: { keyType: 'EC-P384' } }).ensure(live());
    expect(deps.stored).toEqual(before);
    expect(deps.writes.count).toBe(1);
  });

  it('is not stored when the caller has gone while the key was made', async () => {
    const deps = createTestDeps();
    const controller = new AbortController();
    const ensuring = create(deps).ensure({ signal: controller.signal });
    controller.abort(new Error('the caller hung up'));
    await expect(ensuring).rejects.toThrow('the caller hung up');
    expect(deps.stored.size).toBe(0);
  });

  for (const [missing, present] of [
    [CERT, KEY],
    [KEY, CERT],
  ] as const) {
    it(`is never half replaced: with ${missing} gone it says so and touches nothing`, async () => {
      const deps = createTestDeps({ secrets: await secretsOf(EC) });
      deps.stored.delete(missing);
      const error = await create(deps)
        .ensure(live())
        .catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(ConfigError);
      expect(error).toMatchObject({
        message: `failed to load CA key pair for Mesh "default" and backend "ca-1": resource not found: type="Secret" name="${missing}" mesh="default" while "${present}" exists`,
        fix: expect.stringContaining(`restore the secret "${missing}"`),
      });
      expect([...deps.stored.keys()]).toEqual([present]);
      expect(deps.writes.count).toBe(0);
    });
  }

  it('is found whole when another instance stores it between two reads', async () => {
    const secrets = await secretsOf(EC);
    const deps = createTestDeps();
    let first = true;
    const read = async (name: string) => {
      if (!first || name !== CERT) return deps.secrets.read(name);
      first = false;
      for (const [key, value] of Object.entries(secrets)) deps.stored.set(key, value);
      return undefined;
    };
    const racing = { ...deps, secrets: { ...deps.secrets, read } };
    await create(racing).ensure(live());
    expect(deps.writes.count).toBe(0);
  });

  it('refuses a key of another certificate, at ensure and at use', async () => {
    const deps = createTestDeps({ secrets: { ...(await secretsOf({})), [KEY]: (await secretsOf(EC))[KEY] ?? '' } });
    const issuer = create(deps);
    await expect(issuer.ensure(live())).rejects.toThrow(/are no CA key pair: tls: private key/);
    await expect(issuer.trustBundle(live())).rejects.toBeInstanceOf(ConfigError);
  });

  it("says in Kuma's words that it was not made yet, and works once it is", async () => {
    const deps = createTestDeps();
    const issuer = create(deps);
    const message = `failed to load CA key pair for Mesh "default" and backend "ca-1": resource not found: type="Secret" name="${CERT}" mesh="default"`;
    await expect(issuer.trustBundle(live())).rejects.toMatchObject({ message, code: 'ERR_CONFIG_INVALID' });
    await expect(issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live())).rejects.toMatchObject({ message });
    await issuer.ensure(live());
    expect((await issuer.trustBundle(live())).roots).toHaveLength(1);
  });

  it('puts no key into an error', async () => {
    const secrets = await secretsOf(EC);
    const deps = createTestDeps({ secrets: { [CERT]: secrets[KEY] ?? '', [KEY]: secrets[CERT] ?? '' } });
    const error = await create(deps)
      .ensure(live())
      .catch((caught: unknown) => caught);
    const secret = String(secrets[KEY]).split('\n')[1] ?? 'nothing';
    expect(error).toBeInstanceOf(ConfigError);
    expect(`${error}${JSON.stringify(error)}${(error as ConfigError).fix}`).not.toContain(secret);
  });
});

describe('certificates of builtin', () => {
  async function started(secretsConf: unknown = EC) {
    const deps = createTestDeps({ secrets: await secretsOf(secretsConf) });
    return { deps, issuer: create(deps, secretsConf) };
  }

  it('begin ten seconds ago and end when asked, in whole seconds', async () => {
    const { issuer } = await started();
    const { notBefore, notAfter } = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 86_400), live());
    expect(notBefore).toEqual(new Date('2026-09-01T11:59:50.000Z'));
    expect(notAfter).toEqual(new Date('2026-09-02T12:00:00.000Z'));
  });

  it('never begin before their CA', async () => {
    const { issuer, deps } = await started();
    deps.clock.setTo(new Date(TEST_START.getTime() - 5_000));
    const { notBefore, leaf } = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live());
    const [root] = (await issuer.trustBundle(live())).roots.map(parseCertificate);
    expect(notBefore).toEqual(root?.notBefore);
    expect(parseCertificate(leaf).notBefore).toEqual(notBefore);
  });

  it('are refused once the CA has expired, with the way out', async () => {
    const { issuer, deps } = await started();
    const request = await requestFor(IDENTITY, 'EC-P256', 60);
    await issuer.sign(request, live());
    deps.clock.advance(3650 * DAY_MS);
    const error = await issuer.sign(request, live()).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(IssuerDeniedError);
    expect(error).toMatchObject({
      message: expect.stringContaining('expired at 2036-'),
      fix: expect.stringContaining('mesh-ca rotate default --to ca-1'),
    });
  });

  it('are put off while the CA is not valid yet', async () => {
    const { issuer, deps } = await started();
    deps.clock.setTo(new Date('2026-09-01T11:00:00.000Z'));
    const error = await issuer
      .sign(await requestFor(IDENTITY, 'EC-P256', 60), live())
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(IssuerUnavailableError);
    expect(error).toMatchObject({ retryAfterMs: 3_590_000 });
  });

  for (const ttlSeconds of [0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    it(`are refused with a lifetime of ${ttlSeconds} s`, async () => {
      const { issuer } = await started();
      const request = { ...(await requestFor(IDENTITY, 'EC-P256', 60)), ttlSeconds };
      await expect(issuer.sign(request, live())).rejects.toBeInstanceOf(RequestInvalidError);
    });
  }

  it('carry the common name and DNS names of the identity', async () => {
    const { issuer } = await started();
    const identity = { ...IDENTITY, commonName: 'web.mesh', dnsNames: ['web.mesh'] };
    const leaf = parseCertificate((await issuer.sign(await requestFor(identity, 'EC-P256', 60), live())).leaf);
    expect([leaf.commonName, leaf.dnsNames, leaf.uriSans]).toEqual(['web.mesh', ['web.mesh'], IDENTITY.uriSans]);
  });

  it('read the CA once, also when a hundred are asked for at the start', async () => {
    const { deps } = await started();
    const reads: string[] = [];
    const read = async (name: string) => {
      reads.push(name);
      return deps.secrets.read(name);
    };
    const issuer = create({ ...deps, secrets: { ...deps.secrets, read } });
    const request = await requestFor(IDENTITY, 'EC-P256', 60);
    await Promise.all(Array.from({ length: 100 }, () => issuer.sign(request, live())));
    expect(reads.sort()).toEqual([CERT, GENERATIONS, GENERATIONS, KEY]);
  });

  it('are not failed for all by the one caller who hangs up', async () => {
    const { issuer } = await started();
    const request = await requestFor(IDENTITY, 'EC-P256', 60);
    const controller = new AbortController();
    const first = issuer.sign(request, { signal: controller.signal });
    const second = issuer.sign(request, live());
    controller.abort(new Error('the caller hung up'));
    await expect(first).rejects.toThrow('the caller hung up');
    expect((await second).leaf.length).toBeGreaterThan(0);
  });

  it('are given up after ten seconds when the store does not answer', async () => {
    const deps = createTestDeps();
    const issuer = create({ ...deps, secrets: { ...deps.secrets, read: () => new Promise(() => {}) } });
    const signing = issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live());
    deps.clock.advance(10_000);
    await expect(signing).rejects.toBeInstanceOf(IssuerUnavailableError);
  });
});

describe('inspection of builtin', () => {
  const NAMES = module.checks.map(({ name }) => name);

  it('passes every check, and tells how long the CA lives', async () => {
    const checks = await inspectAll(create(createTestDeps({ secrets: await secretsOf(EC) })));
    expect(checks.map(({ name, status }) => [name, status])).toEqual(NAMES.map((name) => [name, 'passed']));
    expect(checks.at(-1)?.message).toContain('3649 days left');
  });

  it('names what is missing before the CA is made', async () => {
    expect(await inspectAll(create(createTestDeps()))).toEqual([
      {
        name: 'builtin.secrets-present',
        status: 'failed',
        message: 'the CA cannot be read',
        cause: `resource not found: type="Secret" name="${CERT}" mesh="default"`,
        fix: 'store the mesh "default": its builtin CAs are made then',
        retry: false,
        durationMs: 0,
      },
    ]);
  });

  it('finds a pair that does not match', async () => {
    const secrets = { ...(await secretsOf(EC)), [KEY]: (await secretsOf({}))[KEY] ?? '' };
    const checks = await inspectAll(create(createTestDeps({ secrets })));
    expect(checks.at(-1)).toMatchObject({ name: 'builtin.key-matches', status: 'failed', fix: expect.any(String) });
  });

  it('finds an expired CA, and warns before that what it will cut and when', async () => {
    const deps = createTestDeps({ secrets: await secretsOf(EC) });
    const issuer = create(deps);
    const life = async () => (await inspectAll(issuer)).at(-1);
    deps.clock.advance(3640 * DAY_MS);
    expect(await life()).toMatchObject({
      name: 'builtin.ca-valid',
      status: 'warning',
      message: expect.stringContaining('9 days left'),
      cause: expect.stringMatching(/past 2036-08-29T.* are cut/),
      fix: expect.stringContaining('rotate'),
    });
    deps.clock.advance(10 * DAY_MS);
    expect(await life()).toMatchObject({ name: 'builtin.ca-valid', status: 'failed', fix: expect.any(String) });
    deps.clock.advance(-3660 * DAY_MS);
    expect(await life()).toMatchObject({ name: 'builtin.ca-valid', status: 'failed', retry: true });
  });

  it('warns when the CA is not the one that the conf describes', async () => {
    const deps = createTestDeps({ secrets: await secretsOf(EC) });
    const checks = await inspectAll(create(deps, { caCert: { keyType: 'EC-P384' } }));
    expect(checks.filter(({ status }) => status !== 'passed')).toMatchObject([
      { name: 'builtin.key-type', status: 'warning', message: expect.stringMatching(/EC-P256.*EC-P384/) },
    ]);
  });

  it('does not throw when the store does', async () => {
    const deps = createTestDeps();
    const read = () => Promise.reject(new Error('disk I/O error'));
    const checks = await inspectAll(create({ ...deps, secrets: { ...deps.secrets, read } }));
    expect(checks).toMatchObject([{ name: 'builtin.secrets-present', status: 'failed', cause: 'disk I/O error' }]);
  });
});

describe('the list of adapters', () => {
  for (const [type, load] of Object.entries(ADAPTERS)) {
    it(`gives ${type} under the name that it has in a Mesh`, async () => expect((await load()).type).toBe(type));
  }
});

function violationsOf(conf: unknown, backend = 'ca-1'): Record<string, string> {
  return violationsByField(() => module.parseConf(conf, { mesh: 'default', backend }));
}
