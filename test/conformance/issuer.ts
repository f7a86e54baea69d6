import { describe, expect, it, onTestFinished } from 'vitest';
import { CaError, IssuancePendingError, NotSupportedError } from '../../src/issuer/errors.ts';
import {
  type CallOptions,
  type Identity,
  type IssuedCertificate,
  type Issuer,
  type IssuerContext,
  type IssuerDeps,
  type IssuerModule,
  isKeyPairIssuer,
  isProvisioner,
  KEY_TYPES,
  type KeyType,
  type SignRequest,
} from '../../src/issuer/issuer.ts';
import { createTags } from '../../src/mesh/tags.ts';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { verifyChain } from '../../src/x509/chain.ts';
import { createCsr } from '../../src/x509/create-csr.ts';
import { generateKeyPair, type KeyPair } from '../../src/x509/key-pair.ts';
import { checkLeaf } from '../../src/x509/profile.ts';
import { inspectAll } from '../support/inspect-all.ts';
import { type StartedBackend, testInspection } from './inspection.ts';
import { opensslVerify } from './openssl.ts';

/** One backend to put through the suite. A new one is set up for every test. */
export interface IssuerSetup<Conf> {
  readonly module: IssuerModule<Conf>;
  /** As an operator writes it: goes through `parseConf`. */
  readonly conf: unknown;
  /** Default: mesh `default`, backend `ca-1`. */
  readonly context?: IssuerContext;
  /** `createTestDeps()`, or anything like it; `writes` lets the suite see that reading creates nothing, `requests` that they are counted. */
  readonly deps: IssuerDeps & {
    readonly writes?: { readonly count: number };
    readonly requests?: { readonly count: number };
  };
  /** Default: what `abilities` claims. */
  readonly keyTypes?: readonly KeyType[];
  /** Ends what the set-up started. */
  close?(): Promise<void>;
  /** Takes the backend away, so that nobody answers at its address. Default: `close`. */
  stop?(): Promise<void>;
}

export interface IssuerSuiteOptions {
  /** Lifetime that every backend under test grants. Default one hour. */
  readonly ttlSeconds?: number;
  /** What a lifetime of 200 years gives: a shorter certificate, or also an error (external backends). Default: by `module.local`. */
  readonly tooLong?: 'cut' | 'cut-or-error';
}

const TAGS = createTags([
  ['kuma.io/service', ['web', 'web-api']],
  ['version', 'v1'],
]);
const TWO_HUNDRED_YEARS_SECONDS = 200 * 365 * 24 * 3600;
const AT_ONCE = 50;

/** RSA keys take seconds on Node 20: each type is made once for all tests of a file. */
const keyPairs = new Map<KeyType, Promise<KeyPair>>();
export function testKeyPair(type: KeyType): Promise<KeyPair> {
  const known = keyPairs.get(type) ?? generateKeyPair(type);
  keyPairs.set(type, known);
  return known;
}

/**
 * What the contract in src/issuer/issuer.ts promises, asked of one adapter through its front door. Every adapter's test calls this;
 * whether an adapter is one is decided here.
 */
