import { Composer, type CST, type Document, LineCounter, Parser } from 'yaml';
import { ConfigError, type Violation } from '../issuer/errors.ts';
import { findKind, KINDS } from './kinds.ts';
import { toUniversal } from './kubernetes-form.ts';
import { findExcess, isJsonObject, type JsonObject } from './violations.ts';

/** One resource of a file, ready for a PUT. */
export interface ResourceDocument {
  /** One of `KINDS`. */
  readonly type: string;
  /** '' for kinds that stand outside a mesh. */
  readonly mesh: string;
  readonly name: string;
  /** Universal JSON, with type, mesh and name. */
  readonly body: JsonObject;
  /** Where it starts in the file, from 1. */
  readonly line: number;
}

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_DOCUMENTS = 10_000;
/** How often one anchor may be repeated: enough for people, too little for a bomb. */
const MAX_ALIASES = 100;
/** Mistakes told at once. */
const MAX_MISTAKES = 100;
/** One slip in YAML often draws others after it. */
const MAX_MISTAKES_OF_A_DOCUMENT = 3;
const MAX_DEPTH = 64;
const DEFAULT_MESH = 'default';

/**
 * Reads YAML or JSON of one or many documents (`---`), each in the Universal form (`type`, `mesh`, `name`, ...) or the Kubernetes form
 * (`apiVersion`, `kind`, `metadata`, `spec`; Secrets as `type: system.kuma.io/secret`). Empty documents are skipped. A mesh-scoped resource
 * that names no mesh belongs to `defaultMesh`. What the resources themselves may hold is checked by their kind's `parse`.
 * @throws ConfigError with the mistakes of all documents, fields `line 3, column 5`
 */
export function parseDocuments(text: string, options: { readonly defaultMesh?: string } = {}): ResourceDocument[] {
  if (Buffer.byteLength(text) > MAX_BYTES) {
    throw new ConfigError(`the file is larger than ${MAX_BYTES} bytes`, { fix: 'split the file' });
  }
  const defaultMesh = options.defaultMesh ?? DEFAULT_MESH;
  const lines = new LineCounter();
  const violations: Violation[] = [];
  const found: ResourceDocument[] = [];
  let seen = 0;
  for (const document of compose(text, lines, violations)) {
    seen += 1;
    const hasContent = !isEmpty(document);
    if (seen > 2 * MAX_DOCUMENTS || (hasContent && found.length === MAX_DOCUMENTS)) {
      violations.push({ field: '', message: `the file holds more than ${MAX_DOCUMENTS} documents` });
      break;
    }
    const resource = hasContent ? readDocument(document, lines, defaultMesh, violations) : undefined;
    if (resource !== undefined) found.push(resource);
    if (violations.length >= MAX_MISTAKES) break;
  }
  if (violations.length > 0) {
    const list = violations.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`));
    throw new ConfigError(list.join('; '), { violations });
  }
  return found;
}

function compose(text: string, lines: LineCounter, violations: Violation[]): Iterable<Document.Parsed> {
  const composer = new Composer({
    merge: true,
    prettyErrors: false,
    logLevel: 'error',
    schema: 'core',
    uniqueKeys: true,
    version: '1.2',
  });
  return composer.compose(shallowTokens(text, lines, violations));
}

/** The composer calls itself for each level: what is nested too deep must not reach it. */
function* shallowTokens(text: string, lines: LineCounter, violations: Violation[]): Iterable<CST.Token> {
  for (const token of new Parser(lines.addNewLine).parse(text)) {
    const tooDeep = findDeepToken(token);
    if (tooDeep === undefined) yield token;
    else violations.push({ field: place(lines, tooDeep), message: `nested deeper than ${MAX_DEPTH} levels` });
  }
}

/** Offset of the first value that is nested too deep. */
function findDeepToken(root: CST.Token): number | undefined {
  const stack: { token: CST.Token; depth: number }[] = [{ token: root, depth: 0 }];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { token, depth } = next;
    if (depth > MAX_DEPTH) return token.offset;
    if (token.type === 'document' && token.value) stack.push({ token: token.value, depth });
    if (!('items' in token)) continue;
    for (const { key, value } of token.items) {
      for (const child of [key, value]) if (child) stack.push({ token: child, depth: depth + 1 });
    }
  }
  return undefined;
}

function isEmpty(document: Document.Parsed): boolean {
  const { contents, errors, warnings } = document;
  const isNothing =
    contents === null || ('value' in contents && contents.value === null && contents.range[0] === contents.range[1]);
  return isNothing && errors.length + warnings.length === 0;
}

function place(lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `line ${line}, column ${col}`;
}

function readDocument(
  document: Document.Parsed,
  lines: LineCounter,
  defaultMesh: string,
  violations: Violation[],
): ResourceDocument | undefined {
  const [start = 0] = document.contents?.range ?? document.range;
  const add = (offset: number, message: string) => void violations.push({ field: place(lines, offset), message });
  const mistakes = [...document.errors, ...document.warnings];
  if (mistakes.length > 0) {
    for (const { pos, message } of mistakes.slice(0, MAX_MISTAKES_OF_A_DOCUMENT)) add(pos[0], message);
    return undefined;
  }
  const value = toPlain(document, (message) => add(start, message));
  if (value === undefined || value === null) return undefined;
  const excess = findExcess(value);
  if (excess !== undefined) return add(start, excess.message);
  if (!isJsonObject(value)) {
    add(start, 'a resource has to be an object with "type", or with "apiVersion" and "kind"');
    return undefined;
  }
  const before = violations.length;
  const body = toUniversal(value, defaultMesh, (message) => add(start, message));
  if (body === undefined || violations.length > before) return undefined;
  return toResource(body, defaultMesh, lines.linePos(start).line, (message) => add(start, message));
}

function toPlain(document: Document.Parsed, report: (message: string) => void): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    const isBomb = error instanceof ReferenceError && /alias count/.test(error.message);
    report(isBomb ? `an anchor is repeated more than ${MAX_ALIASES} times` : messageOf(error));
    return undefined;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function toResource(
  body: JsonObject,
  defaultMesh: string,
  line: number,
  report: (message: string) => void,
): ResourceDocument | undefined {
  const { type, name } = body;
  const kind = typeof type === 'string' ? findKind(type) : undefined;
  if (kind === undefined) {
    const known = KINDS.map((one) => one.type).join(', ');
    report(
      type === undefined ? `"type" has to be set to one of ${known}` : `unknown kind ${show(type)}; known are ${known}`,
    );
    return undefined;
  }
  if (typeof name !== 'string' || name === '') {
    report(`"name" of this ${kind.type} has to be set to a string`);
    return undefined;
  }
  if (kind.scope === 'Global') return { type: kind.type, mesh: '', name, body, line };
  const mesh = body.mesh ?? defaultMesh;
  if (typeof mesh !== 'string' || mesh === '') {
    report(`"mesh" of ${kind.type} ${show(name)} has to be a string`);
    return undefined;
  }
  return { type: kind.type, mesh, name, body: { ...body, mesh }, line };
}

function show(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 100)) : `of the wrong form (${typeof value})`;
}
