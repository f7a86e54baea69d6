import 'reflect-metadata';
import { execFile } from 'node:child_process';
import { createPrivateKey, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { module } from '../../adapters/provided/module.ts';
import { IssuerDeniedError } from '../../src/issuer/errors.ts';
import { type ConfChecker, type Issuer, isConfChecker, isProvisioner } from '../../src/issuer/issuer.ts';
import { systemClock } from '../../src/runtime/clock.ts';
import { live, requestFor, testIssuer } from '../conformance/issuer.ts';
import { createTestDeps } from '../conformance/issuer-deps.ts';
import { makeCa, type TestCa } from '../conformance/make-ca.ts';
import { opensslVerify } from '../conformance/openssl.ts';
import { IDENTITY } from '../support/identity.ts';
import { inspectAll } from '../support/inspect-all.ts';
import { violationsByField } from '../support/violations-by-field.ts';

const CONTEXT = { mesh: 'default', backend: 'ca-1' };
const CONF = { cert: { secret: 'ca-cert' }, key: { secret: 'ca-key' } };
const DAY_MS = 24 * 3600 * 1000;

function create(deps: Parameters<typeof module.create>[2], conf: unknown = CONF): Issuer & ConfChecker {
  const issuer = module.create(CONTEXT, module.parseConf(conf, CONTEXT), deps);
  if (!isConfChecker(issuer)) throw new TypeError('provided checks its conf');
  return issuer;
}

const secretsOf = (certPem: string, keyPem: string) => ({ 'ca-cert': certPem, 'ca-key': keyPem });
const check = (certPem: string, keyPem: string) =>
  create(createTestDeps({ secrets: secretsOf(certPem, keyPem) })).checkConf(live());
const fileOf = (...cas: readonly TestCa[]) => cas.map(({ certPem }) => certPem).join('\n');

/** One hierarchy for all tests: root, intermediate, issuing CA below it. */
const root = await makeCa({ name: 'root' });
const intermediate = await makeCa({ name: 'intermediate', issuer: root });
const issuing = await makeCa({ name: 'issuing', issuer: intermediate, pathLength: 0 });
const other = await makeCa({ name: 'other' });

for (const keyType of ['EC-P256', 'EC-P384', 'RSA-2048', 'Ed25519'] as const) {
  testIssuer(`provided, ${keyType} root`, async () => {
    const { certPem, keyPem } = await makeCa({ name: `${keyType} root`, keyType });
    return {
      module,
      conf: CONF,
      deps: createTestDeps({ secrets: secretsOf(certPem, keyPem) }),
      keyTypes: ['EC-P256', 'RSA-2048'],
    };
  });
}
testIssuer('provided, chain of two intermediates, every key type', () => ({
  module,
  conf: CONF,
  deps: createTestDeps({ secrets: secretsOf(fileOf(issuing, intermediate, root), issuing.keyPem) }),
}));
testIssuer('provided, inline as in development mode', () => ({
  module,
  conf: {
    cert: { inline: Buffer.from(root.certPem).toString('base64') },
    key: { inlineString: root.keyPem },
  },
  deps: createTestDeps(),
  keyTypes: ['EC-P256'],
}));

describe('the conf of provided', () => {
  const defined = 'has to be defined';
  const chosen = 'data source has to be chosen. Available sources: secret, file, inline';
  const both = (message: string) => ({ cert: message, key: message });
  const refused: readonly [name: string, conf: unknown, violations: Readonly<Record<string, string>>][] = [
    ['nothing', undefined, both(defined)],
    ['null', null, both(defined)],
    ['an empty conf', {}, both(defined)],
    ['a missing key', { cert: { secret: 'a' } }, { key: defined }],
    ['sources without a choice', { cert: {}, key: {} }, both(chosen)],
    ['a secret that is null', { cert: { secret: null }, key: { secret: null } }, both(chosen)],
    [
      'empty secret names',
      { cert: { secret: '' }, key: { secret: '' } },
      { 'cert.secret': 'cannot be empty', 'key.secret': 'cannot be empty' },
    ],
    [
      'empty inline and file',
      { cert: { inline: '' }, key: { file: '' } },
      { 'cert.inline': 'cannot be empty', 'key.file': 'cannot be empty' },
    ],
    ['a list', [], { '': 'could not convert backend config: has to be an object' }],
  ];
  for (const [name, conf, violations] of refused) {
    it(`refuses ${name} in Kuma's words`, () => expect(violationsOf(conf)).toEqual(violations));
  }

  it('uses the secrets that it names, each once', () => {
    const used = (conf: unknown) => module.usedSecrets(module.parseConf(conf, CONTEXT), CONTEXT);
    expect(used(CONF)).toEqual(['ca-cert', 'ca-key']);
    expect(used({ cert: { secret: 'both' }, key: { secret: 'both' } })).toEqual(['both']);
    expect(used({ cert: { file: '/ca.pem' }, key: { inlineString: 'x' } })).toEqual([]);
  });

  it('never throws anything but a ConfigError, whatever it is given', () => {
    fc.assert(
      fc.property(fc.anything(), (conf) => {
        expect(() => violationsOf(conf)).not.toThrow();
        expect(() => violationsOf({ cert: conf, key: conf })).not.toThrow();
      }),
    );
  });
});

describe('the check of a provided CA', () => {
  const { keyCertSign, cRLSign, keyAgreement, digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const CA_RULE = "basic constraint 'CA' must be set to 'true' (see X509-SVID: 4.1. Basic Constraints)";
  const SIGN_RULE = "key usage extension 'keyCertSign' must be set (see X509-SVID: 4.3. Key Usage)";
  const AGREEMENT_RULE =
    "key usage extension 'keyAgreement' must NOT be set (see X509-SVID: Appendix A. X.509 Field Reference)";

  it('passes a root and chains, without a warning', async () => {
    for (const [file, ca] of [
      [fileOf(root), root],
      [fileOf(intermediate, root), intermediate],
      [fileOf(issuing, intermediate, root), issuing],
    ] as const) {
      expect(await check(file, ca.keyPem)).toEqual({ violations: [], warnings: [] });
    }
  });

  it("reports data that cannot be loaded on both fields, the key's cause first, as Kuma", async () => {
    const message = 'could not load data: resource not found: type="Secret" name="ca-key" mesh="default"';
    const { violations } = await create(createTestDeps()).checkConf(live());
    expect(violations).toEqual([
      { field: 'cert', message },
      { field: 'key', message },
    ]);
    const withKey = createTestDeps({ secrets: { 'ca-key': root.keyPem } });
    expect((await create(withKey).checkConf(live())).violations[0]?.message).toContain('name="ca-cert"');
  });

  const brokenPairs: readonly [
    name: string,
    certPem: string,
    keyPem: string,
    messages: Readonly<Record<string, string>>,
  ][] = [
    [
      'no PEM at all',
      'test',
      'test',
      { cert: 'not a valid TLS key pair: tls: failed to find any PEM data in certificate input' },
    ],
    ['nothing', '', '', { cert: 'not a valid TLS key pair: tls: failed to find any PEM data in certificate input' }],
    ['no key', root.certPem, '', { cert: 'not a valid TLS key pair: tls: failed to find any PEM data in key input' }],
    [
      'halves in each other’s place',
      root.keyPem,
      root.certPem,
      {
        cert: 'not a valid TLS key pair: tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched',
      },
    ],
    [
      'the key of another CA',
      root.certPem,
      other.keyPem,
      { cert: 'not a valid TLS key pair: tls: private key does not match public key' },
    ],
    [
      'the root before the intermediate that the key belongs to',
      fileOf(root, intermediate),
      intermediate.keyPem,
      {
        cert: 'not a valid TLS key pair: tls: private key does not match public key',
        'cert[1]': 'the private key belongs to this certificate: put it first in the file, its issuers after it',
      },
    ],
    [
      'a second certificate that is none',
      `${root.certPem}-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n`,
      root.keyPem,
      { 'cert[1]': expect.stringMatching(/^not a valid x509 certificate: x509: /) },
    ],
  ];
  for (const [name, certPem, keyPem, messages] of brokenPairs) {
    it(`refuses ${name}`, async () => expect(byField(await check(certPem, keyPem))).toEqual(messages));
  }

  it('holds every certificate of the file to each rule of the page', async () => {
    const bad = await makeCa({ name: 'bad', ca: false, keyUsage: keyAgreement });
    const messages = (await check(bad.certPem, bad.keyPem)).violations;
    expect(messages).toEqual([CA_RULE, SIGN_RULE, AGREEMENT_RULE].map((message) => ({ field: 'cert[0]', message })));

    const badRoot = await makeCa({ name: 'bad root', keyUsage: keyCertSign | keyAgreement });
    const good = await makeCa({ name: 'good', issuer: badRoot });
    expect(await check(fileOf(good, badRoot), good.keyPem)).toMatchObject({
      violations: [{ field: 'cert[1]', message: AGREEMENT_RULE }],
    });
  });

  it('wants the key usage extension to be there', async () => {
    const bare = await makeCa({ name: 'bare', keyUsage: undefined });
    expect(byField(await check(bare.certPem, bare.keyPem))).toEqual({ 'cert[0]': SIGN_RULE });
  });

  it('warns about the usages that a CA should not have', async () => {
    const ca = await makeCa({ name: 'root', keyUsage: keyCertSign | cRLSign | digitalSignature | keyEncipherment });
    expect(await check(ca.certPem, ca.keyPem)).toEqual({
      violations: [],
      warnings: [
        "cert[0]: key usage extension 'digitalSignature' should not be set (see X509-SVID: Appendix A. X.509 Field Reference)",
        "cert[0]: key usage extension 'keyEncipherment' should not be set (see X509-SVID: Appendix A. X.509 Field Reference)",
      ],
    });
  });

  it('warns about a private key that stands in the Mesh itself', async () => {
    const conf = { cert: { secret: 'ca-cert' }, key: { inlineString: root.keyPem } };
    const findings = await create(createTestDeps({ secrets: { 'ca-cert': root.certPem } }), conf).checkConf(live());
    expect(findings).toEqual({ violations: [], warnings: [expect.stringMatching(/^key: an inline private key/)] });
  });

  it('refuses what is expired, anywhere in the chain', async () => {
    const old = await makeCa({ name: 'old', fromDay: -20, toDay: -10 });
    expect(byField(await check(old.certPem, old.keyPem))).toEqual({
      'cert[0]': 'expired at 2026-08-22T12:00:00.000Z: provide a CA certificate that is still valid',
    });
    const below = await makeCa({ name: 'below', issuer: old });
    expect(byField(await check(fileOf(below, old), below.keyPem))).toHaveProperty('cert[1]');
  });

  it('refuses what is not valid yet, and warns about what ends soon', async () => {
    const early = await makeCa({ name: 'early', fromDay: 1 });
    expect(byField(await check(early.certPem, early.keyPem))['cert[0]']).toMatch(/^is not valid before 2026-09-02/);
    const late = await makeCa({ name: 'late', toDay: 20 });
    expect(await check(late.certPem, late.keyPem)).toMatchObject({
      violations: [],
      warnings: [expect.stringMatching(/^cert\[0\]: is valid until 2026-09-21T12:00:00.000Z, 19 days left/)],
    });
  });

  it('refuses a file without its root, and says which certificate to append', async () => {
    expect(byField(await check(fileOf(issuing, intermediate), issuing.keyPem))).toEqual({
      cert: 'has to end with the self-signed root certificate, but cert[1] "CN=intermediate" is issued by "CN=root", which is not in the file: append that certificate (and its issuers, up to the root)',
    });
  });

  it('refuses certificates that sign nothing in the chain', async () => {
    expect(byField(await check(fileOf(root, other), root.keyPem))['cert[1]']).toMatch(
      /^"CN=other" signs no other certificate/,
    );
    const impostor = await makeCa({ name: 'root' });
    const messages = byField(await check(fileOf(intermediate, impostor), intermediate.keyPem));
    expect(Object.keys(messages).sort()).toEqual(['cert', 'cert[1]']);
  });

  it('accepts issuers in the wrong order and doubles, with a warning, since the chain that it sends is in order', async () => {
    const secrets = secretsOf(fileOf(issuing, root, intermediate, root), issuing.keyPem);
    const issuer = create(createTestDeps({ secrets }));
    const { violations, warnings } = await issuer.checkConf(live());
    expect(violations).toEqual([]);
    expect(warnings).toEqual([
      'cert[3]: stands in the file twice: remove one of them',
      'cert[2]: not in order: each certificate should be followed by its issuer: cert[0], cert[2], cert[1]',
    ]);
    const { chain, roots } = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live());
    const names = [...chain, ...roots].map((der) => new x509.X509Certificate(der).subject);
    expect(names).toEqual(['CN=issuing', 'CN=intermediate', 'CN=root']);
  });

  it('refuses a root that allows no CA below it', async () => {
    const tight = await makeCa({ name: 'tight', pathLength: 0 });
    const below = await makeCa({ name: 'below', issuer: tight });
    expect(byField(await check(fileOf(below, tight), below.keyPem))).toEqual({
      'cert[1]': expect.stringMatching(/^path length 0 allows 0 CA certificates below it, but the chain has 1/),
    });
  });

  it('refuses a CA for what no rule knows, by a certificate signed for trial', async () => {
    const narrow = await makeCa({ name: 'narrow', extensions: [permittedUriHost('xy')] });
    const below = await makeCa({ name: 'below', issuer: narrow });
    for (const [file, ca] of [
      [fileOf(narrow), narrow],
      [fileOf(below, narrow), below],
    ] as const) {
      const messages = byField(await check(file, ca.keyPem));
      expect(messages).toEqual({ cert: expect.stringMatching(/^a certificate signed by this CA would be refused: /) });
    }
  });

  it('takes a CA that is constrained to the trust domain of the mesh', async () => {
    const narrow = await makeCa({ name: 'narrow', extensions: [permittedUriHost('default')] });
    expect(byField(await check(fileOf(narrow), narrow.keyPem))).toEqual({});
  });

  it('puts no byte of the key into what it says', async () => {
    const secret = root.keyPem.split('\n')[1] ?? 'nothing';
    const findings = [
      await check(root.keyPem, root.keyPem),
      await check(other.certPem, root.keyPem),
      await check('', root.keyPem),
    ];
    expect(JSON.stringify(findings)).not.toContain(secret);
  });
});

describe('certificates of provided', () => {
  it('end with the first certificate of their chain that ends', async () => {
    const short = await makeCa({ name: 'short root', toDay: 10 });
    const below = await makeCa({ name: 'below', issuer: short });
    const issuer = create(createTestDeps({ secrets: secretsOf(fileOf(below, short), below.keyPem) }));
    const { notAfter } = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 30 * 86_400), live());
    expect(notAfter).toEqual(new Date('2026-09-11T12:00:00.000Z'));
  });

  it('are refused once a certificate of the chain has expired', async () => {
    const deps = createTestDeps({ secrets: secretsOf(root.certPem, root.keyPem) });
    const issuer = create(deps);
    deps.clock.advance(3651 * DAY_MS);
    const error = await issuer
      .sign(await requestFor(IDENTITY, 'EC-P256', 60), live())
      .catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(IssuerDeniedError);
  });

  it("are refused in Kuma's words while the CA cannot be loaded, and made as soon as it can", async () => {
    const deps = createTestDeps();
    const issuer = create(deps);
    await expect(issuer.trustBundle(live())).rejects.toMatchObject({
      code: 'ERR_CONFIG_INVALID',
      message:
        'failed to load CA key pair for Mesh "default" and backend "ca-1": could not load data: resource not found: type="Secret" name="ca-key" mesh="default"',
      fix: 'put the data there first',
    });
    for (const [name, data] of Object.entries(secretsOf(root.certPem, root.keyPem)))
      deps.stored.set(name, Buffer.from(data));
    expect((await issuer.trustBundle(live())).roots).toHaveLength(1);
  });

  it('trust the last certificate of a file without root, when validation was skipped', async () => {
    const issuer = create(createTestDeps({ secrets: secretsOf(fileOf(issuing, intermediate), issuing.keyPem) }));
    const { chain, roots } = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live());
    expect([chain, roots].map((ders) => ders.map((der) => new x509.X509Certificate(der).subject))).toEqual([
      ['CN=issuing'],
      ['CN=intermediate'],
    ]);
  });

  it('come from PKCS#8, PKCS#1 and SEC1 keys alike', async () => {
    const rsa = await makeCa({ name: 'rsa', keyType: 'RSA-2048' });
    for (const [ca, type] of [
      [rsa, 'pkcs1'],
      [root, 'sec1'],
    ] as const) {
      const keyPem = createPrivateKey(ca.keyPem).export({ type, format: 'pem' }).toString();
      expect(await check(ca.certPem, keyPem)).toEqual({ violations: [], warnings: [] });
    }
  });

  it('have nothing to provision', () => expect(isProvisioner(create(createTestDeps()))).toBe(false));
});