export function testIssuer<Conf>(
  name: string,
  setup: () => Promise<IssuerSetup<Conf>> | IssuerSetup<Conf>,
  options: IssuerSuiteOptions = {},
): void {
  const ttlSeconds = options.ttlSeconds ?? 3600;

  async function start(): Promise<Started & StartedBackend> {
    const { module, conf, deps, close, stop, keyTypes, context = { mesh: 'default', backend: 'ca-1' } } = await setup();
    const parsed = module.parseConf(conf, context);
    const issuer = module.create(context, parsed, deps);
    let ended: Promise<void> | undefined;
    const end = close && (() => (ended ??= close()));
    const endBackend = stop ?? end;
    onTestFinished(async () => {
      await issuer.close();
      await end?.();
    });
    if (isProvisioner(issuer)) await issuer.ensure(live());
    const abilities = await issuer.abilities(live());
    const who = { mesh: context.mesh, dataplane: 'web-1', tags: TAGS };
    const identity: Identity = { ...who, uriSans: uriSansOf(context.mesh), ...issuer.subject(who) };
    const createWith = (other: IssuerDeps) => {
      const second = module.create(context, parsed, other);
      onTestFinished(() => second.close());
      return second;
    };
    const endpoint = () => module.endpoint?.(parsed);
    const started = { module, conf, issuer, deps, identity, abilities, keyTypes: keyTypes ?? abilities.keyTypes };
    return { ...started, ttlSeconds, createWith, endpoint, ...(endBackend && { endBackend }) };
  }

  describe(`issuer contract: ${name}`, () => {
    it('says what it can do, and has exactly the members for it', async () => {
      const { issuer, abilities, identity } = await start();
      expect(abilities.sign || abilities.issueKeyPair).toBe(true);
      for (const type of abilities.keyTypes) expect(KEY_TYPES).toContain(type);
      if (abilities.issueKeyPair) expect(isKeyPairIssuer(issuer)).toBe(true);
      if (!abilities.sign) {
        const request = await requestFor(identity, 'EC-P256', ttlSeconds);
        await expect(issuer.sign(request, live())).rejects.toBeInstanceOf(NotSupportedError);
      }
    });

    it('certifies a key of every type that it claims, and says in the certificate exactly what the identity says', async () => {
      const started = await start();
      for (const type of started.keyTypes) {
        if (!started.abilities.sign) continue;
        const request = await requestFor(started.identity, type, ttlSeconds);
        const issued = await started.issuer.sign(request, live());
        const leaf = expectAcceptable(started, issued, request.spkiDer);
        expect(leaf.publicKey?.type, type).toBe(type);
      }
    });

    it('makes key and certificate that belong together, when it claims that', async () => {
      const started = await start();
      if (!isKeyPairIssuer(started.issuer) || !started.abilities.issueKeyPair) return;
      const { identity } = started;
      const issued = await started.issuer.issueKeyPair({ identity, ttlSeconds, requestId: 'pair-1' }, live());
      const { createPrivateKey, createPublicKey } = await import('node:crypto');
      const key = createPrivateKey({ key: issued.privateKeyDer, format: 'der', type: 'pkcs8' });
      expectAcceptable(started, issued, createPublicKey(key).export({ format: 'der', type: 'spki' }));
    });

    it('gives a chain that goes issuer first and holds neither leaf nor root', async () => {
      const started = await start();
      const issued = await issue(started);
      const [leaf, ...chain] = [issued.leaf, ...issued.chain].map(parseCertificate);
      const roots = issued.roots.map(parseCertificate);
      expect(roots.length).toBeGreaterThan(0);
      for (const one of chain)
        expect(one.der.equals(issued.leaf) || roots.some((root) => root.der.equals(one.der))).toBe(false);
      let below = leaf;
      for (const issuer of chain) {
        expect(below?.issuerDer).toEqual(issuer.subjectDer);
        below = issuer;
      }
      expect(roots.map(({ subjectDer }) => subjectDer.toString('hex'))).toContain(below?.issuerDer.toString('hex'));
    });

    it('tells a trust bundle that verifies its certificates, by our own rules and by OpenSSL', async () => {
      const started = await start();
      const issued = await issue(started);
      const bundle = await started.issuer.trustBundle(live());
      expect(bundle.roots.length).toBeGreaterThan(0);
      const at = started.deps.clock.now();
      expect(
        verifyChain({
          leaf: parseCertificate(issued.leaf),
          chain: issued.chain.map(parseCertificate),
          roots: bundle.roots.map(parseCertificate),
          at,
        }),
      ).toEqual({ ok: true });
      for (const purpose of ['sslserver', 'sslclient'] as const) {
        const { leaf, chain } = issued;
        expect(await opensslVerify({ leaf, chain, roots: bundle.roots, at, purpose }), purpose).toBe('OK');
      }
    });

    it('creates nothing when it only tells or inspects', async () => {
      const { issuer, deps } = await start();
      const before = deps.writes?.count;
      await issuer.trustBundle(live()).catch((error: unknown) => {
        // A backend may tell its roots with its first certificate only.
        if (!(error instanceof IssuancePendingError)) throw error;
      });
      await inspectAll(issuer);
      await issuer.abilities(live());
      expect(deps.writes?.count).toBe(before);
    });

    it('tells the lifetime that the certificate has', async () => {
      const started = await start();
      const issued = await issue(started);
      const leaf = parseCertificate(issued.leaf);
      const nowMs = started.deps.clock.now().getTime();
      expect([issued.notBefore, issued.notAfter]).toEqual([leaf.notBefore, leaf.notAfter]);
      expect(leaf.notBefore.getTime()).toBeLessThanOrEqual(nowMs);
      expect(leaf.notAfter.getTime()).toBeGreaterThan(nowMs);
      expect(leaf.notAfter.getTime()).toBeLessThanOrEqual(nowMs + ttlSeconds * 1000 + SERVER_DRIFT_MS);
    });

    it('never lets a certificate outlive its CA', async () => {
      const started = await start();
      const lenient = (options.tooLong ?? (started.module.local ? 'cut' : 'cut-or-error')) === 'cut-or-error';
      const issued = await issue({ ...started, ttlSeconds: TWO_HUNDRED_YEARS_SECONDS }).catch((error: unknown) => {
        if (lenient && error instanceof CaError) return undefined;
        throw error;
      });
      if (issued === undefined) return;
      const leaf = parseCertificate(issued.leaf);
      expect(issued.notAfter).toEqual(leaf.notAfter);
      for (const ca of [...issued.chain, ...issued.roots].map(parseCertificate)) {
        expect(leaf.notAfter.getTime()).toBeLessThanOrEqual(ca.notAfter.getTime());
        expect(leaf.notBefore.getTime()).toBeGreaterThanOrEqual(ca.notBefore.getTime());
      }
    });

    it('answers the same request twice without harm', async () => {
      const started = await start();
      const first = await issue(started, 'same');
      const second = await issue(started, 'same');
      for (const { leaf, chain, roots } of [first, second]) {
        const at = started.deps.clock.now();
        expect(await opensslVerify({ leaf, chain, roots, at, purpose: 'sslserver' })).toBe('OK');
      }
    });

    it(`serves ${AT_ONCE} requests at once, each with a serial number of its own`, async () => {
      const started = await start();
      const issued = await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => issue(started, `at-once-${i}`)));
      const serials = new Set(issued.map(({ leaf }) => parseCertificate(leaf).serialNumber));
      expect(serials.size).toBe(AT_ONCE);
    });

    it('rejects with the reason of a signal that has fired', async () => {
      const started = await start();
      const reason = new Error('the caller hung up');
      const aborted = { signal: AbortSignal.abort(reason) };
      await expect(issue(started, 'aborted', aborted)).rejects.toBe(reason);
      await expect(started.issuer.trustBundle(aborted)).rejects.toBe(reason);
    });

    testInspection(start);

    it('counts the requests that go out to its backend, and a local one has none', async () => {
      const started = await start();
      const before = started.deps.requests?.count;
      if (before === undefined) return;
      await issue(started);
      const sent = (started.deps.requests?.count ?? 0) - before;
      if (started.module.local) expect(sent).toBe(0);
      else expect(sent).toBeGreaterThan(0);
    });

    it('closes as often as it is asked to, and fails clearly afterwards', async () => {
      const started = await start();
      await issue(started);
      await started.issuer.close();
      await started.issuer.close();
      await expect(issue(started, 'after-close')).rejects.toBeInstanceOf(CaError);
      await expect(started.issuer.trustBundle(live())).rejects.toBeInstanceOf(CaError);
    });
  });
}

