import { IssuancePendingError, IssuerDeniedError, NotSupportedError } from '../issuer/errors.ts';
import { countText } from '../text/count-text.ts';
import { spanText } from '../text/span-text.ts';
import { type Certificate, fingerprintSha256, parseCertificate } from '../x509/certificate.ts';
import { buildChain, verifyChain } from '../x509/chain.ts';
import { X509Error } from '../x509/x509-error.ts';
import { failureFinding } from './issue-failure.ts';
import { type Finding, failed, passed, warned } from './run-checks.ts';
import { anchorsOf, casAbove, type IssuedCertificates, type TestCertificate } from './test-certificate.ts';

export async function lookAtChain(test: TestCertificate): Promise<Finding> {
  const certificates = await test.certificates();
  const { leaf, chain, roots } = certificates;
  const verdict = verifyChain({ leaf, chain, roots, at: 'any time' });
  if (verdict.ok) {
    const root = casAbove(certificates)?.at(-1);
    return passed(
      `${countText(chain.length, 'intermediate')} up to the root "${root?.subject}", every signature is right`,
    );
  }
  return failed({
    message: 'the chain does not lead from the certificate to its root',
    ...chainTrouble(certificates, verdict.reason),
  });
}

/** Why a chain is no path: what is missing, or what stands in a wrong place, or else what verifying it said. */
function chainTrouble({ leaf, chain, roots }: IssuedCertificates, reason: string): { cause: string; fix: string } {
  const built = buildChain(leaf, [...chain, ...roots]);
  if (!built.complete) {
    const last = built.chain.at(-1) ?? leaf;
    if ([...chain, ...roots].some(({ subjectDer }) => subjectDer.equals(last.issuerDer))) {
      return {
        cause: reason,
        fix: 'let the backend hand out the CA certificate of the very key that signs: after a renewal, the new one',
      };
    }
    return {
      cause: `the certificate of "${last.issuer}" is missing: ${reason}`,
      fix: 'let the backend hand out every CA certificate up to the root; where it cannot, give the missing ones in the conf',
    };
  }
  if (verifyChain({ leaf, ...built, at: 'any time' }).ok) {
    return {
      cause: `the CA certificates are all there, but not in order or not alone: ${reason}`,
      fix: 'let the backend hand them out in order, the issuer of the certificate first, and no others between them',
    };
  }
  return { cause: reason, fix: 'make the CA above the certificate anew so that it may issue it, and rotate to it' };
}

export async function lookAtTrust(test: TestCertificate): Promise<Finding> {
  const certificates = await test.certificates();
  let told: readonly Certificate[];
  try {
    told = (await test.told()).roots.map(parseCertificate);
  } catch (error) {
    test.signal.throwIfAborted();
    if (error instanceof IssuancePendingError || error instanceof NotSupportedError) told = [];
    else return trustFailure(error);
  }
  if (told.length === 0) {
    return passed('the backend tells its root with a certificate only: the root that came joins the trust bundle');
  }
  const [anchor] = anchorsOf(certificates, told);
  if (anchor !== undefined) return passed(`proxies trust the root "${anchor.subject}"`);
  const root = casAbove(certificates)?.at(-1);
  if (root === undefined) throw new TypeError('a verified chain without a root');
  return failed({
    message: `the root ${rootText(root)} of the certificate is not one that proxies are told to trust`,
    cause: `the backend tells ${countText(told.length, 'root')}: ${told.slice(0, 4).map(rootText).join(', ')}`,
    fix: 'let the root that the conf or the backend names be the one above its CA: set the right one, or have the CA signed by it',
  });
}

function trustFailure(error: unknown): Finding {
  const message = 'the backend does not tell which roots proxies are to trust';
  if (error instanceof X509Error) {
    return failed({ message, cause: `a root cannot be read: ${error.message}`, fix: 'set a proper root certificate' });
  }
  const finding = failureFinding(error);
  if (finding === undefined) throw error;
  // Certificates can be had all the same: the root joins the trust bundle with the first of them.
  if (error instanceof IssuerDeniedError) return { ...finding, status: 'warning', message };
  return { ...finding, message };
}

export async function lookAtRootLife(test: TestCertificate): Promise<Finding> {
  const cas = casAbove(await test.certificates()) ?? [];
  const at = (await test.answer()).issuedAt;
  const soonest = cas.reduce<Certificate | undefined>(
    (a, b) => (a !== undefined && a.notAfter <= b.notAfter ? a : b),
    undefined,
  );
  if (soonest === undefined) throw new TypeError('a verified chain without a CA');
  const fix = 'add a backend with a new CA to the mesh and rotate to it, or renew the CA with the same key';
  const early = cas.find(({ notBefore }) => notBefore > at);
  if (early !== undefined) {
    return failed({
      message: `the CA "${early.subject}" is not valid before ${early.notBefore.toISOString()}`,
      cause: 'its notBefore lies in the future, so proxies refuse every certificate below it',
      fix: 'wait until then, and look at the clocks: timedatectl status',
      retry: true,
    });
  }
  const end = soonest.notAfter.toISOString();
  const leftMs = soonest.notAfter.getTime() - at.getTime();
  if (leftMs <= 0) {
    return failed({
      message: `the CA "${soonest.subject}" ended at ${end}`,
      cause: 'proxies refuse every certificate below an ended CA',
      fix,
    });
  }
  const { ttlSeconds } = test.backend;
  if (leftMs < ttlSeconds * 1000) {
    return warned({
      message: `the CA "${soonest.subject}" ends at ${end}, in ${spanText(leftMs)}: sooner than a data plane certificate of ${spanText(ttlSeconds * 1000)}`,
      cause: `certificates are cut to that date or refused until then, and after it no connection of the mesh succeeds`,
      fix,
    });
  }
  return passed(`the first CA above it to end is "${soonest.subject}", at ${end}, in ${spanText(leftMs)}`);
}

/** Names are often alike: the beginning of what `openssl x509 -fingerprint -sha256` prints tells them apart. */
function rootText(root: Certificate): string {
  return `"${root.subject}" (SHA-256 ${fingerprintSha256(root.der).slice(0, 16)}...)`;
}
