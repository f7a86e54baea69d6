import { z } from 'zod';
import { cleanRemoteText } from '../shared/remote-text.ts';
import {
  CA_END,
  CA_ENDED,
  type CallContext,
  FORBIDDEN_RULES,
  PLAIN_HTTP,
  type Rule,
  SEALED,
  STATUS_RULES,
  TEXT_RULES,
  UNKNOWN_STATUS,
} from './error-rules.ts';
import type { Failure } from './failure.ts';
import { inNamespace } from './in-namespace.ts';
import { NETWORK_DEFAULT, NETWORK_RULES } from './network-rules.ts';
import { cleanText, rawErrors, retryAfterMs } from './reply-text.ts';
import type { TransportReply } from './transport.ts';

/** The failure behind an error of the transport. */
export function networkFailure(error: unknown, context: CallContext): Failure {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
  const rule = NETWORK_RULES.find(({ codes }) => codes.test(code)) ?? NETWORK_DEFAULT;
  return describe(rule, context, code, { cause: error }, certificateNames(error));
}

export function timeoutFailure(timeoutMs: number, context: CallContext): Failure {
  return {
    kind: 'timeout',
    message: `vault at ${context.endpoint} gives no answer within ${timeoutMs} ms (${context.path})`,
    fix: `look at the load of Vault, and at the network to ${context.endpointField}`,
  };
}

/** The failure behind an answer whose status is not 200 or 204. */
export function statusFailure(reply: TransportReply, context: CallContext, now: Date): Failure {
  const said = cleanText(reply.body, context);
  const wait = retryAfterMs(reply.headers, now);
  const rule = findRule(reply, said, context, now);
  // An error of its own may name storage, hosts and credentials: Vault's log is the place for that.
  const isTold = said !== '' && rule.kind !== 'server';
  return describe(rule, context, isTold ? said : `status ${reply.status}`, {
    ...{ status: reply.status, said },
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  });
}

export function malformedFailure(what: string, context: CallContext): Failure {
  return {
    kind: 'malformed',
    message: `vault at ${context.endpoint} gave an answer to ${context.path} that is not usable: ${what}`,
    fix: `check that ${context.endpointField} is a Vault server and ${context.pki} a PKI mount`,
  };
}

function findRule(reply: TransportReply, said: string, context: CallContext, now: Date): Rule {
  const { status, plainText } = reply;
  if (status === 503 && /sealed/i.test(said)) return SEALED;
  if (status === 400 && /HTTP request to an HTTPS server/i.test(plainText)) return PLAIN_HTTP;
  const caEnd = CA_END.exec(said)?.[1];
  if (caEnd !== undefined && Date.parse(caEnd) <= now.getTime()) return CA_ENDED;
  const isTelling = status === 400 || status === 404 || status === 405 || status === 500;
  const byText = isTelling ? TEXT_RULES.find(({ text }) => text.test(said)) : undefined;
  const raw = status === 403 ? rawErrors(reply.body).join('\n') : '';
  const isPublic = context.isAnonymous && context.path.startsWith(`${context.pki}/`);
  const forbidden = FORBIDDEN_RULES.find((one) => (one.isPublic ?? isPublic) === isPublic && one.text.test(raw));
  return (
    byText ??
    (status === 403 ? forbidden : undefined) ??
    STATUS_RULES.find(({ from, to }) => status >= from && status <= to) ??
    UNKNOWN_STATUS
  );
}

function describe(
  rule: Rule,
  context: CallContext,
  detail: string,
  more: Pick<Failure, 'cause' | 'retryAfterMs' | 'status' | 'said'>,
  known = more.said ?? '',
): Failure {
  const place = `vault at ${context.endpoint}`;
  const message = typeof rule.message === 'string' ? rule.message : rule.message(context, known);
  const said = detail === '' ? context.path : `${context.path}: ${detail}`;
  return {
    kind: rule.kind,
    ofRequest: rule.ofRequest === true,
    message: `${place} ${message} (${said})`,
    fix: inNamespace(rule.fix(context, known), context.namespace),
    ...more,
  };
}

const altNames = z.object({ cert: z.object({ subjectaltname: z.string() }) });
const MAX_NAMES = 200;

/** Those in the certificate that a server has shown: `DNS:vault.example, IP Address:10.0.0.1`. */
function certificateNames(error: unknown): string {
  const clean = cleanRemoteText(altNames.safeParse(error).data?.cert.subjectaltname ?? '', []);
  return clean.length > MAX_NAMES ? `${clean.slice(0, MAX_NAMES)}...` : clean;
}
