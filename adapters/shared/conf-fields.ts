import { z } from 'zod';
import { ConfigError, type Violation } from '../../src/issuer/errors.ts';
import { type NameForm, parseCommonName } from '../../src/mesh/common-name.ts';
import { parseDataSource } from '../../src/mesh/data-source.ts';

/** The kinds of fields that confs of several adapters are made of. None lets a control character through. */

const MAX_URL = 2048;
const CONTROL = /\p{Cc}/u;

export const dataSource = z.unknown().transform((value, ctx) => {
  const violations: Violation[] = [];
  const source = parseDataSource(value, '', violations);
  addViolations(ctx, [], violations);
  return source;
});

export function nameTemplate(form?: NameForm) {
  return z.string().transform((source, ctx) => {
    try {
      return parseCommonName(source, form);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      ctx.addIssue(error.violations[0]?.message ?? error.message);
      return undefined;
    }
  });
}

/** May be left out; '' stands for that, too, as in protobuf. */
export const commonName = z.preprocess((value) => (value === '' ? undefined : value), nameTemplate().nullish());

/**
 * Where a server is, without a slash at its end.
 * @param example of such a URL, for the message
 */
export function serverUrl(example: string) {
  return z.string().transform((text, ctx) => {
    const url = parseServerUrl(text);
    if (url === undefined) ctx.addIssue(`has to be an http or https URL such as ${example}`);
    return url ?? '';
  });
}

/** The URL without a slash at its end; undefined when it is none, or says more than where to go. */
export function parseServerUrl(text: string): string | undefined {
  if (text.length > MAX_URL || CONTROL.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined;
  return url.href.replace(/\/+$/, '');
}

/** A field that may be left out: absent, null and '' (as in protobuf) are all ''. */
export const optional = <S extends z.ZodType<string>>(schema: S) =>
  z
    .preprocess((value) => (value === '' || value === null ? undefined : value), schema.optional())
    .transform((value) => value ?? '');

/** Tells violations of a part, whose fields are relative to it, as issues of the whole. */
export function addViolations(ctx: z.RefinementCtx, at: readonly string[], violations: readonly Violation[]): void {
  for (const { field, message } of violations) {
    ctx.addIssue({ code: 'custom', path: [...at, ...field.split('.').filter((part) => part !== '')], message });
  }
}
