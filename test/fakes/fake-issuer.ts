import { randomBytes } from 'node:crypto';
import { IssuerUnavailableError, RequestInvalidError } from '../../src/issuer/errors.ts';
import type {
  CallOptions,
  Check,
  CheckRule,
  Concurrency,
  Credential,
  CredentialHolder,
  IssuedCertificate,
  Issuer,
  IssuerDeps,
  IssuerModule,
  KeyType,
  SignRequest,
} from '../../src/issuer/issuer.ts';
import { type Certificate, parseCertificate } from '../../src/x509/certificate.ts';
import { generateKeyPair, type KeyPair } from '../../src/x509/key-pair.ts';
import { createLeafSigner } from '../../src/x509/leaf-signer.ts';
import { createRootCertificate } from '../../src/x509/root-certificate.ts';
import { parseSubjectPublicKey } from '../../src/x509/subject-public-key.ts';

interface Ca {
  readonly certificate: Certificate;
  readonly keyPair: KeyPair;
}

/** What a fake backend does; a test changes it while it runs. */
export interface FakeBackend {
  /** Calls of `sign`, all of them. */
  signs: number;
  /** Calls of `trustBundle`, all of them. */
  bundleReads: number;
  /** Calls of `inspect`, all of them. */
  inspects: number;
  /** Awaited at the start of every call; the call's signal ends the wait. `options` has `park`, too. */
  onCall: (call: 'abilities' | 'sign' | 'trustBundle' | 'inspect', options: CallOptions) => Promise<void> | void;
  /** What `inspect` finds, told in this order. */
  checks: Check[];
  /** What `credential` tells. */
  credential: Credential | undefined;
  /** Thrown by every call while set. */
  failure: Error | undefined;
  /** Thrown by `trustBundle` only. */
  bundleFailure: Error | undefined;
  /** Said by `abilities`; another key is refused, and then known. */
  keyTypes: KeyType[];
  /** The only key type that is really signed. */
  onlyKeyType: KeyType | undefined;
  /** Resolved before `sign` goes on; the call's signal ends the wait. */
  gate: Promise<void> | undefined;
  /** Changes what `sign` was asked, to give a wrong answer. */
  twist: (request: SignRequest) => Partial<SignRequest>;
  /** Changes the answer itself. */
  bend: (issued: IssuedCertificate) => IssuedCertificate | Promise<IssuedCertificate>;
  ca: Ca;
  /** Instances that were made, and closed. */
  created: number;
  closed: number;
}

export async function createFakeCa(name: string): Promise<Ca> {
  const keyPair = await generateKeyPair('EC-P256');
  const now = Date.now();
  const der = await createRootCertificate({
    keyPair,
    subject: { organization: '', organizationalUnit: '', commonName: name },
    uriSan: '',
    notBefore: new Date(now - 86_400_000),
    notAfter: new Date(now + 365 * 86_400_000),
    serialNumber: Buffer.concat([Buffer.of(1), randomBytes(8)]),
  });
  return { keyPair, certificate: parseCertificate(der) };
}

/** What cannot change while it runs. */
export interface FakeModuleOptions {
  /** Of what `checks` may tell. Default: `FAKE_RULES`. */
  readonly rules?: readonly CheckRule[];
  /** Default: each backend has its own. */
  readonly endpoint?: (conf: unknown) => string;
  readonly concurrency?: Concurrency;
  /** Default: not. */
  readonly billed?: boolean;
}

export const FAKE_RULES: readonly CheckRule[] = [
  { name: 'fake.address-reachable', blocks: true, field: 'address' },
  { name: 'fake.token-valid', blocks: true, field: 'token' },
  { name: 'fake.ca-valid' },
];

/** All is well. */
export const FAKE_CHECKS: readonly Check[] = FAKE_RULES.map(({ name }) => ({
  name,
  status: 'passed',
  message: 'is well',
  durationMs: 1,
}));

