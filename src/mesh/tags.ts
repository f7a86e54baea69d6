import type { Violation } from '../issuer/errors.ts';
import type { Tags } from '../issuer/issuer.ts';
import { describeType, isJsonObject, keyPath, throwIfAny } from './violations.ts';

export const SERVICE_TAG = 'kuma.io/service';
export const ZONE_TAG = 'kuma.io/zone';
export const PROTOCOL_TAG = 'kuma.io/protocol';
/** The label that names a data plane's service where no tag does. */
export const WORKLOAD_LABEL = 'kuma.io/workload';

const MAX_TAGS = 256;
const MAX_VALUES_OF_A_TAG = 64;
const MAX_LENGTH = 253;
const NAME = /^[a-zA-Z0-9.\-_:/]*$/;
const VALUE = /^[a-zA-Z0-9.\-_:]*$/;

/**
 * Tags with Kuma's rules for names and values; keys sorted, values unique and sorted. The same tag may come several times.
 * @throws ConfigError with all violations, fields `tags["x"]`
 */
export function createTags(input: Iterable<readonly [string, string | readonly string[]]>): Tags {
  const violations: Violation[] = [];
  const tags = collectTags(input, 'tags', violations);
  throwIfAny(violations, 'tags');
  return tags;
}

/**
 * Reads the `tags` of a request, where each value is a text or a list of texts.
 * @throws ConfigError with all violations, fields `tags["x"]`
 */
export function parseTags(input: unknown): Tags {
  const violations: Violation[] = [];
  const entries: [string, string | readonly string[]][] = [];
  if (!isJsonObject(input)) {
    violations.push({ field: 'tags', message: `has to be an object, got ${describeType(input)}` });
  } else if (isTagCountAllowed(Object.keys(input).length, 'tags', violations)) {
    for (const [name, value] of Object.entries(input)) {
      if (typeof value === 'string' || isTextList(value)) entries.push([name, value]);
      else violations.push({ field: keyPath('tags', name), message: 'has to be a string or a list of strings' });
    }
  }
  const tags = collectTags(entries, 'tags', violations);
  throwIfAny(violations, 'tags');
  return tags;
}

/** Merges entries to multi-valued tags and checks names, values and caps; fields below `field`. */
export function collectTags(
  input: Iterable<readonly [string, string | readonly string[]]>,
  field: string,
  violations: Violation[],
): Tags {
  const merged = new Map<string, Set<string>>();
  for (const [name, value] of input) {
    const values = merged.get(name) ?? new Set<string>();
    merged.set(name, values);
    for (const one of typeof value === 'string' ? [value] : value) values.add(one);
  }
  if (!isTagCountAllowed(merged.size, field, violations)) return new Map();
  const tags = new Map<string, readonly string[]>();
  for (const name of [...merged.keys()].sort()) {
    const values = [...(merged.get(name) ?? [])].sort();
    tags.set(name, values);
    checkTag(name, values, field, violations);
  }
  return tags;
}

/** Kuma's rules for one tag; violations in Kuma's order and words. */
function checkTag(name: string, values: readonly string[], field: string, violations: Violation[]): void {
  const add = (message: string) => violations.push({ field: keyPath(field, name), message });
  if (name === '') violations.push({ field, message: 'tag name must be non-empty' });
  if (name.length > MAX_LENGTH) {
    violations.push({ field, message: `tag name cannot be longer than ${MAX_LENGTH} characters` });
    return;
  }
  if (!NAME.test(name)) add('tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores');
  if (values.length === 0) add('must have at least one value');
  if (values.length > MAX_VALUES_OF_A_TAG) {
    add(`cannot have more than ${MAX_VALUES_OF_A_TAG} values, got ${values.length}`);
    return;
  }
  for (const value of values) {
    if (value === '') add('tag value must be non-empty');
    else if (value.length > MAX_LENGTH) add(`tag value cannot be longer than ${MAX_LENGTH} characters`);
    else if (!VALUE.test(value)) {
      add('tag value must consist of alphanumeric characters, dots, dashes and underscores');
    }
  }
}

export function isTagName(text: string): boolean {
  return text !== '' && text.length <= MAX_LENGTH && NAME.test(text);
}

/** `kuma.io/service=web version=v1` for tables; several values are joined by commas. */
export function formatTags(tags: Tags): string {
  return [...tags].map(([name, values]) => `${name}=${values.join(',')}`).join(' ');
}

/** False, with a violation, when there are more than 256. */
function isTagCountAllowed(count: number, field: string, violations: Violation[]): boolean {
  if (count <= MAX_TAGS) return true;
  violations.push({ field, message: `cannot have more than ${MAX_TAGS} tags, got ${count}` });
  return false;
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}
