/** What is put in the place of what. Patterns are global. */
export type Mask = readonly [pattern: RegExp, replacement: string | ((found: string) => string)];

const MAX_READ = 4096;
const MAX_TEXT = 300;

/** What no remote side's words are repeated with, whichever side it is. */
const SECRETS: readonly Mask[] = [
  [/-----BEGIN [\s\S]*?(?:-----END [A-Z ]+-----|$)/g, '[PEM]'],
  // JSON Web Tokens, the form of every service account token.
  [/\beyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){0,2}/g, '[token]'],
  // Vault's and OpenBao's tokens: `hvs.`, `hvb.`, `hvr.`, `s.`, `b.`, `r.` and a long word.
  [/\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{16,}/g, '[token]'],
  // AWS's access keys and ids of users and roles.
  [/\b(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z0-9]{8,}\b/g, '[key]'],
];
/** Control characters, line ends among them, and the invisible marks that turn text around. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu;

/**
 * What a remote side says, fit for a message: one line, at most 300 characters (and `...`), without secrets. '' when there is nothing.
 * @param masks what else that side must not be repeated with
 */
export function cleanRemoteText(text: string, masks: readonly Mask[]): string {
  let clean = text.slice(0, MAX_READ);
  for (const [pattern, replacement] of [...SECRETS, ...masks]) {
    clean = clean.replace(pattern, (found) => (typeof replacement === 'string' ? replacement : replacement(found)));
  }
  clean = clean.replace(UNPRINTABLE, ' ').trim();
  return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}...` : clean;
}
