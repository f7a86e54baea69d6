import { NETWORK_CODES } from '../shared/network-codes.ts';
import type { CaArn } from './ca-arn.ts';
import type { Operation } from './call-limits.ts';
import type { Endpoint } from './endpoint.ts';
import type { FailureKind } from './failure.ts';
import type { Template } from './template.ts';

/** What a call was about, as far as messages need it. */
export interface CallContext {
  readonly ca: CaArn;
  readonly operation: Operation;
  readonly template: Template;
  readonly endpoint: Endpoint;
  /** Where the credentials come from. */
  readonly credentials: 'conf' | 'default chain';
}

export interface Rule {
  readonly kind: FailureKind;
  readonly message: string;
  fix(context: CallContext): string;
  /** AWS's own text is told, cleaned. Never where it names principals or repeats what was signed. */
  readonly tellsText?: true;
  /** Of IssueCertificate, it may be about what one data plane asks for: more names than AWS takes. */
  readonly ofRequest?: true;
}

const SERVICE_FIX = () => 'wait; look at https://health.aws.amazon.com and at what stands between mesh-ca and AWS';

const whereCredentials = ({ credentials }: CallContext) =>
  credentials === 'conf'
    ? 'store a valid key pair in auth.awsCredentials.accessKey and auth.awsCredentials.accessKeySecret'
    : 'check what the default chain finds (environment, shared files, web identity, container or instance role): aws sts get-caller-identity';

/** By the name of AWS's exception. Common errors of all AWS APIs stand beside those of AWS Private CA's own. */
export const EXCEPTION_RULES: readonly (Rule & { readonly names: readonly string[] })[] = [
  {
    names: ['RequestInProgressException'],
    kind: 'in-progress',
    message: 'has not finished the certificate yet',
    fix: () => 'ask again with the same CSR: the certificate that is being made is then fetched',
  },
  {
    names: [
      'ThrottlingException',
      'Throttling',
      'TooManyRequestsException',
      'RequestLimitExceeded',
      'RequestThrottled',
      'RequestThrottledException',
      'SlowDown',
    ],
    kind: 'throttled',
    message: 'limits the rate of calls',
    fix: () =>
      'wait; or have AWS raise the quota, or lower acmpcaIssuesPerSecond and acmpcaGetsPerSecond where others share the account',
  },
  {
    names: ['AccessDeniedException', 'AccessDenied', 'UnauthorizedOperation', 'NotAuthorized'],
    kind: 'denied',
    message: 'is denied to these credentials by IAM',
    fix: ({ ca, operation, template }) =>
      operation === 'IssueCertificate'
        ? `allow acm-pca:IssueCertificate on ${ca.text}, where a policy has the condition acm-pca:TemplateArn for ${template.arn}; policies/aws/ holds the documents`
        : `allow acm-pca:${operation} on ${ca.text}; policies/aws/ holds the documents`,
  },
  {
    names: ['UnrecognizedClientException', 'InvalidClientTokenId', 'InvalidAccessKeyId', 'AuthFailure'],
    kind: 'credentials',
    message: 'does not know the access key',
    fix: whereCredentials,
  },
  {
    names: ['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired'],
    kind: 'credentials',
    message: 'says that the credentials have expired',
    fix: whereCredentials,
  },
  {
    names: [
      'MissingAuthenticationToken',
      'MissingAuthenticationTokenException',
      'IncompleteSignature',
      'OptInRequired',
    ],
    kind: 'credentials',
    message: 'does not accept the credentials',
    fix: whereCredentials,
  },
  {
    // Of the SDK itself, before anything is sent.
    names: ['EndpointError'],
    kind: 'conf',
    message: 'cannot be asked: the endpoint does not go with what the environment says about endpoints',
    fix: ({ endpoint }) =>
      `unset AWS_USE_FIPS_ENDPOINT and AWS_USE_DUALSTACK_ENDPOINT, which are for the endpoints of AWS's own names${endpoint.from === 'region' ? '' : `, or ${endpoint.from}`}`,
  },
  {
    names: ['RequestExpired', 'RequestTimeTooSkewed', 'RequestInTheFuture'],
    kind: 'clock',
    message: 'refuses the signature because the clocks are too far apart',
    fix: () => 'set the clock of this machine (NTP)',
  },
  {
    names: ['SignatureDoesNotMatch', 'InvalidSignatureException'],
    kind: 'credentials',
    message: 'does not accept the signature: the secret does not belong to the access key',
    fix: whereCredentials,
  },
  {
    names: ['InvalidStateException'],
    kind: 'state',
    message: 'is in no state to do this',
    fix: ({ ca }) =>
      `see its state: aws acm-pca describe-certificate-authority --certificate-authority-arn ${ca.text} --query CertificateAuthority.Status`,
  },
  {
    names: ['ResourceNotFoundException'],
    kind: 'absent',
    message: 'is not known in this account and region, or the certificate is not',
    fix: ({ ca }) => `correct arn: aws acm-pca list-certificate-authorities --region ${ca.region}`,
  },
  {
    names: ['InvalidArnException'],
    kind: 'absent',
    message: 'is not found under this ARN',
    fix: ({ ca }) => `correct arn: aws acm-pca list-certificate-authorities --region ${ca.region}`,
  },
  {
    names: ['MalformedCSRException'],
    kind: 'csr',
    message: 'does not take the CSR: it must be signed by its key and have a subject or a subject alternative name',
    fix: () => 'send a CSR that carries the names of the data plane, with a key of a type that abilities name',
    tellsText: true,
  },
  {
    names: ['InvalidArgsException', 'InvalidRequestException', 'ValidationException', 'InvalidParameterValue'],
    kind: 'arguments',
    message: 'does not take what was asked for',
    fix: ({ ca }) =>
      `compare the CA's key and end with the request: aws acm-pca describe-certificate-authority --certificate-authority-arn ${ca.text}; and dpCert.rotation.expiration: a CA in short-lived mode allows 7 days`,
    tellsText: true,
    ofRequest: true,
  },
  {
    names: ['LimitExceededException', 'ServiceQuotaExceededException'],
    kind: 'quota',
    message: 'has reached a quota that does not pass by waiting (certificates per CA)',
    fix: () => 'have AWS raise the quota (Service Quotas, AWS Private CA), or take a new CA',
    tellsText: true,
  },
  {
    names: ['RequestFailedException'],
    kind: 'issue-failed',
    message: 'could not issue the certificate',
    fix: () => 'ask again; if it stays, look at CloudTrail and at the CA and its key store',
    tellsText: true,
  },
  {
    names: [
      'ConcurrentModificationException',
      'InternalFailure',
      'InternalServerException',
      'ServiceUnavailable',
      'ServiceUnavailableException',
      'RequestTimeout',
      'RequestTimeoutException',
    ],
    kind: 'server',
    message: 'has an internal error',
    fix: SERVICE_FIX,
  },
];

