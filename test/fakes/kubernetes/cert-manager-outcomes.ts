import { generateKeyPair } from '../../../src/x509/key-pair.ts';
import type { IssuingCa } from './cert-manager-ca.ts';
import type { CertificateRequest, CertificateRequestStatus, Condition } from './certificate-request.ts';

/** What the controller decides about one request: an approval first, then how it ends; undefined: it is left as it is. */
export interface Decision {
  readonly approval?: Condition;
  end?(request: CertificateRequest, makers: Makers): Promise<CertificateRequestStatus> | CertificateRequestStatus;
}

/** What the ends are made of. */
export interface Makers {
  readonly now: Date;
  /** The one that is told, and those that are not. */
  readonly ca: IssuingCa;
  readonly foreignCa: IssuingCa;
  readonly expiredCa: IssuingCa;
  condition(type: Condition['type'], status: Condition['status'], reason: string, message: string): Condition;
}

type End = NonNullable<Decision['end']>;

/** What becomes of one request. */
export type Outcome =
  | 'issue'
  /** Ready=False, reason Failed, with failureTime. */
  | 'fail'
  /** Denied=True, then Ready=False, reason Denied. */
  | 'deny'
  /** InvalidRequest=True, and Ready=False, reason Failed. */
  | 'invalid'
  /** Never approved: no condition at all. */
  | 'ignore'
  /** Approved, then Ready=False, reason Pending, for ever. */
  | 'pending'
  /** Approved, then Ready=False, reason Pending: the issuer that is named does not exist. */
  | 'no-issuer'
  /** Issued for another key. */
  | 'wrong-key'
  /** Issued by a CA that neither `status.ca` nor the chain tells, under the same name. */
  | 'foreign-root'
  /** Issued by a CA whose time is over; it is told. */
  | 'expired-ca'
  /** Issued, and `status.ca` is empty, as external issuers leave it. */
  | 'no-ca'
  /** Issued; `status.ca` is the intermediate: a CA issuer whose Secret holds no root. */
  | 'partial-chain'
  /** Issued; `status.certificate` tells leaf, root, intermediate. */
  | 'odd-order'
  /** Ready=True, and `status.certificate` is no PEM. */
  | 'garbage'
  /** Ready=True, and there is no `status.certificate`. */
  | 'empty';

const pem = (...parts: readonly string[]) => Buffer.from(parts.join('')).toString('base64');

/** Ready=True with what `parts` makes. */
function issued(parts: (request: CertificateRequest, makers: Makers) => Promise<Issued> | Issued): End {
  return async (request, makers) => ({
    ...(await parts(request, makers)),
    conditions: [makers.condition('Ready', 'True', 'Issued', 'Certificate fetched from issuer successfully')],
  });
}
type Issued = Pick<CertificateRequestStatus, 'certificate' | 'ca'>;

/** By the CA that `of` names, told in full. */
function issuedBy(of: 'ca' | 'foreignCa' | 'expiredCa', toldBy: 'ca' | 'expiredCa'): End {
  return issued(({ spec }, makers) => ({
    certificate: pem(makers[of].sign(spec, makers.now), makers[toldBy].intermediatePem),
    ca: pem(makers[toldBy].rootPem),
  }));
}

function failed(reason: 'Failed' | 'Denied', message: string): End {
  return (_request, { condition, now }) => ({
    conditions: [condition('Ready', 'False', reason, message)],
    failureTime: `${now.toISOString().slice(0, 19)}Z`,
  });
}

const pending =
  (message: string): End =>
  (_request, { condition }) => ({ conditions: [condition('Ready', 'False', 'Pending', message)] });

const ENDS: Readonly<Record<Outcome, End | undefined>> = {
  issue: issuedBy('ca', 'ca'),
  'foreign-root': issuedBy('foreignCa', 'ca'),
  'expired-ca': issuedBy('expiredCa', 'expiredCa'),
  'wrong-key': issued(async ({ spec }, { ca, now }) => {
    const { spkiDer } = await generateKeyPair('EC-P256');
    return { certificate: pem(ca.sign(spec, now, spkiDer), ca.intermediatePem), ca: pem(ca.rootPem) };
  }),
  'no-ca': issued(({ spec }, { ca, now }) => ({ certificate: pem(ca.sign(spec, now), ca.intermediatePem) })),
  'partial-chain': issued(({ spec }, { ca, now }) => ({
    certificate: pem(ca.sign(spec, now), ca.intermediatePem),
    ca: pem(ca.intermediatePem),
  })),
  'odd-order': issued(({ spec }, { ca, now }) => ({
    certificate: pem(ca.sign(spec, now), ca.rootPem, ca.intermediatePem),
    ca: pem(ca.rootPem),
  })),
  garbage: issued((_request, { ca }) => ({ certificate: pem('no certificate\n'), ca: pem(ca.rootPem) })),
  empty: issued(() => ({})),
  fail: failed('Failed', 'Error signing certificate: the signer said no'),
  deny: failed('Denied', 'The CertificateRequest was denied by an approval controller'),
  invalid: (request, makers) => ({
    ...failed('Failed', 'The CSR is invalid')(request, makers),
    conditions: [
      makers.condition('InvalidRequest', 'True', 'InvalidRequest', 'the CSR names what it may not'),
      makers.condition('Ready', 'False', 'Failed', 'The CSR is invalid'),
    ],
  }),
  pending: pending('Waiting on certificate issuance from order: "pending"'),
  'no-issuer': pending('Referenced "Issuer" not found: issuer.cert-manager.io "other" not found'),
  ignore: undefined,
};

/** What to do for an outcome. */
export function decide(outcome: Outcome, condition: Makers['condition']): Decision {
  const end = ENDS[outcome];
  if (end === undefined) return {};
  const approval =
    outcome === 'deny'
      ? condition('Denied', 'True', 'policy.cert-manager.io', 'No policy approved this request')
      : condition('Approved', 'True', 'cert-manager.io', 'Certificate request has been approved by cert-manager.io');
  return { approval, end };
}
