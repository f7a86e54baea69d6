import Handlebars from 'handlebars';
import { ConfigError, RequestInvalidError } from '../issuer/errors.ts';
import type { Tags } from '../issuer/issuer.ts';
import { isPrintable, readGoTemplate, type TemplatePart } from './go-template.ts';
import { formatTags } from './tags.ts';

/** Whom a common name is rendered for. */
export interface CommonNameSubject {
  readonly mesh: string;
  readonly dataplane: string;
  readonly tags: Tags;
}

export interface CommonNameTemplate {
  readonly source: string;
  /**
   * The name of a data plane. Of a tag with several values the first in sorted order is taken: the name is there for compliance,
   * peers are told apart by their SPIFFE IDs.
   * @throws RequestInvalidError naming the data plane and the template: a tag is missing; the name is empty, cannot be printed, or is longer
   * than its form allows
   */
  render(subject: CommonNameSubject): string;
}

/** What a template is for: how long its result may be, and what messages call it. */
export interface NameForm {
  /** As the conf has it. */
  readonly field: string;
  readonly maxCharacters: number;
}

/** RFC 5280, ub-common-name. */
const COMMON_NAME: NameForm = { field: 'commonName', maxCharacters: 64 };
/** RFC 1035 2.3.4. */
export const DNS_NAMES: NameForm = { field: 'dnsNames', maxCharacters: 253 };

/** Longest text between two replaces: a few of them could otherwise blow a short value up without end. */
const MAX_INTERMEDIATE = 4096;

/**
 * Reads a `commonName` template in Go's form, as the product pages write it: `{{ tag "kuma.io/service" | replace "_" "-" }}.mesh`. Our reader
 * makes a Handlebars AST of texts and calls of `tag` and `replace`; Handlebars only renders it, its own syntax is never read. `dnsNames` of cert-manager take the same templates.
 * @throws ConfigError with the column of the mistake and the forms that are allowed
 */
export function parseCommonName(source: string, { field, maxCharacters } = COMMON_NAME): CommonNameTemplate {
  const template = compile(readGoTemplate(source), field, source);
  return {
    source,
    render: ({ dataplane, tags }) => {
      const refuse = (what: string, fix: string) =>
        new RequestInvalidError(
          `dataplane ${JSON.stringify(dataplane)}: ${field} template ${JSON.stringify(source)} ${what}`,
          { fix },
        );
      const name = template({ tags, refuse });
      const length = [...name].length;
      if (name.trim() === '') throw refuse('gives an empty name', 'add text to the template or give the tag a value');
      if (!isPrintable(name)) throw refuse('gives a name that cannot be printed', 'change the template or the tag');
      if (length > maxCharacters) {
        throw refuse(
          `gives a name of ${length} characters, at most ${maxCharacters} are allowed: ${JSON.stringify(name.slice(0, 256))}`,
          'shorten the template or the value of the tag',
        );
      }
      return name;
    },
  };
}

/** What the two helpers see as `this`. */
interface RenderContext {
  readonly tags: Tags | 'all empty';
  refuse(what: string, fix: string): RequestInvalidError;
}

const engine = createEngine();

/** A Handlebars of our own that knows `tag` and `replace` and nothing else. */
function createEngine(): typeof Handlebars {
  const own = Handlebars.create();
  for (const name of Object.keys(own.helpers)) own.unregisterHelper(name);
  for (const name of Object.keys(own.decorators)) own.unregisterDecorator(name);
  own.registerHelper('tag', function tag(this: RenderContext, name: string): string {
    if (this.tags === 'all empty') return '';
    const value = [...(this.tags.get(name) ?? [])].sort()[0];
    if (value !== undefined) return value;
    const has = this.tags.size === 0 ? 'no tags' : `the tags ${formatTags(this.tags).slice(0, 512)}`;
    throw this.refuse(
      `needs the tag ${JSON.stringify(name)}, the data plane has ${has}`,
      `add the tag ${name} to the data plane, or take it out of the template`,
    );
  });
  // The piped value comes last, as in Go.
  own.registerHelper('replace', function replace(this: RenderContext, from: string, to: string, value: string): string {
    const pieces = value.split(from);
    if (value.length + (pieces.length - 1) * to.length > MAX_INTERMEDIATE) {
      throw this.refuse(`makes a text of more than ${MAX_INTERMEDIATE} characters`, 'replace by shorter texts');
    }
    return pieces.join(to);
  });
  return own;
}

function compile(parts: readonly TemplatePart[], field: string, source: string): (context: RenderContext) => string {
  const template = engine.compile<RenderContext>(programOf(parts), {
    noEscape: true,
    strict: true,
    knownHelpersOnly: true,
    knownHelpers: {
      tag: true,
      replace: true,
      helperMissing: false,
      blockHelperMissing: false,
      each: false,
      if: false,
      unless: false,
      with: false,
      log: false,
      lookup: false,
    },
  });
  // Handlebars compiles at the first call: do that here, where a mistake is a mistake of the configuration.
  try {
    template({ tags: 'all empty', refuse: (what, fix) => new RequestInvalidError(what, { fix }) });
  } catch (cause) {
    const message = `${field} template ${JSON.stringify(source)} cannot be compiled: this process forbids code generation from strings`;
    throw new ConfigError(message, {
      violations: [{ field: '', message }],
      cause,
      fix: 'start node without --disallow-code-generation-from-strings, or remove the template',
    });
  }
  return template;
}

const NOWHERE: hbs.AST.SourceLocation = { source: '', start: { line: 1, column: 0 }, end: { line: 1, column: 0 } };
const NO_STRIP: hbs.AST.StripFlags = { open: false, close: false };
const NO_HASH: hbs.AST.Hash = { type: 'Hash', pairs: [], loc: NOWHERE };

function programOf(parts: readonly TemplatePart[]): hbs.AST.Program {
  return { type: 'Program', body: parts.map(statementOf), blockParams: [], loc: NOWHERE };
}

function statementOf(part: TemplatePart): hbs.AST.Statement {
  if (part.kind === 'text') {
    const content: hbs.AST.ContentStatement = {
      type: 'ContentStatement',
      value: part.text,
      original: NO_STRIP,
      loc: NOWHERE,
    };
    return content;
  }
  const call = part.replacements.reduce<hbs.AST.SubExpression>(
    (inner, { from, to }) => callOf('replace', [literal(from), literal(to), inner]),
    callOf('tag', [literal(part.tag)]),
  );
  const mustache: hbs.AST.MustacheStatement = {
    ...call,
    type: 'MustacheStatement',
    escaped: false,
    strip: NO_STRIP,
  };
  return mustache;
}

function callOf(helper: 'tag' | 'replace', params: hbs.AST.Expression[]): hbs.AST.SubExpression {
  const path: hbs.AST.PathExpression = {
    type: 'PathExpression',
    data: false,
    depth: 0,
    parts: [helper],
    original: helper,
    loc: NOWHERE,
  };
  return { type: 'SubExpression', path, params, hash: NO_HASH, loc: NOWHERE };
}

function literal(value: string): hbs.AST.StringLiteral {
  return { type: 'StringLiteral', value, original: value, loc: NOWHERE };
}