/** Signatures are refused by one name for two reasons; this is the one that a right clock would cure. */
export const CLOCK_TEXT =
  /Signature (expired|not yet current)|not within the valid (time|date) range|RequestTimeTooSkewed/i;
/** An exception of an operation that the server does not know: no AWS Private CA. */
export const NO_SERVICE: Rule = {
  kind: 'malformed',
  message: 'is asked at a place that is not AWS Private CA',
  fix: (c) => endpointFix(c),
};
export const NOT_AWS: Rule = {
  kind: 'malformed',
  message: 'gave an answer that cannot be read',
  fix: (c) => endpointFix(c),
};
export const SERVER_ERROR: Rule = { kind: 'server', message: 'is not available', fix: SERVICE_FIX };
export const UNKNOWN_EXCEPTION: Rule = {
  kind: 'arguments',
  message: 'refuses the call',
  fix: SERVICE_FIX,
  tellsText: true,
};

const STRANGE: Rule = {
  kind: 'malformed',
  message: 'is asked at a place that does not speak as AWS does',
  fix: (c) => endpointFix(c),
};

/** By the code of Node's or OpenSSL's error; the first that matches. */
export const NETWORK_RULES: readonly (Rule & { readonly codes: RegExp })[] = [
  {
    codes: NETWORK_CODES.refused,
    kind: 'network',
    message: 'cannot be asked: the endpoint refuses connections',
    fix: (c) => endpointFix(c),
  },
  {
    codes: NETWORK_CODES.unresolved,
    kind: 'network',
    message: "cannot be asked: the endpoint's host name cannot be resolved",
    fix: (c) => `${endpointFix(c)}, or the DNS of this machine`,
  },
  {
    codes: NETWORK_CODES.unreachable,
    kind: 'network',
    message: 'cannot be asked: the endpoint cannot be reached over the network',
    fix: (c) => `open the way (routes, security groups, VPC endpoint) to ${placeOf(c)}`,
  },
  {
    codes: NETWORK_CODES.anyTls,
    kind: 'tls',
    message: 'cannot be asked: the TLS connection is not trusted',
    fix: (c) => `check the certificate of ${placeOf(c)}; a private CA is trusted by NODE_EXTRA_CA_CERTS`,
  },
  { ...STRANGE, codes: NETWORK_CODES.noHttp },
  { ...STRANGE, codes: NETWORK_CODES.tooLarge },
];

export const NETWORK_DEFAULT: Rule = {
  kind: 'network',
  message: 'cannot be asked: the connection broke',
  fix: (c) => `look at what stands between mesh-ca and ${placeOf(c)}`,
};

function endpointFix(context: CallContext): string {
  const { from } = context.endpoint;
  return from === 'region' ? `open the way to ${placeOf(context)}, or set endpoint` : `correct ${from}`;
}

function placeOf({ ca, endpoint }: CallContext): string {
  return endpoint.url ?? `acm-pca.${ca.region}`;
}