describe('inspection of provided', () => {
  const inspect = (certPem: string, keyPem: string) =>
    inspectAll(create(createTestDeps({ secrets: secretsOf(certPem, keyPem) })));
  /** Those that are not well. */
  const found = async (certPem: string, keyPem: string) =>
    (await inspect(certPem, keyPem)).filter(({ status }) => status !== 'passed');

  const MISSING: readonly [
    what: string,
    secrets: Record<string, string>,
    message: string,
    field: string | undefined,
  ][] = [
    ['both', {}, 'certificate and key cannot be loaded', undefined],
    ['the key', { 'ca-cert': root.certPem }, 'key cannot be loaded', 'key'],
    ['the certificate', { 'ca-key': root.keyPem }, 'certificate cannot be loaded', 'cert'],
  ];
  it.each(MISSING)('names what is missing: %s', async (_what, secrets, message, field) => {
    const checks = await inspectAll(create(createTestDeps({ secrets })));
    expect(checks).toMatchObject([
      { name: 'provided.data-loads', status: 'failed', message, fix: expect.any(String), retry: false },
    ]);
    expect(checks[0]?.field).toBe(field);
  });

  it('tells the key of the conf that is to blame for a pair that does not match', async () => {
    const name = 'provided.key-matches';
    expect(await found(root.certPem, other.keyPem)).toMatchObject([{ name, status: 'failed', field: 'cert' }]);
    expect(await found(root.certPem, 'no key')).toMatchObject([{ name, status: 'failed', field: 'key' }]);
    expect(await found(fileOf(root, issuing), issuing.keyPem)).toMatchObject([
      { name, status: 'failed', field: 'cert[1]' },
    ]);
  });

  it('tells rules that are broken, and those that proxies let pass as a warning', async () => {
    const name = 'provided.ca-rules';
    expect(await found(fileOf(issuing, intermediate), issuing.keyPem)).toMatchObject([{ name, status: 'failed' }]);
    expect(await found(fileOf(issuing, intermediate, root, root), issuing.keyPem)).toMatchObject([
      { name, status: 'warning', cause: expect.stringContaining('twice') },
    ]);
  });

  it('tells the end of a CA once: by its own check', async () => {
    const name = 'provided.ca-valid';
    const old = await makeCa({ name: 'old', fromDay: -20, toDay: -10 });
    expect(await found(old.certPem, old.keyPem)).toMatchObject([{ name, status: 'failed' }]);
    const ending = await makeCa({ name: 'ending', fromDay: -20, toDay: 10 });
    expect(await found(ending.certPem, ending.keyPem)).toMatchObject([{ name, status: 'warning' }]);
  });

  it('warns of a private key that everybody may read who may read the Mesh', async () => {
    const conf = { cert: { inlineString: root.certPem }, key: { inlineString: root.keyPem } };
    const checks = await inspectAll(create(createTestDeps(), conf));
    expect(checks.filter(({ status }) => status !== 'passed')).toMatchObject([
      { name: 'provided.key-protected', status: 'warning' },
    ]);
    expect(JSON.stringify(checks)).not.toContain('PRIVATE KEY');
  });
});

