import { z } from 'zod';
import { serverUrl } from '../shared/conf-fields.ts';

/** The kinds of fields that a conf of this adapter is made of. None lets a control character through. */

const MAX_PATH = 256;
const PATH_FORM = 'may hold letters, digits, "_", "-", "." and "/" between its parts, and no part "." or ".."';
const NAME_FORM = 'may hold letters, digits, "_", "-" and ".", and cannot be "." or ".."';
const HOST_FORM = 'has to be a host name such as vault.example';
const WORD_FORM = `has to be one word of printable ASCII, at most ${MAX_PATH} characters`;

const PATH_PART = /^(?!\.{1,2}$)[A-Za-z0-9_.-]+$/;
const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;

/** Of a Vault server. A path in front of `/v1` is kept, `/v1` itself is ours to add. */
export const address = serverUrl('https://vault.example:8200').refine((url) => !url.endsWith('/v1'), {
  error: 'cannot end in /v1: that is added to every call',
});

/** Without slashes at its ends. */
export const path = z.string().transform((text, ctx) => {
  const trimmed = text.replace(/^\/+|\/+$/g, '');
  if (trimmed.length > MAX_PATH) ctx.addIssue(`cannot be longer than ${MAX_PATH} characters`);
  else if (!trimmed.split('/').every((part) => PATH_PART.test(part))) ctx.addIssue(PATH_FORM);
  return trimmed;
});

export const name = z.string().max(MAX_PATH).regex(PATH_PART, { error: NAME_FORM });

export const hostName = z.string().regex(HOST_NAME, { error: HOST_FORM });

/** Goes into headers and JSON as it is. */
export const word = z.string().regex(/^[\x21-\x7e]{1,256}$/, { error: WORD_FORM });
