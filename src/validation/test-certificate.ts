import type { Backend } from '../backends/backend.ts';
import { type AskOptions, askBackend, type BackendAnswer } from '../issuance/ask-backend.ts';
import { type CaBundle, type CallOptions, type Identity, isCleaner } from '../issuer/issuer.ts';
import type { Clock } from '../runtime/clock.ts';
import { type Certificate, parseCertificate } from '../x509/certificate.ts';
import { verifyChain } from '../x509/chain.ts';
import type { ExpectedLeaf, Profile } from '../x509/profile.ts';
import { testIdentity } from './test-identity.ts';

/** An hour is long enough for every backend, and soon over. */
const LIFETIME_SECONDS = 3_600;

/** A certificate that is issued to be looked at. Each thing is asked once, when it is first wanted; nothing of it is stored. */
export interface TestCertificate {
  readonly backend: Backend;
  readonly profile: Profile;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly ttlSeconds: number;
  /** @throws RequestInvalidError */
  identity(): Identity;
  /** Asks the backend, just as for a real data plane. @throws every error of the issuer contract */
  answer(): Promise<BackendAnswer & { readonly issuedAt: Date }>;
  /** What came, read. @throws X509Error */
  certificates(): Promise<IssuedCertificates>;
  /** What proxies are told to trust. @throws every error of the issuer contract */
  told(): Promise<CaBundle>;
  /** Names of what was made at the backend for it and stays there; undefined: such a backend makes nothing beside the certificate. */
  leftovers(): Promise<readonly string[] | undefined>;
  /** How long the handshake may take. Milliseconds. */
  handshakeMs(): number;
}

export interface IssuedCertificates {
  readonly leaf: Certificate;
  readonly chain: readonly Certificate[];
  readonly roots: readonly Certificate[];
}

export interface TestCertificateOptions extends AskOptions, CallOptions {
  readonly clock: Clock;
  readonly profile: Profile;
  /** On the monotonic clock: when the backend must have answered everything, and when the proof must be over. */
  readonly answeredByMs: number;
  readonly overByMs: number;
  readonly handshakeMs: number;
}

export function createTestCertificate(backend: Backend, options: TestCertificateOptions): TestCertificate {
  const { clock, profile, signal, answeredByMs, overByMs } = options;
  const ttlSeconds = Math.min(LIFETIME_SECONDS, backend.ttlSeconds);
  /** For each call: what is left of the time, if the backend does not set less. */
  const call = () => ({ signal, mostMs: answeredByMs - clock.monotonicMs() });
  const identity = once(() => testIdentity(backend, profile));
  const answer = once(async () => {
    const asked = { backend, identity: identity(), csr: undefined, ttlSeconds };
    const answered = await backend.within('certificate', call(), (within) => askBackend(asked, options, within));
    return { ...answered, issuedAt: clock.now() };
  });
  return {
    backend,
    profile,
    clock,
    signal,
    ttlSeconds,
    identity,
    answer,
    certificates: once(async () => {
      const { leaf, chain, roots } = (await answer()).issued;
      return { leaf: parseCertificate(leaf), chain: chain.map(parseCertificate), roots: roots.map(parseCertificate) };
    }),
    told: once(() =>
      backend.within('roots', call(), (within) =>
        backend.call('trustBundle', (issuer, inner) => issuer.trustBundle(inner), within),
      ),
    ),
    leftovers: once(async () => {
      if (!backend.has(isCleaner)) return undefined;
      return backend.within('certificate', call(), (within) =>
        backend.call('leftovers', async (issuer, inner) => (isCleaner(issuer) ? issuer.leftovers(inner) : []), within),
      );
    }),
    handshakeMs: () => Math.min(options.handshakeMs, overByMs - clock.monotonicMs()),
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** What a leaf must be like at `at`. */
export function expectedLeaf(test: TestCertificate, spkiDer: Buffer, at: Date): ExpectedLeaf {
  const { uriSans, dnsNames, commonName } = test.identity();
  return { spkiDer, uriSans, dnsNames, commonName, profile: test.profile, at };
}

/** Those of the roots that the chain ends in; times are not judged. */
export function anchorsOf({ leaf, chain }: IssuedCertificates, roots: readonly Certificate[]): Certificate[] {
  return roots.filter((root) => verifyChain({ leaf, chain, roots: [root], at: 'any time' }).ok);
}

/** The CAs above the leaf: intermediates, then the root; of a renewed root the one that lasts longest. Undefined: the chain has no root. */
export function casAbove(certificates: IssuedCertificates): readonly Certificate[] | undefined {
  const anchors = anchorsOf(certificates, certificates.roots);
  const [first, ...others] = anchors;
  if (first === undefined) return undefined;
  const root = others.reduce((best, other) => (other.notAfter > best.notAfter ? other : best), first);
  return [...certificates.chain.filter(({ der }) => !certificates.roots.some((other) => other.der.equals(der))), root];
}
