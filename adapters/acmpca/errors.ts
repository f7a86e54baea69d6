import { chainFault } from '../shared/aws-default-chain.ts';
import { cleanRemoteText, type Mask } from '../shared/remote-text.ts';
import {
  type CallContext,
  CLOCK_TEXT,
  EXCEPTION_RULES,
  NETWORK_DEFAULT,
  NETWORK_RULES,
  NO_SERVICE,
  NOT_AWS,
  type Rule,
  SERVER_ERROR,
  UNKNOWN_EXCEPTION,
} from './error-rules.ts';
import type { Failure } from './failure.ts';

const RULES = new Map(EXCEPTION_RULES.flatMap((rule) => rule.names.map((name) => [name, rule] as const)));
const CLOCK_RULE = RULES.get('RequestTimeTooSkewed') ?? NOT_AWS;
/** What throttling says when it says nothing about when. */
const THROTTLED_RETRY_MS = 1000;

/** The failure behind whatever a call of the SDK rejects with. */
export function failureOf(error: unknown, context: CallContext): Failure {
  const { name, text, code, status } = read(error);
  const rule = findRule(name, text, code, status);
  return describe(rule, context, {
    cause: withoutSecrets(error),
    detail: rule.tellsText ? cleanText(text) : '',
    ...(rule.kind === 'throttled' ? { retryAfterMs: THROTTLED_RETRY_MS } : {}),
  });
}

export function timeoutFailure(timeoutMs: number, context: CallContext): Failure {
  return {
    kind: 'timeout',
    message: `${nameOf(context)} gives no answer within ${timeoutMs} ms (${context.operation})`,
    fix: 'look at https://health.aws.amazon.com and at what stands between mesh-ca and AWS',
  };
}

/** @param reason what the default chain failed with, or the milliseconds after which it was given up */
export function credentialsFailure(reason: unknown, context: CallContext): Failure {
  const { kind, message, fix } =
    typeof reason === 'number'
      ? {
          kind: 'unavailable',
          message: `the default chain found no AWS credentials within ${reason} ms`,
          fix: 'look at the network to STS and to the metadata service of the container or instance, and at credential_process',
        }
      : chainFault(reason);
  return {
    kind: kind === 'unavailable' ? 'no-credentials' : 'credentials',
    message: `${nameOf(context)} cannot be asked: ${message} (${context.operation})`,
    fix,
    ...(typeof reason === 'number' ? {} : { cause: withoutSecrets(reason) }),
  };
}

export function malformedFailure(what: string, context: CallContext): Failure {
  return describe(NOT_AWS, context, { detail: what });
}

/** `private CA 6ba7b810-... in eu-west-1`: names the CA, not the account. */
export function nameOf({ ca }: Pick<CallContext, 'ca'>): string {
  return `private CA ${ca.id} in ${ca.region}`;
}

const MASKS: readonly Mask[] = [
  [/arn:[^\s"'<>,;()]+/gi, '[arn]'],
  [/\b\d{12}\b/g, '[account]'],
  // Of a signed request that is repeated: whose key it was, what it signed with it.
  [/\b(Credential|Signature)=[^\s,;"']+/g, '[signed]'],
  // Session tokens, and CSRs in base64. Paths and names have no runs of this length.
  [/[A-Za-z0-9+/=_-]{60,}/g, '[data]'],
];

/** One line of AWS's words without ARNs, account numbers and secrets. */
export function cleanText(text: string): string {
  return cleanRemoteText(text, MASKS);
}

function describe(
  rule: Rule,
  context: CallContext,
  more: { readonly detail: string; readonly cause?: unknown; readonly retryAfterMs?: number },
): Failure {
  const { detail, ...rest } = more;
  const said = detail === '' ? context.operation : `${context.operation}: ${detail}`;
  return {
    kind: rule.kind,
    message: `${nameOf(context)} ${rule.message} (${said})`,
    fix: rule.fix(context),
    ofRequest: rule.ofRequest === true && context.operation === 'IssueCertificate',
    ...rest,
  };
}

function findRule(name: string, text: string, code: string, status: number | undefined): Rule {
  if (name === 'SerializationException' || name === 'UnknownOperationException') return NO_SERVICE;
  const known = RULES.get(name);
  if (known !== undefined) return known.kind === 'credentials' && CLOCK_TEXT.test(text) ? CLOCK_RULE : known;
  if (status !== undefined && status >= 500) return SERVER_ERROR;
  if (status === 429) return RULES.get('ThrottlingException') ?? SERVER_ERROR;
  if (code !== '') return NETWORK_RULES.find(({ codes }) => codes.test(code)) ?? NETWORK_DEFAULT;
  // A body that is no JSON, or one without a name that AWS gives.
  if (status === undefined || !/^[A-Z][A-Za-z]+(Exception|Failure|Error)?$/.test(name) || name === 'SyntaxError')
    return NOT_AWS;
  return name === 'UnknownError' ? NOT_AWS : UNKNOWN_EXCEPTION;
}

interface Read {
  readonly name: string;
  readonly text: string;
  readonly code: string;
  readonly status: number | undefined;
}

/** The SDK's errors: a name, a message, the raw response as a hidden member; those of Node have a code. */
function read(error: unknown): Read {
  if (!(error instanceof Error)) return { name: '', text: '', code: '', status: undefined };
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return { name: error.name, text: error.message, code, status: statusOf(error) };
}

function statusOf(error: Error): number | undefined {
  const response = '$response' in error ? Object(error.$response) : {};
  const metadata = '$metadata' in error ? Object(error.$metadata) : {};
  const status: unknown = response.statusCode ?? metadata.httpStatusCode;
  return typeof status === 'number' ? status : undefined;
}

/** What the log may keep: AWS's words can name principals, and the SDK hangs the whole response on its errors. */
function withoutSecrets(error: unknown): Error {
  const { name, code, status } = read(error);
  return new Error([name, code, status].filter((part) => part !== '' && part !== undefined).join(' '));
}
