import type { Certificate } from '../../src/x509/certificate.ts';
import { isRoot } from '../shared/ca-certificates.ts';
import type { Path } from '../shared/issued-certificate.ts';
import { type RememberOptions, remember } from '../shared/remembered.ts';
import type { CaArn } from './ca-arn.ts';
import { type CaFacts, combineFacts, factsOf, SHORT_LIVED_SECONDS } from './ca-facts.ts';
import type { Caller } from './caller.ts';
import { parseCertificates } from './chain.ts';
import { type Outcome, toError, valueOrThrow } from './failure.ts';

/** What is known of the CA, read at most once in ten minutes (its certificates: once a minute) and corrected by what its answers teach. */
export interface KnownFacts {
  /** @throws the error of a CA that is not ACTIVE, or that cannot be asked */
  get(signal: AbortSignal): Promise<CaFacts>;
  peek(): CaFacts | undefined;
  /**
   * The CA's certificate and those above it: told by AWS also for a CA that is disabled or expired.
   * @throws the error of a CA that cannot be asked, or may not be read and has issued nothing yet
   */
  certificates(signal: AbortSignal): Promise<readonly Certificate[]>;
  /** Something did not fit: read again. */
  forget(): void;
  /**
   * Whether the root of an issued certificate is the CA's: by what is known, else by what AWS tells now, because the CA may have been replaced. True
   * where the CA's certificate may not be read.
   * @throws the error of a CA that cannot be asked
   */
  confirms(path: Path, signal: AbortSignal): Promise<boolean>;
  /**
   * The way of a certificate that was issued. Teaches the key and the end of a CA that may not be read, and shows that a CA was replaced.
   * @param isShortLived AWS refused a longer life
   */
  learn(path: Path, isShortLived: boolean): void;
}

const MAX_AGE_MS = 600_000;
/** The trust bundle is asked for each minute: a certificate that was imported anew is to be trusted before it signs. */
const CERTIFICATES_MAX_AGE_MS = 40_000;
const LOAD_TIMEOUT_MS = 15_000;

export function createKnownFacts(
  ca: CaArn,
  caller: Caller,
  { clock, closing }: Pick<RememberOptions, 'clock' | 'closing'>,
): KnownFacts {
  const options = { clock, closing, loadTimeoutMs: LOAD_TIMEOUT_MS, maxAgeMs: MAX_AGE_MS };
  /** From certificates alone, for a CA that may not be read. */
  let learnt: CaFacts | undefined;

  async function readCertificates(signal: AbortSignal): Promise<Outcome<readonly Certificate[]>> {
    const read = await caller.getCaCertificate(signal);
    if (!read.ok) return read;
    return { ok: true, value: parseCertificates(`${read.value.Certificate}\n${read.value.CertificateChain ?? ''}`) };
  }

  const certificates = remember(
    async (signal) => {
      const read = await readCertificates(signal);
      if (!read.ok && read.failure.kind === 'denied' && learnt !== undefined) return learnt.certificates;
      return valueOrThrow(read);
    },
    { ...options, maxAgeMs: CERTIFICATES_MAX_AGE_MS },
  );

  const facts = remember(async (signal) => {
    const [description, read] = await Promise.all([caller.describe(signal), readCertificates(signal)]);
    if (read.ok) certificates.set(read.value);
    return withLearnt(valueOrThrow(combineFacts(ca, description, read)));
  }, options);

  /** Callers share what is asked at the same time; nothing is kept. */
  const reread = remember((signal) => readCertificates(signal), { ...options, maxAgeMs: 0 });
  const confirmed = new WeakSet<Path>();

  function withLearnt(read: CaFacts): CaFacts {
    if (learnt === undefined || read.certificates.length > 0) return read;
    return { ...learnt, ...(read.isModeKnown ? { maxLifeSeconds: read.maxLifeSeconds, isModeKnown: true } : {}) };
  }

  return {
    get: (signal) => facts.get(signal),
    peek: () => facts.peek(),
    async certificates(signal) {
      const told = await certificates.get(signal);
      const [known] = facts.peek()?.certificates ?? [];
      // Key and end of the CA may be others, too.
      if (known !== undefined && told[0]?.der.equals(known.der) === false) facts.forget();
      return told;
    },
    forget: () => facts.forget(),
    async confirms(path, signal) {
      if (confirmed.has(path)) return true;
      if (!isTold(path, facts.peek()?.certificates ?? [])) {
        const read = await reread.get(signal);
        if (!read.ok && read.failure.kind !== 'denied') throw toError(read.failure);
        if (read.ok && !isTold(path, read.value)) return false;
      }
      confirmed.add(path);
      return true;
    },
    learn({ chain, roots }, isShortLived) {
      const known = facts.peek();
      const issuers = chain.length > 0 ? chain.slice(0, 1) : roots;
      const isKnown = issuers.some((issuer) => known?.certificates.some(({ der }) => der.equals(issuer.der)));
      const isLifeKnown = !isShortLived || known?.maxLifeSeconds === SHORT_LIVED_SECONDS;
      if (isKnown && isLifeKnown) return;
      learnt = { ...factsOf([...chain, ...roots]), ...(isShortLived ? { maxLifeSeconds: SHORT_LIVED_SECONDS } : {}) };
      if (known === undefined) return;
      if (known.certificates.length === 0 || isKnown) {
        facts.set({ ...withLearnt({ ...known, certificates: [] }), certificates: learnt.certificates });
        certificates.forget();
        return;
      }
      // Another CA stands under this ARN: what may be read is read again.
      facts.forget();
      certificates.forget();
    },
  };
}

/** Of a CA that tells no root its own certificate has to do. */
function isTold({ chain, roots }: Path, told: readonly Certificate[]): boolean {
  const anchors = told.filter(isRoot);
  const [wanted, among] = anchors.length > 0 ? [roots, anchors] : [chain.slice(0, 1), told];
  return wanted.length > 0 && wanted.every((one) => among.some(({ der }) => der.equals(one.der)));
}
