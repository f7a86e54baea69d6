import type { KeyObject } from 'node:crypto';
import { IssuerDeniedError, IssuerUnavailableError, RequestInvalidError } from '../../src/issuer/errors.ts';
import type { CaBundle, IssuedCertificate, IssuerDeps, SignRequest } from '../../src/issuer/issuer.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { createLeafSigner } from '../../src/x509/leaf-signer.ts';
import { randomSerialNumber } from './serial-number.ts';

/** A CA with its private key in this process. */
export interface CaKeyPair {
  /** The certificate that signs first, each one's issuer after it, the trust anchor last. One entry: the CA is its own root. */
  readonly path: readonly [Certificate, ...Certificate[]];
  /** Of the first certificate. */
  readonly privateKey: KeyObject;
  /** Roots of other CAs of this backend, which sign nothing here. */
  readonly alsoTrusted?: readonly Certificate[];
}

export interface InProcessCa {
  /** Gives the answer itself where the signature is cheap, and a promise where it is made in the thread pool. */
  sign(
    request: Pick<SignRequest, 'spkiDer' | 'identity' | 'ttlSeconds'>,
  ): IssuedCertificate | Promise<IssuedCertificate>;
  readonly bundle: CaBundle;
}

/** As Kuma: a proxy whose clock is a little behind accepts the certificate at once. */
const BACKDATE_MS = 10_000;

/**
 * Signs data plane certificates in this process: the part that `builtin` and `provided` have in common. Everything that does not depend on
 * the request is worked out here, once.
 *
 * A leaf never lives longer than any certificate of its path, nor begins before it: a longer one would be refused anyway, and the answer's
 * `notAfter` would be a lie.
 * @param renew what an operator does about a CA that is expired: one sentence
 * @throws X509Error when the CA has a key that cannot sign
 */
export function createInProcessCa(
  ca: CaKeyPair,
  deps: Pick<IssuerDeps, 'clock' | 'random'>,
  renew: string,
): InProcessCa {
  const [signing, ...issuers] = ca.path;
  const signer = createLeafSigner({ certificate: signing, privateKey: ca.privateKey });
  const endsFirst = ca.path.reduce((a, b) => (b.notAfter < a.notAfter ? b : a));
  const beginsLast = ca.path.reduce((a, b) => (b.notBefore > a.notBefore ? b : a));
  const [notBeforeMs, notAfterMs] = [beginsLast.notBefore.getTime(), endsFirst.notAfter.getTime()];
  const chain = ca.path.slice(0, -1).map(({ der }) => der);
  const roots = [(issuers.at(-1) ?? signing).der];

  function validity(ttlSeconds: number): { notBefore: Date; notAfter: Date } {
    const nowMs = deps.clock.now().getTime();
    if (!Number.isFinite(ttlSeconds) || ttlSeconds < 1) {
      throw new RequestInvalidError(`lifetime of ${ttlSeconds} s cannot be issued`, {
        fix: 'ask for at least one second',
      });
    }
    if (nowMs >= notAfterMs) {
      throw new IssuerDeniedError(
        `CA certificate "${endsFirst.subject}" expired at ${endsFirst.notAfter.toISOString()}`,
        {
          fix: renew,
        },
      );
    }
    if (nowMs < notBeforeMs) {
      throw new IssuerUnavailableError(
        `CA certificate "${beginsLast.subject}" is not valid before ${beginsLast.notBefore.toISOString()}`,
        { fix: 'wait until then, and check the clock of this machine', retryAfterMs: notBeforeMs - nowMs },
      );
    }
    return {
      notBefore: wholeSecond(Math.max(nowMs - BACKDATE_MS, notBeforeMs)),
      notAfter: wholeSecond(Math.min(nowMs + ttlSeconds * 1000, notAfterMs)),
    };
  }

  return {
    bundle: { roots: [...roots, ...(ca.alsoTrusted ?? []).map(({ der }) => der)], intermediates: chain },
    sign({ spkiDer, identity, ttlSeconds }) {
      const { notBefore, notAfter } = validity(ttlSeconds);
      const signed = signer.sign({
        spkiDer,
        uriSans: identity.uriSans,
        dnsNames: identity.dnsNames,
        commonName: identity.commonName,
        notBefore,
        notAfter,
        serialNumber: randomSerialNumber(deps.random),
      });
      if (Buffer.isBuffer(signed)) return { leaf: signed, chain, roots, notBefore, notAfter };
      return signed.then((leaf) => ({ leaf, chain, roots, notBefore, notAfter }));
    },
  };
}

/** X.509 times have no fractions (RFC 5280, 4.1.2.5). */
function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}
