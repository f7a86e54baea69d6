const MAX_TEXT = 300;
const MAX_READ = 4096;

const PEM = /-----BEGIN [\s\S]*?(?:-----END [A-Z ]+-----|$)/g;
/** JSON Web Tokens, the form of every service account token. */
const JWT = /\beyJ[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){0,2}/g;
const VAULT_TOKEN = /\b(?:hv[sbr]|[sbr])\.[A-Za-z0-9_-]{16,}/g;
const AWS_KEY = /\b(?:AKIA|ASIA)[A-Z0-9]{12,}/g;
const ARN = /\barn:aws[\w-]*:(?:iam|sts):[^\s"',;)]*/g;
const BEARER = /\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi;
/** A CSR in base64, which a validating webhook repeats. Paths and names have no runs of this length. */
const BASE64 = /[A-Za-z0-9+/=_-]{60,}/g;
/** In every 403: who mesh-ca is, is nothing for a caller. */
const USER = /\bUser "[^"]*"/g;
/** Control characters, line ends among them, and the invisible marks that turn text around. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu;

/**
 * What the API server, or an issuer behind cert-manager, says, fit for a message: one line, at most 300 characters, without tokens, PEM blocks, long
 * base64 and principals. '' when there is nothing.
 */
export function cleanText(text: string): string {
  const clean = text
    .slice(0, MAX_READ)
    .replace(PEM, '[PEM]')
    .replace(JWT, '[token]')
    .replace(VAULT_TOKEN, '[token]')
    .replace(AWS_KEY, '[key]')
    .replace(ARN, '[arn]')
    .replace(BEARER, '[token]')
    .replace(BASE64, '[data]')
    .replace(USER, 'the user')
    .replace(UNPRINTABLE, ' ')
    .trim();
  return clean.length > MAX_TEXT ? `${clean.slice(0, MAX_TEXT)}...` : clean;
}
