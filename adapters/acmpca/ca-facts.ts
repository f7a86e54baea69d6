import type { Certificate } from '../../src/x509/certificate.ts';
import type { CallContext } from './error-rules.ts';
import { nameOf } from './errors.ts';
import { type Failure, failed, type Outcome } from './failure.ts';
import type { CaDescription, CaState } from './replies.ts';
import { algorithmOfCertificate, algorithmOfKeyName, GUESSES, type SigningAlgorithm } from './signing-algorithm.ts';
import type { LifeBounds } from './validity.ts';

/** What is known of the CA. Everything may be missing: issuing needs no right to read. */
export interface CaFacts extends LifeBounds {
  /** In the order in which they are tried; one when the CA's key is known. */
  readonly signingAlgorithms: readonly SigningAlgorithm[];
  /** The CA's certificate first, then those above it. Empty when they may not be read and no certificate has told them yet. */
  readonly certificates: readonly Certificate[];
  /** Whether the CA is in short-lived mode is known, and stands in `maxLifeSeconds`. */
  readonly isModeKnown: boolean;
}

const NOTHING_KNOWN: CaFacts = {
  ...{ notBefore: undefined, notAfter: undefined, maxLifeSeconds: undefined },
  ...{ signingAlgorithms: GUESSES, certificates: [], isModeKnown: false },
};

/** A CA in short-lived mode allows seven days (AWS Private CA user guide, "CA modes"). */
export const SHORT_LIVED_SECONDS = 7 * 24 * 3600;

/** What is wrong with a CA that is not ACTIVE, and what to do. */
const STATES: Readonly<Record<Exclude<CaState, 'ACTIVE'>, { readonly is: string; fix(arn: string): string }>> = {
  CREATING: {
    is: 'is still being created',
    fix: () => 'wait until its state is PENDING_CERTIFICATE, then give it a certificate',
  },
  PENDING_CERTIFICATE: {
    is: 'has no certificate yet',
    fix: (arn) =>
      `sign its CSR and give it the certificate: aws acm-pca import-certificate-authority-certificate --certificate-authority-arn ${arn} --certificate fileb://ca.pem`,
  },
  DISABLED: {
    is: 'is disabled',
    fix: (arn) => `aws acm-pca update-certificate-authority --certificate-authority-arn ${arn} --status ACTIVE`,
  },
  DELETED: {
    is: 'is deleted',
    fix: (arn) =>
      `aws acm-pca restore-certificate-authority --certificate-authority-arn ${arn}, then set its status to ACTIVE; or correct arn`,
  },
  EXPIRED: {
    is: 'has expired',
    fix: (arn) =>
      `give it a new certificate (aws acm-pca get-certificate-authority-csr, then import-certificate-authority-certificate, --certificate-authority-arn ${arn})`,
  },
  FAILED: { is: 'could not be created', fix: () => 'create another CA and correct arn' },
};

/** The failure that a CA in this state stands for; undefined for ACTIVE. */
export function stateFailure(description: CaDescription, ca: CallContext['ca']): Failure | undefined {
  if (description.Status === 'ACTIVE') return undefined;
  const { is, fix } = STATES[description.Status];
  const why = description.FailureReason ? `: ${description.FailureReason}` : '';
  return { kind: 'state', message: `${nameOf({ ca })} ${is} (${description.Status}${why})`, fix: fix(ca.text) };
}

/**
 * Puts together what the CA's description and its certificates say, either of which IAM may not let us read. Fails when neither could be read for
 * another reason, or when the CA is not ACTIVE.
 */
export function combineFacts(
  ca: CallContext['ca'],
  description: Outcome<CaDescription>,
  certificates: Outcome<readonly Certificate[]>,
): Outcome<CaFacts> {
  const state = description.ok ? stateFailure(description.value, ca) : undefined;
  if (state !== undefined) return failed(state);
  if (!description.ok && !certificates.ok) {
    const real = [description, certificates].find(({ failure }) => failure.kind !== 'denied');
    return real ?? { ok: true, value: NOTHING_KNOWN };
  }
  const facts = certificates.ok ? factsOf(certificates.value) : NOTHING_KNOWN;
  return { ok: true, value: description.ok ? withDescription(facts, description.value) : facts };
}

/** What the certificates of the CA say: key, and the life of the shortest-lived. */
export function factsOf(certificates: readonly Certificate[]): CaFacts {
  const [own] = certificates;
  if (own === undefined) return NOTHING_KNOWN;
  const algorithm = algorithmOfCertificate(own);
  return {
    signingAlgorithms: algorithm === undefined ? GUESSES : [algorithm],
    notBefore: own.notBefore,
    notAfter: certificates.reduce((end, { notAfter }) => (notAfter < end ? notAfter : end), own.notAfter),
    maxLifeSeconds: undefined,
    isModeKnown: false,
    certificates,
  };
}

function withDescription(facts: CaFacts, description: CaDescription): CaFacts {
  const algorithm = algorithmOfKeyName(description.CertificateAuthorityConfiguration?.KeyAlgorithm ?? '');
  return {
    ...facts,
    ...(algorithm === undefined ? {} : { signingAlgorithms: [algorithm] }),
    notBefore: facts.notBefore ?? description.NotBefore ?? undefined,
    notAfter: facts.notAfter ?? description.NotAfter ?? undefined,
    maxLifeSeconds: description.UsageMode === 'SHORT_LIVED_CERTIFICATE' ? SHORT_LIVED_SECONDS : undefined,
    isModeKnown: true,
  };
}
