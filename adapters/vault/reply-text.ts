import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { cleanRemoteText } from '../shared/remote-text.ts';

const MAX_ERRORS = 8;
const RAW_MAX = 1200;
const RETRY_AFTER_MAX_MS = 3_600_000;

const errorBody = z.object({ errors: z.array(z.string()) });

/** Words with a slash: paths of Vault's API or of a disk, URLs. */
const PATH = /[\w.:@%+~-]*(?:\/[\w.:@%*+~-]*)+/g;
const NO_PATHS: ReadonlySet<string> = new Set(['and/or', 'N/A', 'n/a', '/']);

/** What may be named in a message. */
export interface Sayable {
  /** Never named. */
  readonly token: string;
  readonly namespace: string;
  readonly path: string;
  readonly pki: string;
  readonly role: string;
}

/** The `errors` list of an answer as it stands: to recognise, never to repeat. */
export function rawErrors(body: unknown): readonly string[] {
  const parsed = errorBody.safeParse(body);
  return parsed.success ? parsed.data.errors.slice(0, MAX_ERRORS).map((text) => text.slice(0, RAW_MAX)) : [];
}

/**
 * What Vault says in the `errors` list of an answer, fit for a message: one line, capped, without tokens, PEM blocks, and paths that the conf does
 * not name. '' when there is none; nothing else of a body is ever repeated.
 */
export function cleanText(body: unknown, sayable: Sayable): string {
  const { token } = sayable;
  const parsed = errorBody.safeParse(body);
  const said = parsed.success ? parsed.data.errors.slice(0, MAX_ERRORS).join('; ') : '';
  return cleanRemoteText(token === '' ? said : said.replaceAll(token, '[token]'), [
    [PATH, (word) => (mayName(word, sayable) ? word : '[path]')],
    [/\d+ errors? occurred:\s+\*\s+/g, ''],
  ]);
}

function mayName(word: string, { namespace, path, pki, role }: Sayable): boolean {
  if (NO_PATHS.has(word) || /^(spiffe|kuma):\/\//.test(word)) return true;
  const bare = word.replace(/^\/|[/.:]+$/g, '');
  const inNamespace = namespace !== '' && bare.startsWith(`${namespace}/`) ? bare.slice(namespace.length + 1) : bare;
  return [path, pki, ...['sign', 'issue', 'roles'].map((verb) => `${pki}/${verb}/${role}`)].includes(inNamespace);
}

/** An HTTP date (RFC 9110 section 5.6.7): `Tue, 01 Sep 2026 12:00:30 GMT`. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/**
 * `Retry-After` (RFC 9110 section 10.2.3) in milliseconds from `now`, at most an hour. Undefined when absent or unreadable. Quotas of Vault tell
 * whole seconds, rounded down: in the last one they say 0, and go on refusing.
 */
export function retryAfterMs(headers: IncomingHttpHeaders, now: Date): number | undefined {
  const text = headers['retry-after']?.trim() ?? '';
  if (/^\d{1,9}$/.test(text)) return Math.min(Math.max(Number(text), 1) * 1000, RETRY_AFTER_MAX_MS);
  if (!HTTP_DATE.test(text)) return undefined;
  const wait = Date.parse(text) - now.getTime();
  return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), RETRY_AFTER_MAX_MS);
}