describe("the page's own openssl command", () => {
  /** Word for word from the product page "Mutual TLS", section CA requirements. */
  const COMMAND = `
SAMPLE_CA_CONFIG="
[req]
distinguished_name=dn
[ dn ]
[ ext ]
basicConstraints=CA:TRUE,pathlen:0
keyUsage=keyCertSign
"

openssl req -config <(echo "$SAMPLE_CA_CONFIG") -new -newkey rsa:2048 -nodes \\
  -subj "/CN=Hello" -x509 -extensions ext -keyout key.pem -out crt.pem
`;
  const made = (async () => {
    const dir = await mkdtemp(join(tmpdir(), 'mesh-ca-page-'));
    try {
      await promisify(execFile)('bash', ['-c', COMMAND], { cwd: dir });
      return secretsOf(await readFile(join(dir, 'crt.pem'), 'utf8'), await readFile(join(dir, 'key.pem'), 'utf8'));
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  })();

  it('makes a CA without a violation; openssl gives it 30 days, which is worth a warning at most', async () => {
    const { violations, warnings } = await create(
      createTestDeps({ secrets: await made, clock: systemClock }),
    ).checkConf(live());
    expect(violations).toEqual([]);
    for (const warning of warnings) expect(warning).toContain('days left');
  });

  testIssuer('provided, by the command of the page', async () => ({
    module,
    conf: CONF,
    deps: createTestDeps({ secrets: await made, clock: systemClock }),
    keyTypes: ['EC-P256', 'RSA-2048'],
  }));
});

describe('the keys and signatures of a provided CA, made by openssl', () => {
  const P256 = '-algorithm EC -pkeyopt ec_paramgen_curve:P-256';
  /** Several primes are quick to find, and do not show in the public key. */
  const rsa = (bits: number, primes = 2) =>
    `-algorithm RSA -pkeyopt rsa_keygen_bits:${bits} -pkeyopt rsa_keygen_primes:${primes}`;
  const MAKE_RSA = 'openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048';
  const MAKE_EC = 'openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256';

  const ODD_PSS = 'RSA-PSS with other parameters than one SHA-2 hash and a salt of its length';

  const accepted: readonly [name: string, genpkey: string][] = [
    ['EC P-256', P256],
    ['EC P-384', '-algorithm EC -pkeyopt ec_paramgen_curve:P-384'],
    ['EC P-521', '-algorithm EC -pkeyopt ec_paramgen_curve:P-521'],
    ['RSA 2048', rsa(2048)],
    ['RSA 3072', rsa(3072)],
    ['RSA 4096', rsa(4096, 4)],
    ['RSA 8192', rsa(8192, 5)],
    ['Ed25519', '-algorithm ED25519'],
  ];
  it.each(accepted)('takes %s, alone and as the root of a chain, and what it signs verifies', async (_, genpkey) => {
    const alone = await opensslCa({ genpkey });
    const below = await opensslCa({ genpkey: P256, issuer: alone });
    for (const ca of [alone, below]) {
      const issuer = create(createTestDeps({ secrets: secretsOf(ca.chainPem, ca.keyPem), clock: systemClock }));
      expect(await issuer.checkConf(live())).toEqual({ violations: [], warnings: [] });
      const { leaf, chain, roots } = await issuer.sign(await requestFor(IDENTITY, 'EC-P256', 60), live());
      expect(await opensslVerify({ leaf, chain, roots, at: systemClock.now(), purpose: 'sslserver' })).toBe('OK');
    }
  });

  const refused: readonly [name: string, genpkey: string, what: string, instead: string][] = [
    ['explicit P-256 parameters', `${P256} -pkeyopt ec_param_enc:explicit`, 'explicit curve parameters', MAKE_EC],
    [
      'a compressed point',
      `${P256} -out key.pem && ec -in key.pem -conv_form compressed`,
      'EC P-256 key with a compressed',
      MAKE_EC,
    ],
    ['P-224', '-algorithm EC -pkeyopt ec_paramgen_curve:P-224', 'EC key on the curve P-224', MAKE_EC],
    ['secp256k1', '-algorithm EC -pkeyopt ec_paramgen_curve:secp256k1', 'on the curve secp256k1', MAKE_EC],
    ['an unnamed curve', '-algorithm EC -pkeyopt ec_paramgen_curve:wap-wsg-idm-ecid-wtls9', '2.23.43.1.4.9', MAKE_EC],
    ['RSA 512', rsa(512), 'an RSA key of 512 bits', MAKE_RSA],
    ['RSA 1024', rsa(1024), 'an RSA key of 1024 bits', MAKE_RSA],
    ['RSA 2040', rsa(2040), 'an RSA key of 2040 bits', MAKE_RSA],
    ['RSA 8200', rsa(8200, 5), 'an RSA key of 8200 bits', MAKE_RSA],
    ['a huge exponent', `${rsa(2048)} -pkeyopt rsa_keygen_pubexp:8589934593`, 'an exponent of 34 bits', MAKE_RSA],
    [
      'RSA-PSS',
      '-algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -pkeyopt rsa_pss_keygen_md:sha256 -pkeyopt rsa_pss_keygen_mgf1_md:sha256 -pkeyopt rsa_pss_keygen_saltlen:32',
      'an RSA-PSS key',
      MAKE_RSA,
    ],
    ['Ed448', '-algorithm ED448', 'an Ed448 key', 'openssl genpkey -algorithm ED25519'],
  ];
  it.each(refused)('refuses %s, wherever in the chain', async (_, genpkey, what, instead) => {
    const message = (text: string) => {
      expect(text).toMatch(/^has an? /);
      expect(text).toContain(what);
      expect(text).toContain(
        '(accepted: EC on the named curves P-256, P-384 and P-521; RSA (rsaEncryption) of 2048 to',
      );
      expect(text).toContain(`with a key of "${instead}`);
    };
    const alone = await opensslCa({ genpkey });
    const below = await opensslCa({ genpkey: P256, issuer: alone });
    const above = await opensslCa({ keyPem: alone.keyPem, issuer: await opensslCa({ genpkey: P256 }) });
    for (const [ca, field] of [
      [alone, 'cert[0]'],
      [below, 'cert[1]'],
      [above, 'cert[0]'],
    ] as const) {
      const { violations } = await checkNow(ca);
      expect(violations.map((violation) => violation.field)).toEqual([field]);
      message(violations[0]?.message ?? '');
    }
  });

  it.each([
    ['SHA-1 with RSA', rsa(2048), '-sha1'],
    ['MD5 with RSA', rsa(2048), '-md5'],
    ['ECDSA with SHA-1', P256, '-sha1'],
    [ODD_PSS, rsa(2048), '-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:20'],
    [ODD_PSS, rsa(2048), '-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:40'],
    [ODD_PSS, rsa(2048), '-sha1 -sigopt rsa_padding_mode:pss'],
  ])('refuses an intermediate that is signed by %s, and blames nothing else', async (what, genpkey, sign) => {
    const top = await opensslCa({ genpkey });
    const weak = await opensslCa({ genpkey: P256, issuer: top, sign });
    const message = `is signed by ${what}, which proxies refuse (accepted: SHA-256, SHA-384, SHA-512): let its issuer sign it again, with "openssl x509 -req -sha256"`;
    expect((await checkNow(weak)).violations).toEqual([{ field: 'cert[0]', message }]);
    const below = await opensslCa({ genpkey: P256, issuer: weak });
    expect((await checkNow(below)).violations).toEqual([{ field: 'cert[1]', message }]);
  });

  it('takes RSA-PSS signatures of an ordinary RSA key in the form that everybody reads', async () => {
    const sign = '-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest';
    const below = await opensslCa({ genpkey: P256, issuer: await opensslCa({ genpkey: rsa(2048) }), sign });
    expect(await checkNow(below)).toEqual({ violations: [], warnings: [] });
  });

  it.each(['-sha1', '-md5'])('takes a root that signed itself with %s: nobody verifies that', async (sign) => {
    const old = await opensslCa({ genpkey: rsa(2048), sign });
    const below = await opensslCa({ genpkey: P256, issuer: old });
    for (const ca of [old, below]) expect(await checkNow(ca)).toEqual({ violations: [], warnings: [] });
  });

  const checkNow = (ca: OpensslCa) =>
    create(createTestDeps({ secrets: secretsOf(ca.chainPem, ca.keyPem), clock: systemClock })).checkConf(live());
});

interface OpensslCa {
  readonly certPem: string;
  /** With all its issuers. */
  readonly chainPem: string;
  readonly keyPem: string;
}

interface OpensslCaSpec {
  readonly issuer?: OpensslCa;
  /** Options of openssl about its signature. */
  readonly sign?: string;
}

/** A root, or an intermediate below `issuer`, with a key that is made, or with one that is there: large ones take their time. */
async function opensslCa(spec: OpensslCaSpec & ({ genpkey: string } | { keyPem: string })): Promise<OpensslCa> {
  const { issuer, sign = '' } = spec;
  const dir = await mkdtemp(join(tmpdir(), 'mesh-ca-keys-'));
  const openssl = (line: string) => promisify(execFile)('openssl', line.split(' ').filter(Boolean), { cwd: dir });
  try {
    await writeFile(
      join(dir, 'ca.cnf'),
      '[req]\ndistinguished_name=dn\n[dn]\n[ext]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\n',
    );
    if ('keyPem' in spec) await writeFile(join(dir, 'key.pem'), spec.keyPem);
    else for (const command of `genpkey ${spec.genpkey} -out key.pem`.split(' && ')) await openssl(command);
    const name = `/CN=ca-${randomUUID()}`;
    if (issuer === undefined) {
      await openssl(
        `req -config ca.cnf -x509 -extensions ext -days 365 -subj ${name} ${sign} -key key.pem -out crt.pem`,
      );
    } else {
      await writeFile(join(dir, 'issuer.pem'), issuer.certPem);
      await writeFile(join(dir, 'issuer-key.pem'), issuer.keyPem);
      await openssl(`req -config ca.cnf -new -subj ${name} -key key.pem -out csr.pem`);
      await openssl(
        `x509 -req -in csr.pem -CA issuer.pem -CAkey issuer-key.pem -set_serial 7 -days 365 ${sign} -extfile ca.cnf -extensions ext -out crt.pem`,
      );
    }
    const certPem = await readFile(join(dir, 'crt.pem'), 'utf8');
    const keyPem = await readFile(join(dir, 'key.pem'), 'utf8');
    return { certPem, chainPem: certPem + (issuer?.chainPem ?? ''), keyPem };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

function byField(findings: {
  readonly violations: readonly { field: string; message: string }[];
}): Record<string, string> {
  return Object.fromEntries(findings.violations.map(({ field, message }) => [field, message]));
}

function violationsOf(conf: unknown): Record<string, string> {
  return violationsByField(() => module.parseConf(conf, CONTEXT));
}

/** Name constraints (RFC 5280, 4.2.1.10), critical: only URIs of this host. */
function permittedUriHost(host: string): x509.Extension {
  const name = Buffer.concat([Buffer.of(0x86, host.length), Buffer.from(host)]);
  const wrap = (tag: number, content: Buffer) => Buffer.concat([Buffer.of(tag, content.length), content]);
  return new x509.Extension('2.5.29.30', true, wrap(0x30, wrap(0xa0, wrap(0x30, name))));
}
