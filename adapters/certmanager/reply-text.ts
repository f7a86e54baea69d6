import { cleanRemoteText, type Mask } from '../shared/remote-text.ts';

const MASKS: readonly Mask[] = [
  [/\barn:aws[\w-]*:(?:iam|sts):[^\s"',;)]*/g, '[arn]'],
  [/\b(?:bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi, '[token]'],
  // A CSR in base64, which a validating webhook repeats. Paths and names have no runs of this length.
  [/[A-Za-z0-9+/=_-]{60,}/g, '[data]'],
  // In every 403: who mesh-ca is, is nothing for a caller.
  [/\bUser "[^"]*"/g, 'the user'],
];

/**
 * What the API server, or an issuer behind cert-manager, says, fit for a message: one line, at most 300 characters, without tokens, PEM blocks, long
 * base64 and principals. '' when there is nothing.
 */
export function cleanText(text: string): string {
  return cleanRemoteText(text, MASKS);
}
