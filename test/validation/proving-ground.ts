import { Backend, type BackendOptions } from '../../src/backends/backend.ts';
import type {
  CallOptions,
  Check,
  CheckRule,
  Cleaner,
  Issuer,
  IssuerModule,
  SignRequest,
} from '../../src/issuer/issuer.ts';
import { type Clock, systemClock } from '../../src/runtime/clock.ts';
import { type Log, silentLog } from '../../src/runtime/log.ts';
import { createSystemRandom } from '../../src/runtime/random.ts';
import type { ProveDeps } from '../../src/validation/prove-backend.ts';
import { generateKeyPair } from '../../src/x509/key-pair.ts';
import {
  buildCertificate,
  buildLeaf,
  type TestCertificate,
  type TestCertificateOptions,
} from '../x509/test-certificate.ts';
import { freshTestKey, type TestKeyType } from '../x509/test-keys.ts';

const DAY_MS = 24 * 3600 * 1000;

export interface TestCas {
  readonly root: TestCertificate;
  readonly upper: TestCertificate;
  readonly lower: TestCertificate;
}

/** Root, and two intermediates below it: valid around now. */
export function buildCas(
  changes: {
    readonly [ca in keyof TestCas]?: Partial<TestCertificateOptions> & { readonly keyType?: TestKeyType };
  } = {},
  clock: Clock = systemClock,
): TestCas {
  const at = (days: number) => new Date(Math.floor(clock.now().getTime() / 1000) * 1000 + days * DAY_MS);
  const build = (commonName: keyof TestCas, issuer: TestCertificate | undefined) => {
    const { keyType = 'EC-P256', ...more } = changes[commonName] ?? {};
    const validity = { notBefore: at(-10), notAfter: at(3650) };
    return buildCertificate({ key: freshTestKey(keyType), commonName, issuer, ...validity, ...more });
  };
  const root = build('root', undefined);
  const upper = build('upper', root);
  return { root, upper, lower: build('lower', upper) };
}

/** What a test bends of an otherwise honest backend. */
export interface Bends {
  /** Changes the leaf that is made for a request. */
  readonly leaf?: (request: SignRequest, clock: Clock) => Partial<TestCertificateOptions>;
  /** Changes the leaf's bytes. */
  readonly bytes?: (leaf: Buffer) => Buffer;
  readonly cas?: TestCas;
  readonly chain?: (cas: TestCas) => readonly TestCertificate[];
  readonly told?: (cas: TestCas) => readonly TestCertificate[];
  /** Called at the start of each call; what it throws, the call throws. */
  readonly onCall?: (call: CallName, options: CallOptions) => Promise<void> | void;
  /** What `leftovers` tells. Default: none. */
  readonly leftovers?: Cleaner['leftovers'];
  readonly subject?: Issuer['subject'];
  readonly checks?: readonly CheckRule[];
  readonly inspect?: Issuer['inspect'];
  readonly ttlSeconds?: number;
  readonly clock?: Clock;
  readonly options?: Partial<BackendOptions>;
}

export type CallName = 'inspect' | 'abilities' | 'sign' | 'trustBundle';

export const CHECKS: readonly CheckRule[] = [
  { name: 'bent.address-reachable', blocks: true, field: 'address' },
  { name: 'bent.role-fits', field: 'role' },
  { name: 'bent.ca-valid', blocks: true },
];

export const found = (name: string, more: Partial<Check> = {}): Check => ({
  name,
  status: 'passed',
  message: `${name} is well`,
  durationMs: 1,
  ...more,
});

/** A backend of the type `bent` with a root and two intermediates, honest but for what is bent. Counts what it is asked. */
export function createBentBackend(bends: Bends = {}): { backend: Backend; requests: SignRequest[]; cas: TestCas } {
  const { clock = systemClock, checks = CHECKS } = bends;
  const cas = bends.cas ?? buildCas({}, clock);
  const requests: SignRequest[] = [];
  const started = async (call: CallName, options: CallOptions) => {
    options.signal.throwIfAborted();
    await bends.onCall?.(call, options);
  };
  const issuer: Issuer & Cleaner = {
    subject: bends.subject ?? (() => ({ commonName: '', dnsNames: [] })),
    async abilities(options) {
      await started('abilities', options);
      return { sign: true, signsCsrAsIs: true, issueKeyPair: false, keyTypes: ['EC-P256'] };
    },
    async sign(request, options) {
      await started('sign', options);
      requests.push(request);
      const nowMs = Math.floor(clock.now().getTime() / 1000) * 1000;
      const made = buildLeaf({
        key: { spkiDer: request.spkiDer, privateKey: cas.lower.key.privateKey },
        issuer: cas.lower,
        commonName: request.identity.commonName,
        uriSans: request.identity.uriSans,
        notBefore: new Date(nowMs - 30_000),
        notAfter: new Date(nowMs + request.ttlSeconds * 1000),
        ...bends.leaf?.(request, clock),
      }).certificate;
      const { notBefore, notAfter } = made;
      const chain = (bends.chain?.(cas) ?? [cas.lower, cas.upper]).map(({ certificate }) => certificate.der);
      return {
        leaf: bends.bytes?.(made.der) ?? made.der,
        chain,
        roots: [cas.root.certificate.der],
        notBefore,
        notAfter,
      };
    },
    async trustBundle(options) {
      await started('trustBundle', options);
      return { roots: (bends.told?.(cas) ?? [cas.root]).map(({ certificate }) => certificate.der), intermediates: [] };
    },
    async inspect(options) {
      await started('inspect', options);
      if (bends.inspect !== undefined) return bends.inspect(options);
      for (const { name } of checks) options.report(found(name));
    },
    leftovers: (options) => bends.leftovers?.(options) ?? Promise.resolve([]),
    close: async () => {},
  };
  const backend = new Backend({
    mesh: 'default',
    name: 'bent-1',
    type: 'bent',
    local: false,
    endpoint: 'bent:default/bent-1',
    concurrency: { start: 1, max: 1, targetDelayMs: 50 },
    checks,
    billed: false,
    hash: 'of-the-conf',
    ttlSeconds: bends.ttlSeconds ?? 30 * 24 * 3600,
    limits: { issueTimeoutMs: 30_000, rootTimeoutMs: 10_000 },
    issuer,
    clock,
    log: silentLog,
    ...bends.options,
  });
  return { backend, requests, cas };
}

export function proveDeps(clock: Clock = systemClock, log: Log = silentLog): ProveDeps {
  return {
    makeKey: generateKeyPair,
    keyType: 'EC-P256',
    random: createSystemRandom(),
    clock,
    profile: 'kuma',
    log,
  };
}

/** An issuer of a real adapter as the registry makes a backend of it. */
export function backendOf(
  module: Pick<IssuerModule, 'type' | 'local' | 'checks' | 'billed'>,
  issuer: Issuer,
  clock: Clock = systemClock,
): Backend {
  return new Backend({
    mesh: 'default',
    name: 'ca-1',
    type: module.type,
    local: module.local,
    endpoint: `${module.type}:here`,
    concurrency: { start: 1, max: 1, targetDelayMs: 50 },
    checks: module.checks,
    billed: module.billed === true,
    hash: 'of-the-conf',
    ttlSeconds: 30 * 24 * 3600,
    limits: { issueTimeoutMs: 30_000, rootTimeoutMs: 10_000 },
    issuer,
    clock,
    log: silentLog,
  });
}
