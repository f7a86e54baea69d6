import {
  type CallContext,
  NETWORK_DEFAULT,
  NETWORK_RULES,
  type Rule,
  STATUS_RULES,
  TEXT_RULES,
  UNKNOWN_STATUS,
} from './error-rules.ts';
import type { Failure } from './failure.ts';
import { cleanText } from './reply-text.ts';

/** The failure behind an error of the transport. */
export function networkFailure(error: unknown, context: CallContext): Failure {
  const code = codeOf(error);
  const rule = NETWORK_RULES.find(({ codes }) => codes.test(code)) ?? NETWORK_DEFAULT;
  return describe(rule, context, code, { cause: error });
}

export function timeoutFailure(timeoutMs: number, context: CallContext): Failure {
  return {
    kind: 'timeout',
    message: `${place(context)} gives no answer within ${timeoutMs} ms (${what(context)})`,
    fix: 'look at the load of the API server and of etcd, and at the network to it',
  };
}

/** The failure behind an answer that is no success. `said` is the message of the `Status` in it, or ''. */
export function statusFailure(
  status: number,
  said: string,
  context: CallContext,
  retryAfterMs: number | undefined,
): Failure {
  const rule =
    TEXT_RULES.find((one) => one.status.test(String(status)) && one.text.test(said)) ??
    STATUS_RULES.find(({ from, to }) => status >= from && status <= to) ??
    UNKNOWN_STATUS;
  const text = cleanText(said);
  return describe(
    rule,
    context,
    text === '' ? `status ${status}` : text,
    retryAfterMs === undefined ? {} : { retryAfterMs },
  );
}

export function malformedFailure(why: string, context: CallContext): Failure {
  return {
    kind: 'malformed',
    message: `${place(context)} gave an answer that is not usable (${what(context)}): ${why}`,
    fix: 'check that `server` in the kubeconfig is a Kubernetes API server, and what stands between it and mesh-ca',
  };
}

function describe(
  rule: Rule,
  context: CallContext,
  detail: string,
  more: Pick<Failure, 'cause' | 'retryAfterMs'>,
): Failure {
  const said = detail === '' ? what(context) : `${what(context)}: ${detail}`;
  return {
    kind: rule.kind,
    message: `${place(context)} ${rule.message} (${said})`,
    fix: rule.fix(context),
    ofRequest: rule.ofRequest === true,
    ...more,
  };
}

function place({ server }: CallContext): string {
  return server === '' ? 'the Kubernetes API server' : `the Kubernetes API server ${server}`;
}

function what({ verb, namespace }: CallContext): string {
  if (verb === 'review') return 'ask for its rights';
  return verb === 'look' ? `look at the namespace ${namespace}` : `${verb} certificaterequests in ${namespace}`;
}

/** Of the error or of what is behind it: undici wraps, and a host with several addresses gives an AggregateError. */
function codeOf(error: unknown): string {
  for (let at = error, depth = 0; at instanceof Error && depth < 4; depth += 1) {
    if ('code' in at && typeof at.code === 'string' && at.code !== 'UND_ERR_SOCKET') return at.code;
    at = at instanceof AggregateError ? at.errors[0] : at.cause;
  }
  return '';
}
