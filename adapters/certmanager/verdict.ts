import type { Failure } from './failure.ts';
import type { CertificateRequest } from './replies.ts';
import { cleanText } from './reply-text.ts';

/** What a CertificateRequest says of itself. */
export type Verdict =
  | { readonly state: 'issued'; readonly certificatePem: string; readonly caPem: string }
  | { readonly state: 'refused'; readonly failure: Failure }
  /** `told`: cert-manager has looked at it and waits for something. `message`: what it says, '' for nothing. */
  | { readonly state: 'pending'; readonly told: boolean; readonly message: string };

type Condition = NonNullable<NonNullable<CertificateRequest['status']>['conditions']>[number];

/** A failure of the issuer behind cert-manager that may pass by itself. cert-manager tries no failed request again, so ours ends here. */
const PASSING =
  /time(d )?[ -]?out|deadline exceeded|connection|refused|unavailable|unreachable|throttl|too many requests|rate limit|\b(429|5\d\d)\b|sealed|standby|\bEOF\b|dial tcp|no such host|i\/o|TLS handshake|try again/i;
const FAILED_RETRY_MS = 10_000;
/** What an issuer says of names that it gives to nobody. */
const OF_REQUEST =
  /not (allowed|permitted|valid for this role)|disallowed|forbidden name|name constraint|violates|policy/i;

/**
 * Conditions as cert-manager documents them: Ready (True, or False for reason Pending, Failed, Denied), Approved, Denied, InvalidRequest.
 * https://cert-manager.io/docs/usage/certificaterequest/#conditions
 * @param look the command that shows the issuer
 */
export function verdictOf(request: CertificateRequest, look: string): Verdict {
  const conditions = request.status?.conditions ?? [];
  const find = (type: string) => conditions.find((one) => one.type === type);
  const ready = find('Ready');
  const denied = find('Denied');
  const invalid = find('InvalidRequest');

  if (denied?.status === 'True' || ready?.reason === 'Denied') return refused('denied', denied ?? ready, look);
  if (invalid?.status === 'True') return refused('invalid', invalid, look);
  if (ready?.status === 'True') {
    const certificatePem = decode(request.status?.certificate);
    if (certificatePem === '') return { state: 'refused', failure: NO_CERTIFICATE };
    return { state: 'issued', certificatePem, caPem: decode(request.status?.ca) };
  }
  if (ready?.reason === 'Failed') return refused('failed', ready, look);
  return { state: 'pending', told: ready !== undefined, message: pendingMessage(ready, find('Approved')) };
}

/** cert-manager writes both at once. */
const NO_CERTIFICATE: Failure = {
  kind: 'malformed',
  message: 'the CertificateRequest is ready and holds no certificate',
  fix: "look at the log of the issuer's controller",
};

const REFUSALS = {
  denied: {
    message: "cert-manager's approver denied the CertificateRequest",
    fix: () =>
      'let the approver allow what mesh-ca asks for (with approver-policy: kubectl get certificaterequestpolicies)',
  },
  invalid: {
    message: 'cert-manager finds the CertificateRequest not valid',
    fix: () => 'change what is asked for as it says',
  },
  failed: {
    message: 'the issuer of cert-manager failed to sign',
    fix: (look: string) => `look at the issuer: ${look}, and at the log of its controller`,
  },
} as const;

function refused(why: keyof typeof REFUSALS, condition: Condition | undefined, look: string): Verdict {
  const text = cleanText(condition?.message ?? '');
  const { message, fix } = REFUSALS[why];
  const told = { message: text === '' ? message : `${message}: ${text}`, fix: fix(look) };
  if (why === 'invalid') return { state: 'refused', failure: { kind: 'invalid', ...told } };
  if (why === 'failed' && PASSING.test(condition?.message ?? '')) {
    return { state: 'refused', failure: { kind: 'server', ...told, retryAfterMs: FAILED_RETRY_MS } };
  }
  const ofRequest = why === 'denied' || OF_REQUEST.test(condition?.message ?? '');
  return { state: 'refused', failure: { kind: 'denied', ...told, ofRequest } };
}

function pendingMessage(ready: Condition | undefined, approved: Condition | undefined): string {
  const text = cleanText(ready?.message ?? '');
  if (text !== '') return text;
  if (approved?.status === 'True') return 'it is approved, the issuer has not signed yet';
  return 'nobody has approved it yet';
}

function decode(base64: string | null | undefined): string {
  return Buffer.from(base64 ?? '', 'base64').toString('utf8');
}
