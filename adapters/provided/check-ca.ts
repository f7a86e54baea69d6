import type { Violation } from '../../src/issuer/errors.ts';
import type { ConfFindings } from '../../src/issuer/issuer.ts';
import { caKeyFault, caSignatureFault } from '../../src/x509/ca-algorithms.ts';
import type { Certificate } from '../../src/x509/certificate.ts';
import { caLife } from '../shared/ca-life.ts';
import { findCaPath, isRoot } from './ca-path.ts';

interface CertificateRule {
  readonly level: 'violation' | 'warning';
  holds(certificate: Certificate): boolean;
  readonly message: string;
}

/** The page "Mutual TLS", section CA requirements, in Kuma's order and words. Asked of every certificate of the file. */
const CERTIFICATE_RULES: readonly CertificateRule[] = [
  {
    level: 'violation',
    holds: ({ basicConstraints }) => basicConstraints?.ca === true,
    message: "basic constraint 'CA' must be set to 'true' (see X509-SVID: 4.1. Basic Constraints)",
  },
  {
    level: 'violation',
    holds: ({ keyUsage }) => keyUsage?.has('keyCertSign') === true,
    message: "key usage extension 'keyCertSign' must be set (see X509-SVID: 4.3. Key Usage)",
  },
  {
    level: 'violation',
    holds: ({ keyUsage }) => keyUsage?.has('keyAgreement') !== true,
    message: "key usage extension 'keyAgreement' must NOT be set (see X509-SVID: Appendix A. X.509 Field Reference)",
  },
  {
    level: 'warning',
    holds: ({ keyUsage }) => keyUsage?.has('digitalSignature') !== true,
    message:
      "key usage extension 'digitalSignature' should not be set (see X509-SVID: Appendix A. X.509 Field Reference)",
  },
  {
    level: 'warning',
    holds: ({ keyUsage }) => keyUsage?.has('keyEncipherment') !== true,
    message:
      "key usage extension 'keyEncipherment' should not be set (see X509-SVID: Appendix A. X.509 Field Reference)",
  },
];

/**
 * Judges the certificates of the file in its order. First Kuma's rules, then ours: a CA whose certificates every proxy refuses is refused
 * here, while it can still be corrected without an outage.
 */
export function checkCa(file: readonly [Certificate, ...Certificate[]], at: Date): ConfFindings {
  return collect((find, violations) => {
    checkForm(file, find);
    checkLife(file, at, find);
    checkChain(file, violations, find);
  });
}

/** Those of `checkCa` that do not depend on the time. */
export function checkCaForm(file: readonly [Certificate, ...Certificate[]]): ConfFindings {
  return collect((find, violations) => {
    checkForm(file, find);
    checkChain(file, violations, find);
  });
}

function collect(judge: (find: Find, violations: Violation[]) => void): ConfFindings {
  const violations: Violation[] = [];
  const warnings: string[] = [];
  judge((level, i, message) => {
    if (level === 'violation') violations.push({ field: `cert[${i}]`, message });
    else warnings.push(`cert[${i}]: ${message}`);
  }, violations);
  return { violations, warnings };
}

type Find = (level: CertificateRule['level'], i: number, message: string) => void;

function checkForm(file: readonly Certificate[], find: Find): void {
  for (const [i, certificate] of file.entries()) {
    for (const rule of CERTIFICATE_RULES) if (!rule.holds(certificate)) find(rule.level, i, rule.message);
  }
  checkAlgorithms(file, find);
}

function checkAlgorithms(file: readonly Certificate[], find: Find): void {
  for (const [i, certificate] of file.entries()) {
    const faults = [caKeyFault(certificate), isRoot(certificate) ? undefined : caSignatureFault(certificate)];
    for (const fault of faults) if (fault !== undefined) find('violation', i, fault);
  }
}

function checkLife(file: readonly Certificate[], at: Date, find: Find): void {
  for (const [i, certificate] of file.entries()) {
    const { state, sentence } = caLife(certificate, at);
    if (state === 'expired') find('violation', i, `${sentence}: provide a CA certificate that is still valid`);
    if (state === 'not-yet-valid')
      find('violation', i, `${sentence}: wait until then, or check the clock of this machine`);
    if (state === 'ends-soon')
      find('warning', i, `${sentence}: certificates of data planes end with it; rotate to a new backend`);
  }
}

function checkChain(file: readonly [Certificate, ...Certificate[]], violations: Violation[], find: Find): void {
  const path = findCaPath(file);
  for (const i of path.doubles) find('warning', i, 'stands in the file twice: remove one of them');
  const end = path.positions.at(-1) ?? 0;
  // A signature that is not read links nothing: that is said already, and the certificates behind it are not to blame.
  const cut = !path.complete && caSignatureFault(file[end] ?? file[0]) !== undefined;
  for (const i of cut ? [] : path.strangers) {
    const message = `"${subjectOf(file, i)}" signs no other certificate of the chain: remove it; a second CA to trust is a backend of its own`;
    find('violation', i, message);
  }
  if (!path.complete && !cut) {
    violations.push({
      field: 'cert',
      message: `has to end with the self-signed root certificate, but cert[${end}] "${subjectOf(file, end)}" is issued by "${file[end]?.issuer}", which is not in the file: append that certificate (and its issuers, up to the root)`,
    });
  }
  const inOrder = [...path.positions].sort((a, b) => a - b);
  if (path.positions.some((position, i) => position !== inOrder[i])) {
    const order = path.positions.map((i) => `cert[${i}]`).join(', ');
    find(
      'warning',
      path.positions[1] ?? 0,
      `not in order: each certificate should be followed by its issuer: ${order}`,
    );
  }
  // RFC 5280, 6.1.4 (l): self-issued certificates do not count.
  let below = 0;
  for (const i of path.positions) {
    const limit = file[i]?.basicConstraints?.pathLength;
    if (limit !== undefined && limit < below) {
      find(
        'violation',
        i,
        `path length ${limit} allows ${limit} CA certificates below it, but the chain has ${below}: give a CA made for intermediates`,
      );
    }
    if (file[i]?.isSelfIssued === false) below += 1;
  }
}

function subjectOf(file: readonly Certificate[], i: number): string {
  return file[i]?.subject ?? '';
}
