import { CaError } from '../issuer/errors.ts';

/** Stands where something was taken out. */
const REDACTED = '[redacted]';

/** Names of fields whose value is never shown, in lower case without `-` and `_`. */
const SECRET_NAMES = new Set(
  `accesskeysecret authorization body clientkey clienttoken cookie credentials csr csrpem data inline inlinestring key keypem passphrase
   password privatekey privatekeyder privatekeypem secret setcookie token xvaulttoken`.split(/\s+/),
);
const SECRET_ENDINGS = /(token|password|secret|privatekey)$/;

/** What is secret wherever it stands. Every repetition is bounded, so that hostile text costs linear time. */
const SECRET_TEXTS: readonly [pattern: RegExp, replacement: string][] = [
  [/-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----|$)/g, REDACTED],
  // The same, or any PEM, in base64 as `inline` data sources hold it.
  [/LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]+/g, REDACTED],
  [/\bhv[sbr]\.[A-Za-z0-9_-]{8,}/g, REDACTED],
  [/\b[sbr]\.[A-Za-z0-9]{20,}/g, REDACTED],
  [/\beyJ[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{4,8192}(?:\.[A-Za-z0-9_-]{0,8192})?/g, REDACTED],
  [/\b(Bearer|Basic) +[A-Za-z0-9._~+/=-]{8,}/gi, `$1 ${REDACTED}`],
  [/(:\/\/[^\s/:@]{0,256}):[^\s/@]{1,256}@/g, `$1:${REDACTED}@`],
];

/** Holds for every text that one of the patterns above would change; one quick look spares ordinary texts the rest. */
const SUSPECT = /PRIVATE KEY|LS0tLS1C|\bhv[sbr]\.|\b[sbr]\.|\beyJ|bearer|basic|:\/\//i;

const MAX_TEXT = 8 * 1024;
const MAX_DEPTH = 6;
const MAX_ENTRIES = 100;
const MAX_CAUSES = 5;

/** Takes private keys, Vault tokens, JWTs, bearer tokens and passwords in URLs out of a text, and cuts it at 8 Ki characters. */
export function redactText(text: string): string {
  const cut = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
  if (!SUSPECT.test(cut)) return cut;
  let out = cut;
  for (const [pattern, replacement] of SECRET_TEXTS) out = out.replace(pattern, replacement);
  return out;
}

export interface RedactOptions {
  /** `unexpected`: not of a `CaError` nor of what caused it, for those are part of normal life. */
  readonly stacks: 'all' | 'unexpected' | 'none';
}

/** The same fields without anything secret, plain enough for JSON.stringify: bounded in depth, width and length; errors become objects. */
export function redactFields(
  fields: Readonly<Record<string, unknown>>,
  options: RedactOptions,
): Record<string, unknown> {
  return redactEntries(Object.entries(fields), options, 0);
}

function redactEntries(entries: [string, unknown][], options: RedactOptions, depth: number): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of entries.slice(0, MAX_ENTRIES)) {
    out[name] = isSecretName(name) && value !== undefined ? REDACTED : redactValue(value, options, depth + 1);
  }
  return out;
}

function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replace(/[-_]/g, '');
  return SECRET_NAMES.has(plain) || SECRET_ENDINGS.test(plain);
}

function redactValue(value: unknown, options: RedactOptions, depth: number): unknown {
  if (typeof value === 'string') return redactText(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'function' || typeof value === 'symbol') return `[${typeof value}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'invalid date' : value.toISOString();
  if (value instanceof Error) return describeError(value, options, depth);
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
  if (depth >= MAX_DEPTH) return '[deeper]';
  if (Array.isArray(value) || value instanceof Set) {
    return [...value].slice(0, MAX_ENTRIES).map((item) => redactValue(item, options, depth + 1));
  }
  const entries: [string, unknown][] =
    value instanceof Map ? [...value].map(([key, item]) => [String(key), item]) : Object.entries(value);
  return redactEntries(entries, options, depth);
}

/** Only what is known to be harmless: libraries hang whole requests, tokens included, on their errors. */
function describeError(error: Error, options: RedactOptions, depth: number): Record<string, unknown> {
  const expected = error instanceof CaError && error.code !== 'ERR_INTERNAL';
  const code: unknown = 'code' in error ? error.code : undefined;
  const out: Record<string, unknown> = { name: error.name, message: redactText(error.message) };
  if (typeof code === 'string' || typeof code === 'number') out.code = code;
  if (error instanceof CaError && error.violations.length > 0) {
    out.violations = error.violations
      .slice(0, MAX_ENTRIES)
      .map(({ field, message }) => ({ field: redactText(field), message: redactText(message) }));
  }
  const inner: RedactOptions = expected && options.stacks === 'unexpected' ? { stacks: 'none' } : options;
  if (inner.stacks !== 'none' && error.stack !== undefined) out.stack = redactText(error.stack);
  if (error.cause !== undefined && depth < MAX_CAUSES) out.cause = redactValue(error.cause, inner, depth + 1);
  return out;
}
