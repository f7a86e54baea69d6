import type { z } from 'zod';
import { ConfigError, type Violation } from '../issuer/errors.ts';

/** Deepest nesting of objects and lists that a resource may have. */
const MAX_DEPTH = 48;
/** Most values (objects, lists and scalars) that one resource may hold. */
const MAX_VALUES = 100_000;

/** A JSON object of unknown content. */
export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Below these stand names that users chose, not fields. */
const MAPS = new Set<PropertyKey | undefined>(['labels', 'tags']);

/** `mtls.backends[0].conf`, and `tags["version"]` for names that users chose: Kuma's way to write a field. */
export function formatPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const [index, part] of path.entries()) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (MAPS.has(path[index - 1]) || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(String(part)))
      text = keyPath(text, String(part));
    else text += text === '' ? String(part) : `.${String(part)}`;
  }
  return text;
}

/** `tags["version"]`. */
export function keyPath(field: string, key: string): string {
  return `${field}[${JSON.stringify(key)}]`;
}

/**
 * Checks a value from outside against its schema and pushes one violation for each mistake, all at once. Undefined when there was one.
 * Too deep or too large input, and the key `__proto__`, are refused before the schema sees them.
 */
export function readShape<S extends z.ZodType>(
  schema: S,
  input: unknown,
  violations: Violation[],
): z.output<S> | undefined {
  const excess = findExcess(input);
  if (excess) {
    violations.push(excess);
    return undefined;
  }
  const result = schema.safeParse(input, { error: describeIssue });
  if (result.success) return result.data;
  violations.push(...violationsOf(result.error));
  return undefined;
}

/**
 * As `readShape`, and then the `rules` for what a schema cannot say. Where a part has the wrong form the rules still see all the rest, so
 * that every mistake is told at once.
 */
export function readShapeAndRules<S extends z.ZodType>(
  schema: S,
  input: unknown,
  rules: (shape: z.output<S>) => readonly Violation[],
  violations: Violation[],
): z.output<S> | undefined {
  const excess = findExcess(input);
  if (excess) {
    violations.push(excess);
    return undefined;
  }
  const isNews = ({ field }: Violation) =>
    !violations.some((one) => isWithin(field, one.field) || isWithin(one.field, field));
  let rest = input;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const result = schema.safeParse(rest, { error: describeIssue });
    if (result.success) {
      violations.push(...rules(result.data).filter(isNews));
      return violations.length === 0 ? result.data : undefined;
    }
    const news = violationsOf(result.error).filter(isNews);
    violations.push(...news);
    // What is told a second time stands in a list that takes no empty objects: the whole list goes.
    const levelsUp = news.length === 0 ? -1 : undefined;
    const paths = result.error.issues.map(({ path }) => path.slice(0, levelsUp));
    if (paths.some((path) => path.length === 0)) return undefined;
    rest = without(rest, paths);
  }
  return undefined;
}

/** Some mistakes show only when others are out of the way. */
const MAX_ROUNDS = 4;

function violationsOf(error: z.ZodError): Violation[] {
  return error.issues.map(({ path, message }) => ({ field: formatPath(path), message }));
}

/** A copy that lacks what stands at the paths; elements of lists become empty objects, so that the others keep their index. */
function without(input: unknown, paths: readonly (readonly PropertyKey[])[]): unknown {
  const copy = structuredClone(input);
  for (const path of paths) {
    let parent: unknown = copy;
    for (const part of path.slice(0, -1)) parent = Object(parent)[part];
    const last = path.at(-1);
    if (Array.isArray(parent)) parent[Number(last)] = {};
    else if (isJsonObject(parent) && last !== undefined) delete parent[String(last)];
  }
  return copy;
}

function isWithin(field: string, outer: string): boolean {
  return field === outer || (field.startsWith(outer) && /^[.[]/.test(field.slice(outer.length)));
}

/** @throws ConfigError with all of them, when there are any */
export function throwIfAny(violations: readonly Violation[], what: string): void {
  if (violations.length === 0) return;
  const list = violations.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ');
  throw new ConfigError(`${what} is not valid: ${list}`, { violations });
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'a string',
  boolean: 'true or false',
  number: 'a number',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      if (issue.input === undefined) return 'has to be defined';
      const quotes = issue.expected === 'string' && isScalar(issue.input) ? '; put it in quotes' : '';
      return `has to be ${EXPECTED[issue.expected] ?? issue.expected}, got ${describeType(issue.input)}${quotes}`;
    }
    case 'invalid_value':
      return `has to be one of ${issue.values.join(', ')}`;
    case 'too_big':
      return `cannot ${issue.origin === 'array' ? `have more than ${issue.maximum} items` : `be longer than ${issue.maximum} characters`}`;
    default:
      return undefined;
  }
}

function isScalar(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'boolean';
}

/** `a list`, `a number`: never the value itself, which may be a secret. */
export function describeType(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'boolean') return String(value);
  return `a ${typeof value}`;
}

/** The first way in which a value is too deep (a cycle is), too large, or holds a key `__proto__`. */
export function findExcess(input: unknown): Violation | undefined {
  const stack: { value: unknown; depth: number }[] = [{ value: input, depth: 0 }];
  let count = 0;
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { value, depth } = next;
    count += 1;
    if (count > MAX_VALUES) return { field: '', message: `cannot hold more than ${MAX_VALUES} values` };
    if (typeof value !== 'object' || value === null) continue;
    if (depth >= MAX_DEPTH) return { field: '', message: `cannot be nested deeper than ${MAX_DEPTH} levels` };
    if (Object.hasOwn(value, '__proto__')) return { field: '', message: 'cannot have a key named "__proto__"' };
    for (const child of Object.values(value)) stack.push({ value: child, depth: depth + 1 });
  }
  return undefined;
}

/** The path of a field below another one: `conf` and `cert.secret`, `conf` and `[0].name`; an empty one is the base itself. */
export function fieldBelow(base: string, field: string): string {
  if (field === '') return base;
  return field.startsWith('[') ? `${base}${field}` : `${base}.${field}`;
}
