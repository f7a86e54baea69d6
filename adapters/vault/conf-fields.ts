import { z } from 'zod';
import type { Violation } from '../../src/issuer/errors.ts';
import type { DataSource } from '../../src/issuer/issuer.ts';
import { parseDataSource } from '../../src/mesh/data-source.ts';

/** The kinds of fields that a conf of this adapter is made of. None lets a control character through. */

const MAX_ADDRESS = 2048;
const MAX_PATH = 256;
const ADDRESS_FORM = 'has to be an http or https URL such as https://vault.example:8200';
const PATH_FORM = 'may hold letters, digits, "_", "-", "." and "/" between its parts, and no part "." or ".."';
const NAME_FORM = 'may hold letters, digits, "_", "-" and ".", and cannot be "." or ".."';
const HOST_FORM = 'has to be a host name such as vault.example';
const WORD_FORM = `has to be one word of printable ASCII, at most ${MAX_PATH} characters`;

const PATH_PART = /^(?!\.{1,2}$)[A-Za-z0-9_.-]+$/;
const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$/;
const CONTROL = /\p{Cc}/u;

/** Without a slash at its end. */
export const address = z.string().transform((text, ctx) => {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) ctx.addIssue(ADDRESS_FORM);
  return endpoint ?? '';
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

export const dataSource = z.unknown().transform((value, ctx) => parseSource(value, ctx));

/** A field that may be left out: absent, null and '' (as in protobuf) are all ''. */
export const optional = <S extends z.ZodType<string>>(schema: S) =>
  z
    .preprocess((value) => (value === '' || value === null ? undefined : value), schema.optional())
    .transform((value) => value ?? '');

function parseSource(value: unknown, ctx: z.RefinementCtx): DataSource | undefined {
  const violations: Violation[] = [];
  const source = parseDataSource(value, '', violations);
  if (source?.kind === 'secret' && CONTROL.test(source.secret)) {
    violations.push({ field: '.secret', message: 'cannot hold control characters' });
  }
  if (source?.kind === 'file' && CONTROL.test(source.file)) {
    violations.push({ field: '.file', message: 'cannot hold control characters' });
  }
  addViolations(ctx, [], violations);
  return source;
}

/** Tells violations of a part, whose fields are relative to it, as issues of the whole. */
export function addViolations(ctx: z.RefinementCtx, at: readonly string[], violations: readonly Violation[]): void {
  for (const { field, message } of violations) {
    ctx.addIssue({ code: 'custom', path: [...at, ...field.split('.').filter((part) => part !== '')], message });
  }
}

function parseEndpoint(text: string): string | undefined {
  if (text.length > MAX_ADDRESS || CONTROL.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined;
  return url.href.replace(/\/+$/, '');
}
