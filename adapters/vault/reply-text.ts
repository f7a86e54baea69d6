import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';

const MAX_ERRORS = 8;
const MAX_TEXT = 300;
const RETRY_AFTER_MAX_MS = 3_600_000;

const errorBody = z.object({ errors: z.array(z.string()) });

/** Vault's and OpenBao's tokens: `hvs.`, `hvb.`, `hvr.`, `s.`, `b.`, `r.` and a long word. */
const TOKEN = /\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{16,}/g;
const PEM = /-----BEGIN [\s\S]*?(?:-----END [A-Z ]+-----|$)/g;
/** Control characters, line ends among them, and the invisible marks that turn text around. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu;

/**
 * What Vault says in the `errors` list of an answer, fit for a message: one line, capped, without tokens and PEM blocks. '' when there is none;
 * nothing else of a body is ever repeated.
 */
export function cleanText(body: unknown, token: string): string {
  const parsed = errorBody.safeParse(body);
  if (!parsed.success) return '';
  const said = parsed.data.errors.slice(0, MAX_ERRORS).join('; ');
  const text = (token === '' ? said : said.replaceAll(token, '[token]'))
    .slice(0, 4 * MAX_TEXT)
    .replace(PEM, '[PEM]')
    .replace(TOKEN, '[token]')
    .replace(UNPRINTABLE, ' ')
    .replace(/\d+ errors? occurred: \* /g, '')
    .trim();
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
}

/** `Retry-After` (RFC 9110 section 10.2.3) in milliseconds from `now`, at most an hour. Undefined when absent or unreadable. */
export function retryAfterMs(headers: IncomingHttpHeaders, now: Date): number | undefined {
  const text = headers['retry-after']?.trim() ?? '';
  const wait = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now.getTime();
  return Number.isNaN(wait) ? undefined : Math.min(Math.max(wait, 0), RETRY_AFTER_MAX_MS);
}