/** A real server has a clock of its own. */
const SERVER_DRIFT_MS = 5_000;

interface Started {
  readonly module: Pick<IssuerModule, 'local' | 'type' | 'checks'>;
  readonly issuer: Issuer;
  readonly deps: IssuerSetup<unknown>['deps'];
  readonly identity: Identity;
  readonly abilities: Awaited<ReturnType<Issuer['abilities']>>;
  readonly keyTypes: readonly KeyType[];
  readonly ttlSeconds: number;
}

export function live(): CallOptions {
  return { signal: new AbortController().signal };
}

/** A request as the service makes it: the CSR carries exactly the identity, so that a backend may sign it as it is. */
export async function requestFor(
  identity: Identity,
  type: KeyType,
  ttlSeconds: number,
  requestId = 'request-1',
): Promise<SignRequest> {
  const keyPair = await testKeyPair(type);
  return { csrDer: createCsr(keyPair, identity), spkiDer: keyPair.spkiDer, identity, ttlSeconds, requestId };
}

/** One certificate, the way this issuer can make it. */
async function issue(
  { issuer, identity, abilities, keyTypes, ttlSeconds }: Started,
  requestId = 'request-1',
  options: CallOptions = live(),
): Promise<IssuedCertificate> {
  if (!abilities.sign && isKeyPairIssuer(issuer))
    return issuer.issueKeyPair({ identity, ttlSeconds, requestId }, options);
  return issuer.sign(await requestFor(identity, keyTypes[0] ?? 'EC-P256', ttlSeconds, requestId), options);
}

function expectAcceptable(started: Started, issued: IssuedCertificate, spkiDer: Buffer): Certificate {
  const { identity, module, deps } = started;
  const leaf = parseCertificate(issued.leaf);
  const { uriSans, dnsNames, commonName } = identity;
  const at = deps.clock.now();
  expect(checkLeaf(leaf, { spkiDer, uriSans, dnsNames, commonName, profile: 'kuma', at })).toEqual([]);
  expect(leaf.spkiDer).toEqual(spkiDer);
  expect([leaf.uriSans, leaf.dnsNames, leaf.otherSanCount]).toEqual([uriSans, dnsNames, 0]);
  expect(leaf.commonName).toBe(commonName);
  expect(leaf.basicConstraints?.ca ?? false).toBe(false);
  expect([...(leaf.extendedKeyUsage ?? [])].sort()).toEqual(['clientAuth', 'serverAuth']);
  // The documented Vault role gives no key usage at all: kong-mesh.md, section 2.2.
  if (module.local || leaf.keyUsage !== undefined) {
    expect([...(leaf.keyUsage ?? [])].sort()).toEqual(expect.arrayContaining(['digitalSignature']));
  }
  if (module.local)
    expect([...(leaf.keyUsage ?? [])].sort()).toEqual(['digitalSignature', 'keyAgreement', 'keyEncipherment']);
  return leaf;
}

function uriSansOf(mesh: string): string[] {
  return [
    `spiffe://${mesh}/web`,
    `spiffe://${mesh}/web-api`,
    'kuma://kuma.io/service/web',
    'kuma://kuma.io/service/web-api',
    'kuma://version/v1',
  ];
}