/** An external backend that really signs, honestly unless told otherwise. Its type in the Mesh is `fake`. */
export async function createFakeIssuer(options: FakeModuleOptions = {}): Promise<{
  readonly backend: FakeBackend;
  readonly module: IssuerModule<unknown>;
}> {
  const backend: FakeBackend = {
    signs: 0,
    bundleReads: 0,
    inspects: 0,
    checks: [...FAKE_CHECKS],
    credential: undefined,
    onCall: () => {},
    failure: undefined,
    bundleFailure: undefined,
    gate: undefined,
    keyTypes: ['EC-P256', 'RSA-2048'],
    onlyKeyType: undefined,
    twist: () => ({}),
    bend: (issued) => issued,
    ca: await createFakeCa('fake root'),
    created: 0,
    closed: 0,
  };
  const module: IssuerModule<unknown> = {
    type: 'fake',
    local: false,
    checks: options.rules ?? FAKE_RULES,
    ...(options.endpoint !== undefined && { endpoint: options.endpoint }),
    ...(options.concurrency !== undefined && { concurrency: options.concurrency }),
    ...(options.billed !== undefined && { billed: options.billed }),
    parseConf: (conf) => conf,
    usedSecrets: () => [],
    create(_context, _conf, deps) {
      backend.created += 1;
      return createIssuer(backend, deps);
    },
  };
  return { backend, module };
}

function createIssuer(backend: FakeBackend, deps: IssuerDeps): Issuer & CredentialHolder {
  let closed = false;
  return {
    subject: () => ({ commonName: '', dnsNames: [] }),
    credential: () => backend.credential,
    async abilities(options) {
      await orAborted(backend.onCall('abilities', options), options.signal);
      if (backend.failure !== undefined) throw backend.failure;
      return { sign: true, signsCsrAsIs: false, issueKeyPair: false, keyTypes: backend.keyTypes };
    },
    async sign(request, options) {
      const { signal } = options;
      backend.signs += 1;
      if (closed) throw new IssuerUnavailableError('is closed');
      deps.onRequest();
      await orAborted(backend.onCall('sign', options), signal);
      await orAborted(backend.gate, signal);
      if (backend.failure !== undefined) throw backend.failure;
      const { onlyKeyType } = backend;
      if (onlyKeyType !== undefined && parseSubjectPublicKey(request.spkiDer).type !== onlyKeyType) {
        backend.keyTypes = [onlyKeyType];
        throw new RequestInvalidError(`takes only ${onlyKeyType} keys`);
      }
      const asked = { ...request, ...backend.twist(request) };
      const { ca } = backend;
      const notBefore = new Date(Math.floor(Date.now() / 1000) * 1000 - 30_000);
      const notAfter = new Date(notBefore.getTime() + asked.ttlSeconds * 1000);
      const signer = createLeafSigner({ certificate: ca.certificate, privateKey: ca.keyPair.privateKey });
      const { uriSans, dnsNames, commonName } = asked.identity;
      const serialNumber = Buffer.concat([Buffer.of(1), randomBytes(15)]);
      const leaf = await signer.sign({
        spkiDer: asked.spkiDer,
        uriSans,
        dnsNames,
        commonName,
        notBefore,
        notAfter,
        serialNumber,
      });
      return backend.bend({ leaf, chain: [], roots: [ca.certificate.der], notBefore, notAfter });
    },
    async trustBundle(options) {
      backend.bundleReads += 1;
      deps.onRequest();
      await orAborted(backend.onCall('trustBundle', options), options.signal);
      const failure = backend.failure ?? backend.bundleFailure;
      if (failure !== undefined) throw failure;
      return { roots: [backend.ca.certificate.der], intermediates: [] };
    },
    async inspect(options) {
      backend.inspects += 1;
      deps.onRequest();
      await orAborted(backend.onCall('inspect', options), options.signal);
      for (const check of backend.checks) options.report(check);
    },
    async close() {
      if (!closed) backend.closed += 1;
      closed = true;
    },
  };
}

async function orAborted(work: Promise<void> | void, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await Promise.race([
    work,
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
  ]);
}
