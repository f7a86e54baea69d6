import { countText } from '../text/count-text.ts';
import { spanText } from '../text/span-text.ts';
import { checkLeaf, type LeafRuleGroup } from '../x509/profile.ts';
import { X509Error } from '../x509/x509-error.ts';
import { failureFinding } from './issue-failure.ts';
import { type Finding, failed, passed, type Trouble, warned } from './run-checks.ts';
import { expectedLeaf, type TestCertificate } from './test-certificate.ts';

/** Backdating and rounding: no difference worth a word. */
const TOLERANCE_MS = 60_000;

export async function lookAtIssuing(test: TestCertificate): Promise<Finding> {
  try {
    await test.answer();
    return passed(`the backend issued a test certificate for ${test.identity().uriSans[0] ?? 'the test data plane'}`);
  } catch (error) {
    test.signal.throwIfAborted();
    const finding = failureFinding(error);
    if (finding === undefined) throw error;
    return finding;
  }
}

export async function lookAtReading(test: TestCertificate): Promise<Finding> {
  try {
    const { chain, roots } = await test.certificates();
    return passed(
      `certificate, ${countText(chain.length, 'intermediate')} and ${countText(roots.length, 'root')} are proper X.509`,
    );
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return failed({
      message: 'what the backend issued cannot be read',
      cause: `${error.message} (${error.rule})`,
      fix: 'look for the software of the CA that writes it, and for a proxy that changes answers',
    });
  }
}

type LeafLook = Pick<Trouble, 'message'> & {
  readonly good: (test: TestCertificate) => string;
  readonly fix: (test: TestCertificate) => string;
};

/** One group of the rules that real certificates are judged by, too (x509/profile.ts). */
export function lookAtRules(group: LeafRuleGroup, { message, good, fix }: LeafLook) {
  return async (test: TestCertificate): Promise<Finding> => {
    const { leaf } = await test.certificates();
    const { spkiDer, issuedAt } = await test.answer();
    const faults = checkLeaf(leaf, expectedLeaf(test, spkiDer, issuedAt), group);
    if (faults.length === 0) return passed(good(test));
    return failed({ message, cause: faults.join('; '), fix: fix(test) });
  };
}

export async function lookAtTime(test: TestCertificate): Promise<Finding> {
  const { leaf } = await test.certificates();
  const { spkiDer, issuedAt } = await test.answer();
  const [fault] = checkLeaf(leaf, expectedLeaf(test, spkiDer, issuedAt), 'time');
  if (fault === undefined) return passed(`it is valid now, since ${leaf.notBefore.toISOString()}`);
  const earlyMs = leaf.notBefore.getTime() - issuedAt.getTime();
  return failed({
    message: `the certificate cannot be used now, at ${issuedAt.toISOString()}: ${fault}`,
    cause:
      earlyMs > 0
        ? `the clock of the backend is at least ${spanText(Math.ceil(earlyMs / 1000) * 1000)} ahead of that of mesh-ca`
        : 'the clock of the backend is behind that of mesh-ca, or its CA has ended',
    fix: 'synchronise both clocks by NTP: timedatectl status, on both machines',
  });
}

export async function lookAtLifetime(test: TestCertificate): Promise<Finding> {
  const { issuedAt } = await test.answer();
  const { notAfter } = (await test.certificates()).leaf;
  const askedMs = test.ttlSeconds * 1000;
  const gotMs = notAfter.getTime() - issuedAt.getTime();
  const said = `asked for ${spanText(askedMs)}, got ${spanText(gotMs)}`;
  const toleranceMs = Math.min(TOLERANCE_MS, askedMs / 10);
  if (gotMs > askedMs + toleranceMs) {
    return warned({
      message: `the certificate lives longer than asked: ${said}`,
      cause: 'the backend takes no notice of the lifetime that is asked',
      fix: 'let the backend give the lifetime that the Mesh says in dpCert.rotation.expiration, or write its own there',
    });
  }
  if (gotMs >= askedMs - toleranceMs) return passed(`it lives as long as asked: ${spanText(askedMs)}`);
  const fix =
    'raise the longest lifetime that the backend gives, or renew its CA if that ends, or ask for less in dpCert.rotation.expiration';
  if (gotMs * 2 >= askedMs) {
    return warned({
      message: `the lifetime was cut: ${said}`,
      cause: 'the backend, or the end of its CA, sets a limit',
      fix,
    });
  }
  return warned({
    message: `the lifetime was cut to less than half: ${said}`,
    cause: `proxies ask at least ${timesOften(askedMs, gotMs)} times as often, and an outage of the backend is borne for ${spanText(gotMs)} at most`,
    fix,
  });
}

function timesOften(askedMs: number, gotMs: number): number {
  return Math.floor(askedMs / Math.max(gotMs, 1_000));
}
